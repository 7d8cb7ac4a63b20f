//! The catalogue of hosts, read from the data file that is compiled in, and the matching of names against it.

use claviger_protocol::daw::Daw;
use serde::Deserialize;

use super::ProcessFact;

/// Hosts and bridges.
#[derive(Clone, Debug, Deserialize)]
pub struct Catalogue {
    hosts: Vec<Entry>,
    bridges: Vec<Bridge>,
}

/// One DAW. In names of programs and bundles `{version}` stands for a version and `*` for anything.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// The stable word.
    pub id: Daw,
    /// Its name for people.
    pub name: String,
    /// Names of its program on Linux.
    pub linux: Vec<String>,
    /// On Windows; also under Wine.
    pub windows: Vec<String>,
    /// On macOS.
    pub macos: Vec<String>,
    /// Its bundle ids on macOS.
    pub bundles: Vec<String>,
    /// What it calls itself through CLAP.
    pub clap: Vec<String>,
    /// Through VST3.
    pub vst3: Vec<String>,
    /// Through LV2.
    pub lv2: Vec<String>,
    /// Where these names are from.
    pub sources: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Bridge {
    names: Vec<String>,
    behind: String,
}

/// Whom a bridge works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Always this one.
    Daw(Daw),
    /// Whoever started it.
    Parent,
    /// Whoever its label names.
    Label,
}

impl Catalogue {
    /// The catalogue that is compiled in.
    #[must_use]
    pub fn own() -> Self {
        // A test reads it; without it everything is another program.
        serde_json::from_str(include_str!("../../data/hosts.json"))
            .unwrap_or(Self { hosts: Vec::new(), bridges: Vec::new() })
    }

    /// Its DAWs.
    #[must_use]
    pub fn hosts(&self) -> &[Entry] {
        &self.hosts
    }

    /// The DAW that calls itself so, with or without a version behind its name.
    pub(super) fn by_word(&self, word: &str) -> Option<Daw> {
        let word = word.trim();
        let bare = word.trim_end_matches(|c: char| c.is_ascii_digit() || ". ".contains(c));
        self.hosts.iter().find_map(|host| {
            let mut names = host.clap.iter().chain(&host.vst3).chain(&host.lv2).chain([&host.name]);
            names
                .any(|name| name.eq_ignore_ascii_case(word) || name.eq_ignore_ascii_case(bare))
                .then_some(host.id)
        })
    }

    /// The DAW whose program or bundle this is, and the version in its name.
    pub(super) fn by_program(&self, fact: &ProcessFact) -> Option<(Daw, Option<String>)> {
        self.hosts.iter().find_map(|host| {
            let programs = host.linux.iter().chain(&host.windows).chain(&host.macos);
            let version = programs
                .filter_map(|pattern| matches_program(pattern, &fact.program))
                .chain(
                    host.bundles
                        .iter()
                        .filter_map(|pattern| matches(pattern, fact.label.as_deref().unwrap_or_default())),
                )
                .next()?;
            Some((host.id, version))
        })
    }

    /// The DAW that a label of a hosting service names: a bundle id, or a name in brackets.
    pub(super) fn by_label(&self, label: &str) -> Option<Daw> {
        // Spaces in names are not always plain ones.
        let label: String = label.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let inside = label.split_once('(').map_or(label.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        self.hosts.iter().find_map(|host| {
            let mut patterns = host.bundles.iter().chain(&host.macos).chain([&host.name]);
            patterns.any(|pattern| matches(pattern, inside.trim()).is_some()).then_some(host.id)
        })
    }

    pub(super) fn bridge(&self, fact: &ProcessFact) -> Option<Behind> {
        let bridge = self
            .bridges
            .iter()
            .find(|bridge| bridge.names.iter().any(|name| matches_program(name, &fact.program).is_some()))?;
        Some(match bridge.behind.as_str() {
            "parent" => Behind::Parent,
            "label" => Behind::Label,
            id => Behind::Daw(id.parse().ok()?),
        })
    }
}

/// A pattern with a `/` is compared with folder and file name, others with the file name alone.
fn matches_program(pattern: &str, program: &str) -> Option<Option<String>> {
    let name =
        if pattern.contains('/') { program } else { program.rsplit(['/', '\\']).next().unwrap_or(program) };
    matches(pattern, name)
}

/// Whether `text` is what `pattern` says, whatever the case of its letters; with the version in it, where there is one.
fn matches(pattern: &str, text: &str) -> Option<Option<String>> {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    follow(&pattern, &text)
}

fn follow(pattern: &str, text: &str) -> Option<Option<String>> {
    const VERSION: &str = "{version}";
    let version_at = pattern.find(VERSION);
    let star_at = pattern.find('*');
    match (version_at, star_at) {
        (None, None) => (pattern == text).then_some(None),
        (Some(at), star) if star.is_none_or(|star| at < star) => {
            let rest = text.strip_prefix(&pattern[..at])?;
            let after = &pattern[at + VERSION.len()..];
            if !rest.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let ends = |c: char| !(c.is_ascii_alphanumeric() || ".~+-_".contains(c));
            let most = rest.find(ends).unwrap_or(rest.len());
            // The longest version that leaves what must follow.
            let all_ends = (1..=most).rev().filter(|end| rest.is_char_boundary(*end));
            all_ends
                .filter(|end| follow(after, &rest[*end..]).is_some())
                .map(|end| Some(rest[..end].to_owned()))
                .next()
        }
        (_, Some(at)) => {
            let rest = text.strip_prefix(&pattern[..at])?;
            let after = &pattern[at + 1..];
            let ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
            ends.filter_map(|end| follow(after, &rest[end..])).next()
        }
        (Some(_), None) => None,
    }
}
