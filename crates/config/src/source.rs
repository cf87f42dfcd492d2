//! Lays the sources of values over each other and remembers where each value came from. Knows no meaning.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::load::ConfigError;
use crate::variables::VARIABLES;

/// Values from the command line; they win over all else.
#[derive(Debug, Clone, Default)]
pub struct Overrides(BTreeMap<&'static str, String>);

impl Overrides {
    /// Sets `name` where `value` is given.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.0.insert(name, value.to_string());
        }
        self
    }
}

struct Texts {
    origin: String,
    values: BTreeMap<String, String>,
}

impl Provider for Texts {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // What is empty says nothing: it must not hide what another source says.
        let told = self.values.iter().filter(|(_, value)| !value.trim().is_empty());
        let dict = told.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        Ok(Profile::Default.collect(dict))
    }
}

/// The merged values of all sources.
pub(crate) struct Source {
    figment: Figment,
    /// Names in `.env` that no variable has.
    pub(crate) strangers: Vec<String>,
}

impl Source {
    /// Reads `.env` at `env_file` (where it is), then the environment, then `overrides`.
    pub(crate) fn read(env_file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = read_env_file(env_file)?;
        let strangers = file.keys().filter(|name| !is_known(name)).cloned().collect();
        let environment = figment::providers::Env::raw()
            .lowercase(false)
            .iter()
            .map(|(name, value)| (name.to_string(), value))
            .filter(|(name, _)| is_known(name))
            .collect();
        let overrides = overrides.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let layers = [
            (env_file.display().to_string(), file),
            (String::from("the environment"), environment),
            (String::from("the command line"), overrides),
        ];
        let figment = layers
            .into_iter()
            .fold(Figment::new(), |figment, (origin, values)| figment.merge(Texts { origin, values }));
        Ok(Self { figment, strangers })
    }

    /// The text of `name` and where it came from; `None` where it is not set or empty.
    pub(crate) fn get(&self, name: &str) -> Option<(String, String)> {
        let value = self.figment.find_value(name).ok()?;
        let text = value.as_str()?.trim().to_owned();
        let origin =
            self.figment.find_metadata(name).map_or_else(|| String::from("?"), |metadata| metadata.name.to_string());
        (!text.is_empty()).then_some((text, origin))
    }
}

fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name)
}

pub(crate) fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let unreadable = |reason: String| ConfigError::EnvFile { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    // Some editors begin a file with a mark of its byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    dotenvy::from_read_iter(text.as_bytes())
        .map(|pair| pair.map_err(|error| unreadable(explain(&error, text))))
        .collect()
}

/// Names the line, never its content: it may be a secret.
fn explain(error: &dotenvy::Error, text: &str) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let number = text.lines().position(|candidate| candidate.contains(line.trim())).map_or(0, |n| n + 1);
            format!("line {number} is not NAME=value (a value with spaces needs quotes)")
        }
        _ => String::from("it is not a list of NAME=value lines"),
    }
}
