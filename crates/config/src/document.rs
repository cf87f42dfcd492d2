//! What people read of the settings: `.env.example`, and the page `docs/CONFIGURATION.md`. Both are made of the table.

use crate::variables::{Readers, VARIABLES, Variable};

const ENV_HEAD: &str = "\
# Every variable of the gateway with its default. Copy to .env (or run `comfyui-gateway init`) and change what you need.
# The environment wins over this file; the command line wins over both.
# A value with spaces, # or $ goes into single quotes.
";

/// The page's prose. A row `| {NAME} | more |` becomes what the table says of that variable.
const PAGE: &str = include_str!("page.md");

/// An `.env` with every variable in it, commented out.
#[must_use]
pub fn env_example() -> String {
    let line = |variable: &Variable| format!("\n# {}\n# {}={}\n", variable.purpose, variable.name, variable.default);
    VARIABLES.iter().fold(String::from(ENV_HEAD), |text, variable| text + &line(variable))
}

/// The page on the settings, in Markdown.
#[must_use]
pub fn page() -> String {
    PAGE.lines().map(|line| row(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// The row of a variable, where `line` stands for one.
fn row(line: &str) -> Option<String> {
    let (name, more) = line.strip_prefix("| {")?.split_once("} |")?;
    let variable = VARIABLES.iter().find(|variable| variable.name == name)?;
    let mark = if variable.secret { " ●" } else { "" };
    let default = if variable.default.is_empty() { String::from("–") } else { format!("`{}`", variable.default) };
    let purpose = variable.purpose.replace('|', "\\|");
    let readers = match variable.readers() {
        Readers::All => "all",
        Readers::Apis => "API",
        Readers::Workers => "worker",
        Readers::Commands => "commands",
    };
    Some(format!("| `{name}`{mark} | {default} | {purpose} | {readers} |{more}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::variables::READERS;

    #[test]
    fn the_files_are_those_that_the_table_makes() {
        for (path, kept, made) in [
            (".env.example", include_str!("../../../.env.example"), env_example()),
            ("docs/CONFIGURATION.md", include_str!("../../../docs/CONFIGURATION.md"), page()),
        ] {
            assert!(kept == made, "{path} is another; `cargo xtask configuration` writes it");
        }
    }

    #[test]
    fn the_page_has_a_row_for_each_variable_and_for_nothing_else() {
        let row_of = |line: &'static str| line.strip_prefix("| {").and_then(|rest| rest.split_once('}'));
        let rows: Vec<&str> = PAGE.lines().filter_map(row_of).map(|(name, _)| name).collect();
        let names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        let sorted = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&rows), sorted(&names), "crates/config/src/page.md has the rows of the page");
        assert_eq!(rows.len(), names.len(), "a variable has two rows");
        assert!(!page().contains("| {"), "a row was not understood");
    }

    #[test]
    fn who_reads_a_variable_is_told_once_and_of_variables_alone() {
        let mut seen = BTreeSet::new();
        for name in READERS.iter().flat_map(|(_, names)| names.iter()) {
            assert!(VARIABLES.iter().any(|variable| variable.name == *name), "{name} is no variable");
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
}
