//! `claviger-server backup`: one file from which the server can be made again.

use std::path::PathBuf;

use claviger_protocol::clock::SystemClock;
use ring::rand::SystemRandom;

use super::common::{DataArg, block_on};
use super::passphrase::PassphraseSource;
use super::{Failure, FailureKind, Output};
use crate::archive::{self, ArchiveError, Summary};

/// Write a backup of the server, which may be running.
///
/// It holds the database, the issuing keys, keyset, vendor profile and admin keys; not the root keys and not the
/// security log. It is read back before it gets its name, and never overwrites.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    /// The file to write.
    file: PathBuf,
    /// Seal it with a passphrase, asked for twice.
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    let passphrase = if args.encrypt || args.passphrase.passphrase_file.is_some() {
        Some(args.passphrase.choose("the backup", output)?)
    } else {
        None
    };
    let made = block_on(async {
        let made =
            archive::backup(&data, &args.file, passphrase.as_ref(), &SystemClock, &SystemRandom::new()).await;
        Ok(made?)
    })?;
    output.say(format_args!("Backed up and read back: {} ({})", args.file.display(), size(&made)));
    if !made.sealed {
        output.say(
            "It holds the issuing keys in the clear: keep it where nobody else can read it, or make it with --encrypt.",
        );
    }
    output.say(format_args!(
        "\nTo restore it:\n  claviger-server restore {} --data NEW-FOLDER",
        args.file.display()
    ));
    output.result(&serde_json::json!({ "file": args.file, "backup": made }));
    Ok(())
}

fn size(made: &Summary) -> String {
    let bytes: u64 = made.files.iter().map(|(_, size)| size).sum();
    format!("{} files, {} KiB", made.files.len(), bytes.div_ceil(1024))
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let error = match error {
            ArchiveError::Keys(inner) => return inner.into(),
            other => other,
        };
        let kind = match &error {
            ArchiveError::NotABackup
            | ArchiveError::Damaged(_)
            | ArchiveError::TooNew(_)
            | ArchiveError::Stranger(_) => FailureKind::BadInput,
            ArchiveError::PassphraseNeeded | ArchiveError::WrongPassphrase => FailureKind::Denied,
            ArchiveError::NoFolder(_) => FailureKind::NotFound,
            ArchiveError::Open(_, cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                FailureKind::NotFound
            }
            ArchiveError::NotEmpty(_) | ArchiveError::Exists(_) => FailureKind::Conflict,
            ArchiveError::Database(_)
            | ArchiveError::Io(_)
            | ArchiveError::Open(..)
            | ArchiveError::Envelope(_)
            | ArchiveError::Keys(_) => FailureKind::Environment,
        };
        let hint = match &error {
            ArchiveError::NoFolder(_) => "make the folder first, or name a file in one that exists",
            ArchiveError::Open(..) => "name the backup's file, readable for this account",
            ArchiveError::NotABackup => "name a file that `claviger-server backup` wrote",
            ArchiveError::PassphraseNeeded | ArchiveError::WrongPassphrase => {
                "give the backup's own passphrase, with --passphrase-file or when asked"
            }
            ArchiveError::NotEmpty(_) => "name a new folder with --data",
            ArchiveError::Exists(_) => "name a new file",
            ArchiveError::Database(_) | ArchiveError::Io(_) => {
                "look at the disk's free space and the permissions of both folders, then try again"
            }
            _ => return Self::from_error(kind, &error),
        };
        Self::from_error(kind, &error).hint(hint)
    }
}
