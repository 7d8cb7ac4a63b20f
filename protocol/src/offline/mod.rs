//! What travels without a network: files that survive mail programs, QR codes, and a code for the telephone.
//!
//! | file | ending | what is inside |
//! |---|---|---|
//! | request | `.clvreq` | one signed request ([`crate::documents::Request`]), good for 30 days |
//! | response | `.clvres` | one signed answer ([`crate::documents::Answer`]) |
//! | batch | `.clvbatch` | many requests, receipts too |
//! | bundle | `.clvbundle` | many answers, and why the other requests were refused |
//! | receipt | `.clvreceipt` | one signed request of the order `deactivate`, with the receipts in it; good for ever |
//!
//! A file is text: sentences for people, which nobody believes, and **blocks** ([`armour`]), each a signed document
//! between two marker lines with a checksum. [`read`] finds the blocks in whatever a mail program, a zip program or a person
//! made of the file; the signature is checked by whoever uses the document.
//!
//! The phone carries a request as the fragment of the vendor's portal address ([`packed`]), and an answer as numbered QR
//! codes or as 32 groups that can be read aloud ([`code`]).

pub mod armour;
pub mod code;
mod mail;
pub mod packed;
pub mod peek;
mod sorted;
mod text;
mod zip;

pub use armour::{Block, BlockKind, Damage, DamagedBlock, Refusal};
pub use code::{CodeError, CodeTerms, TypedCode};
pub use packed::{PackedError, Portal};
pub use peek::{AnswerFor, RequestFrom};
pub use sorted::Sorted;
pub use zip::crc32;

use crate::clock::DAY;

/// How long an offline request may be answered, in seconds (PRIVACY.md).
pub const REQUEST_LIFETIME: i64 = 30 * DAY;
/// Longest file that is read, in bytes, packed or unpacked: a bundle of 10,000 answers has about 40 MiB.
pub const MAX_FILE_LEN: usize = 64 * 1024 * 1024;
/// Most blocks of one file.
pub const MAX_BLOCKS: usize = 20_000;
/// Longest answer that a file may carry, in bytes: it must fit a call to the daemon.
pub const MAX_ANSWER_LEN: usize = 240 * 1024;
/// Where a vendor's server takes requests, behind the address in its profile.
pub const PORTAL_PATH: &str = "/offline";

/// The kinds of files, for names and first lines. Readers go by the blocks alone: mail programs rename files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// One request.
    Request,
    /// One answer.
    Response,
    /// Many requests.
    Batch,
    /// Many answers.
    Bundle,
    /// What was given up.
    Receipt,
}

impl FileKind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Request, Self::Response, Self::Batch, Self::Bundle, Self::Receipt];

    /// The ending of its files' names, without a dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Request => "clvreq",
            Self::Response => "clvres",
            Self::Batch => "clvbatch",
            Self::Bundle => "clvbundle",
            Self::Receipt => "clvreceipt",
        }
    }

    /// The media type that a server gives its files: text, so that a browser offers to save it by its name.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Request => "Claviger offline request",
            Self::Response => "Claviger offline response",
            Self::Batch => "Claviger offline batch",
            Self::Bundle => "Claviger offline bundle",
            Self::Receipt => "Claviger offline receipt",
        }
    }
}

/// Why nothing can be read from a file at all. [`OfflineError::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OfflineError {
    #[error("the file is larger than {} MiB: no Claviger file is", MAX_FILE_LEN / 1024 / 1024)]
    TooLarge,
    #[error("the file has more than {MAX_BLOCKS} parts: divide it")]
    TooMany,
    #[error(
        "the file is not text: a Claviger file has readable lines and a block that begins with -----BEGIN CLAVIGER"
    )]
    NotText,
    #[error(
        "nothing of Claviger is in this text: it must have a block that begins with -----BEGIN CLAVIGER; send the file again as an attachment"
    )]
    Nothing,
    #[error("the zip archive is protected with a password: unpack it first")]
    ZipEncrypted,
    #[error("the zip archive is damaged: {0}")]
    ZipDamaged(&'static str),
    #[error("the zip archive is packed in a way that is not known here: unpack it first")]
    ZipMethod,
    #[error("the zip archive is inside too many others: unpack it first")]
    ZipNested,
}

impl OfflineError {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "file_too_large",
            Self::TooMany => "file_too_many_parts",
            Self::NotText => "file_not_text",
            Self::Nothing => "file_without_content",
            Self::ZipEncrypted => "zip_encrypted",
            Self::ZipDamaged(_) => "zip_damaged",
            Self::ZipMethod => "zip_method",
            Self::ZipNested => "zip_nested",
        }
    }
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Blocks that arrived whole, in their order. Their signatures are not checked yet.
    pub blocks: Vec<Block>,
    /// Blocks that did not.
    pub damaged: Vec<DamagedBlock>,
    /// The end of a batch or bundle is missing: the file was cut off.
    pub cut_off: bool,
}

impl Contents {
    /// The documents of one kind.
    pub fn of(&self, kind: BlockKind) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }

    /// Notes a file that could not be looked into.
    fn unopened(&mut self, from: Option<&str>, error: OfflineError) {
        let number = self.blocks.len() + self.damaged.len() + 1;
        let (from, damage) = (from.map(str::to_owned), Damage::Archive(error));
        self.damaged.push(DamagedBlock { number, from, damage });
    }
}

/// Finds every block in `file`: the bytes of a file of any name, of a zip archive of such files, or of a text that was
/// pasted, or of a saved message. Reads UTF-8 and UTF-16, with or without a mark.
///
/// The scanned parts of a response's QR codes and a portal address with a request behind it count as blocks too.
///
/// # Errors
/// [`OfflineError`] when nothing of Claviger is found at all. Single damaged blocks are no error: see
/// [`Contents::damaged`].
pub fn read(file: &[u8]) -> Result<Contents, OfflineError> {
    if file.len() > MAX_FILE_LEN {
        return Err(OfflineError::TooLarge);
    }
    let mut contents = Contents::default();
    let mut left = MAX_FILE_LEN;
    find(file, None, Inside::default(), &mut left, &mut contents)?;
    if contents.blocks.is_empty() && !contents.cut_off {
        let unopened = |d: &DamagedBlock| matches!(d.damage, Damage::Archive(_));
        match contents.damaged.as_slice() {
            [] => return Err(OfflineError::Nothing),
            // Nothing is known of what is in an archive that cannot be opened: that is all there is to say.
            [DamagedBlock { damage: Damage::Archive(error), .. }, rest @ ..] if rest.iter().all(unopened) => {
                return Err(error.clone());
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// Most archives around a file.
const DEEPEST: usize = 3;

/// What a file came in.
#[derive(Clone, Copy, Default)]
struct Inside {
    /// Archives around it.
    archives: usize,
    /// Whether it was attached to a message.
    message: bool,
}

/// Finds blocks in a file, in the files of an archive and in what is attached to a message. `left` are the bytes that
/// archives may still unpack.
fn find(
    file: &[u8],
    from: Option<&str>,
    inside: Inside,
    left: &mut usize,
    contents: &mut Contents,
) -> Result<(), OfflineError> {
    if zip::is_zip(file) {
        return find_in_archive(file, from, inside, left, contents);
    }
    let text = match text::decode(file) {
        Ok(text) => text,
        // A picture or a signature beside our files is no reason to refuse them.
        Err(_) if from.is_some() || inside.message => return Ok(()),
        Err(e) => return Err(e),
    };
    let before = contents.blocks.len();
    armour::find(&text, from, contents)?;
    if inside.message {
        return Ok(());
    }
    let attached = mail::attachments(&text);
    if !attached.is_empty() {
        let inside = Inside { message: true, ..inside };
        for (name, bytes) in attached {
            find(&bytes, name.as_deref().or(from), inside, left, contents)?;
        }
        // A message often says the same twice, as text and as HTML, in itself and attached.
        let mut seen = std::collections::HashSet::new();
        let mut at = 0;
        contents.blocks.retain(|block| {
            at += 1;
            at <= before || seen.insert(block.text.clone())
        });
    }
    if from.is_none() && contents.blocks.is_empty() && contents.damaged.is_empty() {
        packed::find(&text, contents);
    }
    Ok(())
}

fn find_in_archive(
    archive: &[u8],
    from: Option<&str>,
    inside: Inside,
    left: &mut usize,
    contents: &mut Contents,
) -> Result<(), OfflineError> {
    let within = Inside { archives: inside.archives + 1, ..inside };
    let (entries, whole) = zip::members(archive)?;
    for entry in entries {
        let name = from.map_or_else(|| entry.name().to_owned(), |outer| format!("{outer}/{}", entry.name()));
        let found = entry.unpack(archive, *left).and_then(|bytes| {
            *left -= bytes.len();
            // An archive in an archive is how folders are mailed twice; deeper ones are made to harm.
            if zip::is_zip(&bytes) && within.archives == DEEPEST {
                return Err(OfflineError::ZipNested);
            }
            find(&bytes, Some(&name), within, left, contents)
        });
        match found {
            Ok(()) => {}
            Err(OfflineError::TooMany) => return Err(OfflineError::TooMany),
            // What is wrong with one file does not stop the others.
            Err(error) => contents.unopened(Some(&name), error),
        }
    }
    if !whole {
        contents.unopened(from, OfflineError::ZipDamaged("its table of files is not readable"));
    }
    Ok(())
}
