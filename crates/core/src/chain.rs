//! An error with all its causes in one sentence: what a log line needs and no answer may have.

use std::error::Error;
use std::fmt;

/// Writes an error and its causes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a dyn Error);

/// `error` and what caused it, from the outside in: `a: b: c`. A cause that the words before it repeat is left out.
pub fn chain(error: &dyn Error) -> Chain<'_> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        Layer { text, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    #[test]
    fn every_cause_is_told_once() {
        for (texts, told) in [
            (&["no disk"][..], "no disk"),
            (
                &["an output could not be stored", "storage failed to write", "No space left"],
                "an output could not be stored: storage failed to write: No space left",
            ),
            (&["no connection (refused)", "refused", "os error 111"], "no connection (refused): os error 111"),
        ] {
            assert_eq!(chain(&layers(texts)).to_string(), told);
        }
    }
}
