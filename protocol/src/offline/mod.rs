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
pub mod packed;
pub mod peek;
mod text;
mod zip;

pub use armour::{Block, BlockKind, Damage, DamagedBlock, Refusal};
pub use code::{CodeError, CodeTerms, TypedCode};
pub use packed::{PackedError, Portal};
pub use peek::{AnswerFor, RequestFrom};
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
}

/// Finds every block in `file`: the bytes of a file of any name, of a zip archive of such files, or of a text that was
/// pasted. Reads UTF-8, with or without a mark, and UTF-16 with one.
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
    if zip::is_zip(file) {
        for (name, bytes) in zip::members(file)? {
            // A picture or a signature beside our files is no reason to refuse them.
            if let Ok(text) = text::decode(&bytes) {
                armour::find(&text, Some(&name), &mut contents)?;
            }
        }
    } else {
        let text = text::decode(file)?;
        armour::find(&text, None, &mut contents)?;
        if contents.blocks.is_empty() && contents.damaged.is_empty() {
            packed::find(&text, &mut contents);
        }
    }
    if contents.blocks.is_empty() && contents.damaged.is_empty() && !contents.cut_off {
        return Err(OfflineError::Nothing);
    }
    Ok(contents)
}
