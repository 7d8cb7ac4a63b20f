//! Blocks: signed documents between marker lines, written so that they survive mail, and read so that they may not have.
//!
//! ```text
//! -----BEGIN CLAVIGER REQUEST V1-----
//! eyJhbGciOiJFZERTQSIsInR5cCI6ImNsYXZpZ2VyLXJlcXVlc3QrandzIiwia2lk
//! …
//! Checksum: 7KQ2M9TB
//! -----END CLAVIGER REQUEST V1-----
//! ```
//! The checksum (40 bits of SHA-256 over the document, in Crockford's alphabet) tells damage from forgery, so that a person
//! learns to send the file again rather than to distrust it.

use std::fmt::Write as _;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::{Contents, FileKind, MAX_ANSWER_LEN, MAX_BLOCKS, MAX_FILE_LEN, OfflineError};
use crate::documents::{Document, Request};
use crate::http::ProblemCode;
use crate::ids::MachineId;
use crate::json::from_slice_strict;
use crate::keys::Sha256;
use crate::serial::crockford;

/// The version of the blocks that this crate writes and reads.
pub const VERSION: u32 = 1;
/// Characters of a document in one line: short enough for every mail program.
const WIDTH: usize = 64;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// A signed request.
    Request,
    /// A signed answer.
    Response,
    /// A signed request of the order `deactivate`.
    Receipt,
    /// Why one request of a batch was refused: [`Refusal`]. Not signed: it is a message to people and changes nothing.
    Refusal,
}

impl BlockKind {
    const ALL: [Self; 4] = [Self::Request, Self::Response, Self::Receipt, Self::Refusal];

    /// The word in its marker lines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "REQUEST",
            Self::Response => "RESPONSE",
            Self::Receipt => "RECEIPT",
            Self::Refusal => "REFUSAL",
        }
    }

    const fn max_len(self) -> usize {
        match self {
            Self::Request | Self::Receipt => Request::MAX_LEN,
            Self::Response => MAX_ANSWER_LEN,
            Self::Refusal => 8 * 1024,
        }
    }
}

/// A block that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub kind: BlockKind,
    /// Where it stood, for messages: counted from 1.
    pub number: usize,
    /// The file of a zip archive that it stood in.
    pub from: Option<String>,
    /// The document: the compact form of a JWS, not verified; for a refusal base64url of JSON.
    pub text: String,
    /// The computer's name, as a sentence before the block says it: for people alone, nobody has signed it.
    pub computer: Option<String>,
}

/// A block that did not arrive whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBlock {
    /// Where it stood, counted from 1.
    pub number: usize,
    /// The file of a zip archive that it stood in.
    pub from: Option<String>,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong with a block. [`Damage::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Damage {
    #[error("it ends in the middle: it was cut off; send the file again as an attachment")]
    CutOff,
    #[error("it was changed on the way (its checksum does not match): send the file again as an attachment")]
    Checksum,
    #[error("it has no checksum: lines are missing; send the file again as an attachment")]
    NoChecksum,
    #[error("it contains “{0}”, which does not belong there: send the file again as an attachment")]
    Character(char),
    #[error("it is longer than such a document can be")]
    TooLong,
    #[error("it is empty")]
    Empty,
    #[error("it was made by a later version of Claviger (format {0}): update the program that reads it")]
    Version(u32),
    #[error("it is a “{0}”, which this version of Claviger does not know: update the program that reads it")]
    Kind(String),
    #[error("part {part} of {parts} is missing: scan it too")]
    PartMissing { part: usize, parts: usize },
    #[error("it cannot be unpacked: scan the code again")]
    Packed,
    #[error("{0}")]
    Archive(OfflineError),
}

impl Damage {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CutOff => "block_cut_off",
            Self::Checksum => "block_damaged",
            Self::NoChecksum => "block_without_checksum",
            Self::Character(_) => "block_character",
            Self::TooLong => "block_too_long",
            Self::Empty => "block_empty",
            Self::Version(_) => "block_version",
            Self::Kind(_) => "block_kind",
            Self::PartMissing { .. } => "part_missing",
            Self::Packed => "part_damaged",
            Self::Archive(error) => error.code(),
        }
    }
}

/// Why one request of a batch was refused, for the person who carries the bundle back. It names no other machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// SHA-256 of the request's compact form.
    pub req: Sha256,
    /// The machine that asked.
    pub machine_id: MachineId,
    /// Why.
    pub code: ProblemCode,
    /// What happened in particular, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Refusal {
    /// The text of its block.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a plain struct always serializes")]
    pub fn to_text(&self) -> String {
        #[expect(clippy::expect_used, reason = "a plain struct always serializes")]
        let json = serde_json::to_vec(self).expect("a refusal serializes");
        BASE64URL_NOPAD.encode(&json)
    }

    /// Reads a block of [`BlockKind::Refusal`]; `None` when it is not one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        from_slice_strict(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()
    }
}

/// Writes a file of one document. `lines` are for people and stand in front: `("License", "SOL-…")`, or `("", "a sentence")`.
#[must_use]
pub fn write_file(kind: FileKind, lines: &[(&str, &str)], document: &str) -> String {
    let block = match kind {
        FileKind::Request | FileKind::Batch => BlockKind::Request,
        FileKind::Response | FileKind::Bundle => BlockKind::Response,
        FileKind::Receipt => BlockKind::Receipt,
    };
    let mut out = head(kind, lines);
    push_block(&mut out, block, document);
    out
}

/// Writes a batch or a bundle. `lines` are for people; the blocks come in their order.
#[must_use]
pub fn write_collection<'a>(
    kind: FileKind,
    lines: &[(&str, &str)],
    blocks: impl IntoIterator<Item = (BlockKind, &'a str)>,
) -> String {
    let word = if kind == FileKind::Bundle { "BUNDLE" } else { "BATCH" };
    let mut out = head(kind, lines);
    let _ = writeln!(out, "-----BEGIN CLAVIGER {word} V{VERSION}-----");
    for (kind, document) in blocks {
        push_block(&mut out, kind, document);
    }
    let _ = writeln!(out, "-----END CLAVIGER {word} V{VERSION}-----");
    out
}

fn head(kind: FileKind, lines: &[(&str, &str)]) -> String {
    let mut out = format!("{}, version {VERSION}\n", kind.title());
    for (name, text) in lines {
        // A line of another's making must not look like a marker, nor reorder what a person reads.
        let text: String = text.chars().filter(|c| !crate::ids::is_unprintable(*c)).take(400).collect();
        let text = text.replace(HYPHENS, "- - -");
        let _ = if name.is_empty() { writeln!(out, "{text}") } else { writeln!(out, "{name}: {text}") };
    }
    out.push('\n');
    out
}

/// Appends one block; the parts of a collection that is written as it is made (`head` and the collection's own markers
/// come from [`write_collection`] with no blocks).
pub fn push_block(out: &mut String, kind: BlockKind, document: &str) {
    let word = kind.word();
    let _ = writeln!(out, "-----BEGIN CLAVIGER {word} V{VERSION}-----");
    let mut rest = document;
    while !rest.is_empty() {
        // Documents are ASCII; anything else is cut at a character all the same.
        let end = rest.char_indices().nth(WIDTH).map_or(rest.len(), |(at, _)| at);
        out.push_str(&rest[..end]);
        out.push('\n');
        rest = &rest[end..];
    }
    let _ = writeln!(out, "Checksum: {}\n-----END CLAVIGER {word} V{VERSION}-----", checksum(document));
}

/// 40 bits of SHA-256 over the document, as 8 symbols.
fn checksum(document: &str) -> String {
    crockford(&Sha256::of(document.as_bytes()).0[..5])
}

/// A line without what mail programs put in front: quote marks, spaces, the stuffing of flowed text.
fn unquoted(line: &str) -> &str {
    line.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '>' | '|' | '\u{feff}' | '\u{200b}' | '\u{a0}')
    })
}

/// What every marker has.
const NAME: &str = "CLAVIGER";
/// What stands on both sides of it.
const HYPHENS: &str = "-----";

enum Marker<'a> {
    Begin(&'a str, u32),
    End(&'a str),
}

/// A part of a line.
enum Piece<'a> {
    Marker(Marker<'a>),
    Text(&'a str),
}

/// A marker line, whatever became of its hyphens: `-----BEGIN CLAVIGER REQUEST V1-----`.
fn marker(line: &str) -> Option<Marker<'_>> {
    if line.len() > 200 || !line.contains(NAME) {
        return None;
    }
    let words = line.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let mut words = words.split_ascii_whitespace();
    let (verb, name, kind) = (words.next()?, words.next()?, words.next()?);
    if name != NAME {
        return None;
    }
    let version = words.next().and_then(|v| v.strip_prefix('V')).and_then(|v| v.parse().ok()).unwrap_or(0);
    match (verb, words.next()) {
        ("BEGIN", None) => Some(Marker::Begin(kind, version)),
        ("END", None) => Some(Marker::End(kind)),
        _ => None,
    }
}

/// Cuts a line at the markers in it: a program that joined lines left them in the middle of one.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    if let Some(marker) = marker(line) {
        return vec![Piece::Marker(marker)];
    }
    let mut found = Vec::new();
    let (mut rest, mut from) = (line, 0);
    while let Some(at) = rest.get(from..).and_then(|r| r.find(NAME)).map(|at| at + from) {
        match inner_marker(rest, at) {
            Some((begin, marker, end)) => {
                found.push(Piece::Text(&rest[..begin]));
                found.push(Piece::Marker(marker));
                (rest, from) = (&rest[end..], 0);
            }
            None => from = at + NAME.len(),
        }
    }
    found.push(Piece::Text(rest));
    found
}

/// The marker around the name at `at`, with all its hyphens on both sides: where it begins and ends. Sentences have none
/// with so many ([`head`] sees to it).
fn inner_marker(line: &str, at: usize) -> Option<(usize, Marker<'_>, usize)> {
    let before = line[..at].trim_end();
    let verb = ["BEGIN", "END"].into_iter().find(|verb| before.ends_with(verb))?;
    let front = &before[..before.len() - verb.len()];
    let words = &line[at + NAME.len()..];
    let end = words.find(HYPHENS)?;
    let (begin, end) = (front.strip_suffix(HYPHENS)?.trim_end_matches('-').len(), at + NAME.len() + end);
    let marker = marker(&line[front.len()..end]).filter(|m| !matches!(m, Marker::Begin(_, 0)))?;
    Some((begin, marker, end + HYPHENS.len()))
}

/// A block that is being read.
struct Open {
    kind: Result<BlockKind, Damage>,
    text: String,
    checksum: Option<String>,
    damage: Option<Damage>,
}

impl Open {
    fn begin(word: &str, version: u32) -> Self {
        let known = BlockKind::ALL.into_iter().find(|kind| kind.word() == word);
        let kind = match known {
            _ if version != VERSION => Err(Damage::Version(version)),
            Some(kind) => Ok(kind),
            None => Err(Damage::Kind(word.chars().take(32).collect())),
        };
        Self { kind, text: String::new(), checksum: None, damage: None }
    }

    fn line(&mut self, line: &str) {
        let Ok(kind) = self.kind else { return };
        let line = match (line.split_once("Checksum:"), &mut self.checksum) {
            (Some((line, sum)), checksum) => {
                *checksum = Some(sum.trim().to_ascii_uppercase());
                line
            }
            // The line was broken behind the word.
            (None, Some(sum)) if sum.is_empty() => {
                *sum = line.trim().to_ascii_uppercase();
                return;
            }
            (None, _) => line,
        };
        for c in line.chars() {
            match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' | '.' => {
                    if self.text.len() >= kind.max_len() {
                        self.damage.get_or_insert(Damage::TooLong);
                        return;
                    }
                    self.text.push(c);
                }
                c if c.is_whitespace()
                    || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{ad}' | '\u{2060}') => {}
                // What broken quoting leaves behind is named; it would spoil the checksum anyway.
                other => {
                    self.damage.get_or_insert(Damage::Character(other));
                }
            }
        }
    }

    fn end(self) -> Result<(BlockKind, String), Damage> {
        let kind = self.kind?;
        if let Some(damage) = self.damage {
            return Err(damage);
        }
        if self.text.is_empty() {
            return Err(Damage::Empty);
        }
        match self.checksum {
            None => Err(Damage::NoChecksum),
            Some(sum) if sum != checksum(&self.text) => Err(Damage::Checksum),
            Some(_) => Ok((kind, self.text)),
        }
    }
}

/// Adds every block of `text` to `contents`.
pub(super) fn find(text: &str, from: Option<&str>, contents: &mut Contents) -> Result<(), OfflineError> {
    let mut open: Option<Open> = None;
    let mut computer: Option<String> = None;
    let mut collections = 0usize;
    let close = |open: Option<Open>, whole: bool, computer: &mut Option<String>, contents: &mut Contents| {
        let Some(open) = open else { return Ok(()) };
        let number = contents.blocks.len() + contents.damaged.len() + 1;
        if number > MAX_BLOCKS {
            return Err(OfflineError::TooMany);
        }
        let from = from.map(str::to_owned);
        match if whole || open.kind.is_err() { open.end() } else { Err(Damage::CutOff) } {
            Ok((kind, text)) => {
                contents.blocks.push(Block { kind, number, from, text, computer: computer.take() });
            }
            Err(damage) => contents.damaged.push(DamagedBlock { number, from, damage }),
        }
        Ok(())
    };
    debug_assert!(text.len() <= MAX_FILE_LEN * 3);
    let text = super::mail::unwrapped(text);
    for line in text.split(['\n', '\r', '\u{2028}']) {
        let line = super::mail::unescaped(line);
        for piece in pieces(unquoted(&line)) {
            match piece {
                Piece::Marker(Marker::Begin("BATCH" | "BUNDLE", VERSION)) => collections += 1,
                Piece::Marker(Marker::End("BATCH" | "BUNDLE")) => {
                    collections = collections.saturating_sub(1);
                }
                Piece::Marker(Marker::Begin(word, version)) => {
                    close(open.take(), false, &mut computer, contents)?;
                    open = Some(Open::begin(word, version));
                }
                Piece::Marker(Marker::End(word)) => {
                    let whole =
                        open.as_ref().is_some_and(|o| o.kind.as_ref().map_or(true, |k| k.word() == word));
                    close(open.take(), whole, &mut computer, contents)?;
                }
                Piece::Text(text) => match &mut open {
                    Some(open) => open.line(text),
                    None => computer = text.strip_prefix("Computer: ").map(named).or(computer),
                },
            }
        }
    }
    close(open, false, &mut computer, contents)?;
    contents.cut_off |= collections > 0;
    Ok(())
}

/// A name out of a sentence, without what nobody sees.
fn named(text: &str) -> String {
    text.chars().filter(|c| !crate::ids::is_unprintable(*c)).take(64).collect()
}
