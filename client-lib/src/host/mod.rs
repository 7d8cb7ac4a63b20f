//! Which DAW is this process part of? For usage statistics alone, and asked only under a person's consent.
//!
//! The catalogue is `data/hosts.json`: program names and bundle ids, names that hosts give themselves, and the bridges and
//! sandboxed processes that hosts run plug-ins in, with the sources of each. What a host says about itself through its plug-in
//! format beats the name of its process; a process that is a bridge is attributed to the DAW behind it. Everything else is
//! `other`, so nothing that a person chose for a program or folder can come out of here.

mod catalogue;

use claviger_protocol::daw::Daw;

pub use catalogue::{Catalogue, Entry};

/// What is looked at of one process: never kept, never sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFact {
    /// The program: the last two parts of its path, `ardour7/luasession`, or its name alone.
    pub program: String,
    /// What the system calls it beside that: a bundle id, or a name shown to people.
    pub label: Option<String>,
}

/// What a host says about itself through CLAP, VST3 or LV2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostWord {
    /// Its name.
    pub name: String,
    /// Its version; empty where it tells none.
    pub version: String,
}

/// Most of a name or version that is looked at, in characters.
const MAX_WORD: usize = 128;

impl HostWord {
    /// Its words, cut to what a name can be.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let cut = |text: &str| text.trim().chars().take(MAX_WORD).collect();
        Self { name: cut(name), version: cut(version) }
    }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// The DAW, or [`Daw::Other`].
    pub daw: Daw,
    /// Its version, where host or program tells.
    pub version: Option<String>,
}

impl Recognised {
    fn other() -> Self {
        Self { daw: Daw::Other, version: None }
    }
}

/// The DAW behind a process: `chain` holds the process that the plug-in runs in, then its parents.
#[must_use]
pub fn recognise(catalogue: &Catalogue, chain: &[ProcessFact], word: Option<&HostWord>) -> Recognised {
    if let Some(word) = word
        && let Some(daw) = catalogue.by_word(&word.name)
    {
        return Recognised { daw, version: plain_version(&word.version) };
    }
    for fact in chain {
        if let Some((daw, version)) = catalogue.by_program(fact) {
            return Recognised { daw, version: version.as_deref().and_then(plain_version) };
        }
        match catalogue.bridge(fact) {
            None => return Recognised::other(),
            Some(catalogue::Behind::Daw(daw)) => return Recognised { daw, version: None },
            Some(catalogue::Behind::Label) => {
                let daw = fact.label.as_deref().and_then(|label| catalogue.by_label(label));
                return Recognised { daw: daw.unwrap_or(Daw::Other), version: None };
            }
            Some(catalogue::Behind::Parent) => {}
        }
    }
    Recognised::other()
}

/// The DAW of this process, by what its host says and what its processes are called. Reads a few files of `/proc`.
#[must_use]
pub fn of_this_process(word: Option<&HostWord>) -> Recognised {
    recognise(&Catalogue::own(), &chain_of(std::process::id()), word)
}

/// A process and its parents, as far as the system tells.
#[must_use]
pub fn chain_of(process: u32) -> Vec<ProcessFact> {
    crate::platform::process_chain(process)
}

/// A version that is nothing else: digits first, then what versions are made of.
fn plain_version(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+~_".contains(c));
    plain.then(|| text.to_owned())
}
