//! The sentences that more than one rule uses for what is allowed. Never repeats what a caller sent.

use serde_json::{Number, Value};

use super::value::shorten;

const MAX_CHOICES: usize = 60;

/// "must be between 1 and 150", or the half of it that is known.
pub(super) fn between(min: Option<&Number>, max: Option<&Number>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("must be between {min} and {max}"),
        (Some(min), None) => format!("must be at least {min}"),
        (None, Some(max)) => format!("must be at most {max}"),
        (None, None) => "is out of range".to_owned(),
    }
}

/// "must be one of: euler, heun".
pub(super) fn one_of(options: &[Value]) -> String {
    let mut shown: Vec<String> = options.iter().take(MAX_CHOICES).map(choice).collect();
    if options.len() > MAX_CHOICES {
        shown.push(format!("… ({} more)", options.len() - MAX_CHOICES));
    }
    format!("must be one of: {}", shown.join(", "))
}

/// The one of `known` that `name` was probably meant to be.
pub(super) fn closest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let flat = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted: Vec<char> = flat(&shorten(name, 64)).chars().collect();
    let limit = wanted.len().div_ceil(3).clamp(1, 3);
    known
        .map(|each| (distance(&wanted, &flat(each)), each))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, each)| each)
}

fn choice(option: &Value) -> String {
    match option {
        Value::String(text) => shorten(text, 80),
        other => shorten(&other.to_string(), 80),
    }
}

/// How many letters must be added, left out or changed (Levenshtein).
fn distance(left: &[char], right: &str) -> usize {
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (line, letter) in right.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        let mut next = vec![before];
        for (other, above) in left.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(*other != letter)).min(before + 1).min(above + 1);
            diagonal = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        let known = ["prompt", "negative_prompt", "steps", "cfg", "width"];
        for (name, meant) in [
            ("step", Some("steps")),
            ("Prompt", Some("prompt")),
            ("negativePrompt", Some("negative_prompt")),
            ("widht", Some("width")),
            ("cgf", None),
            ("cfgs", Some("cfg")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(closest(name, known.into_iter()), meant, "{name}");
        }
    }

    #[test]
    fn long_lists_of_choices_are_cut() {
        let options: Vec<Value> = (0..100).map(Value::from).collect();
        assert!(one_of(&options).ends_with("59, … (40 more)"));
    }
}
