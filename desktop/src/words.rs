//! The window's languages are complete: every text in `ui/` has its French and its German, with the same gaps to be filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "slint") {
            into.push(path);
        }
    }
}

/// The string literal that `text` begins with, as it is spelled, and what follows it.
fn literal(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    Some((&inner[..end.0], &inner[end.0 + 1..]))
}

/// Every text of the window, with its plural.
fn texts() -> Vec<(String, Option<String>)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ui"), &mut files);
    let mut found = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        for part in source.split("@tr(").skip(1) {
            let (text, rest) = literal(part).unwrap_or_else(|| panic!("{}: @tr({part:.40}", file.display()));
            let plural =
                rest.trim_start().strip_prefix('|').and_then(literal).map(|(plural, _)| plural.to_owned());
            found.push((text.to_owned(), plural));
        }
    }
    assert!(found.len() > 300, "the texts were not found");
    found
}

/// What a file of translations holds.
fn translations(language: &str) -> BTreeMap<String, Vec<String>> {
    let path = format!("{}/lang/{language}/LC_MESSAGES/claviger-desktop.po", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = BTreeMap::new();
    for entry in text.split("\n\n") {
        let mut id = None;
        let mut all = Vec::new();
        for line in entry.lines() {
            if let Some(rest) = line.strip_prefix("msgid ") {
                id = literal(rest).map(|(text, _)| text.to_owned());
            } else if line.starts_with("msgstr") {
                let (_, rest) = line.split_once(' ').unwrap();
                all.extend(literal(rest).map(|(text, _)| text.to_owned()));
            }
        }
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            assert!(found.insert(id.clone(), all).is_none(), "{language}: {id} twice");
        }
    }
    found
}

fn gaps(text: &str) -> Vec<&str> {
    let mut gaps: Vec<&str> =
        ["{}", "{n}", "{0}", "{1}", "{2}"].into_iter().flat_map(|gap| text.matches(gap)).collect();
    gaps.sort_unstable();
    gaps
}

#[test]
fn every_text_has_its_french_and_its_german() {
    for language in ["fr", "de"] {
        let known = translations(language);
        let mut missing = Vec::new();
        for (text, plural) in texts() {
            let Some(translated) = known.get(&text).filter(|all| all.iter().all(|t| !t.is_empty())) else {
                missing.push(text);
                continue;
            };
            assert_eq!(translated.len(), if plural.is_some() { 2 } else { 1 }, "{language}: {text}");
            for each in translated {
                assert_eq!(
                    gaps(each),
                    gaps(plural.as_deref().unwrap_or(&text)),
                    "{language}: {text}: {each}"
                );
            }
        }
        assert!(missing.is_empty(), "{language} lacks: {missing:#?}");
    }
}

#[test]
fn no_translation_is_left_over() {
    let used: Vec<String> = texts().into_iter().map(|(text, _)| text).collect();
    for language in ["fr", "de"] {
        for id in translations(language).keys() {
            assert!(used.contains(id), "{language}: nothing says “{id}” any more");
        }
    }
}
