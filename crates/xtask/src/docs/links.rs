//! Whether the links between pages lead to a file, and to a heading in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use crate::shell::root;

/// Fails with each link of these pages that leads nowhere. Those to other sites are not looked at.
pub(super) fn check(pages: &[String]) -> Result<()> {
    let mut texts = BTreeMap::new();
    for page in pages {
        let text = std::fs::read_to_string(root().join(page)).with_context(|| page.clone())?;
        texts.insert(PathBuf::from(page), text);
    }
    let headings: BTreeMap<&Path, BTreeSet<String>> =
        texts.iter().map(|(page, text)| (page.as_path(), anchors(text))).collect();
    let mut dead = Vec::new();
    for (page, text) in &texts {
        for link in targets(text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = resolved(page, file);
            let known = headings.get(target.as_path());
            let leads = root().join(&target).exists()
                && (anchor.is_empty() || known.is_none_or(|headings| headings.contains(anchor)));
            if !leads {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    if dead.is_empty() { Ok(()) } else { bail!("links that lead nowhere:\n  {}", dead.join("\n  ")) }
}

/// The links of a page to files of the project.
fn targets(text: &str) -> Vec<String> {
    let link = |event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    };
    Parser::new(text).filter_map(link).filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// What the headings of a page are called in links.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut heading) = (BTreeSet::new(), None);
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                heading.iter_mut().for_each(|text: &mut String| text.push_str(&part))
            }
            Event::End(TagEnd::Heading(_)) => anchors.extend(heading.take().map(|text| anchor(&text))),
            _ => {}
        }
    }
    anchors
}

/// As code hosts make it: lower case, letters, digits, `-` and `_`, with `-` for spaces.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Where a link of `page` leads, below the root.
fn resolved(page: &Path, link: &str) -> PathBuf {
    if link.is_empty() {
        return page.to_owned();
    }
    let mut path = PathBuf::new();
    for part in page.parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_all_pages_lead_somewhere() {
        check(&crate::docs::pages().unwrap()).unwrap();
    }

    #[test]
    fn headings_and_links_are_read_as_a_code_host_does() {
        let page =
            "# `GET`, `POST /keys`\n\n## What it can't do (yet)\n\n[a](b.md#c) [d](https://e.example) `[f](g)`\n";
        let expected = ["get-post-keys", "what-it-cant-do-yet"].map(String::from);
        assert_eq!(anchors(page), BTreeSet::from(expected));
        assert_eq!(targets(page), ["b.md#c"]);
        let to = |link| resolved(Path::new("docs/a.md"), link);
        assert_eq!([to("../x/y.md"), to("b.md"), to("")], ["x/y.md", "docs/b.md", "docs/a.md"].map(PathBuf::from));
    }
}
