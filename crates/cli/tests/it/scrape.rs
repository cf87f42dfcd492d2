//! What `/metrics` says, taken apart.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Client;

/// One line with a value.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A text of metrics.
#[derive(Debug, Clone)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// The type of each family.
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
}

impl Scrape {
    /// Asks whoever listens at `base`.
    pub(crate) async fn of(client: &Client, base: &str) -> Self {
        let answer = client.get(format!("{base}/metrics")).send().await.expect("an answer");
        let content = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a text"));
        assert_eq!((status, content.as_deref()), (200, Some("text/plain; version=0.0.4; charset=utf-8")), "{text}");
        Self::read(text)
    }

    fn read(text: String) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').expect("a type");
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} stands twice");
            } else if !line.starts_with('#') {
                samples.push(sample(line));
            }
        }
        Self { text, types, samples }
    }

    /// The families that have values.
    pub(crate) fn families(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|sample| self.family(sample)).collect()
    }

    /// The family of a sample.
    pub(crate) fn family<'a>(&self, sample: &'a Sample) -> &'a str {
        let name = sample.name.as_str();
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        parts.into_iter().find(|base| self.types.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(name)
    }

    /// The sum of all samples of this name that have these labels; `None` where there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        let found: Vec<f64> = self.samples.iter().filter(has).map(|sample| sample.value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }
}

/// A line such as `name{label="value"} 1`. Values of labels hold no quotation marks here.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    };
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    Sample { name: name.to_owned(), labels: pairs.map(pair).collect(), value }
}
