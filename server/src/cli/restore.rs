//! `claviger-server restore`: a server out of a backup, in a new folder.

use std::path::PathBuf;

use claviger_protocol::clock::SystemClock;

use super::common::{DataArg, block_on};
use super::passphrase::PassphraseSource;
use super::{Failure, Output};
use crate::archive;

/// Restore a backup into an empty or new folder.
///
/// The server enters a new epoch: machines that were activated after the backup show their certificates again and keep
/// their seats. Stop the old server first: two servers of one vendor would both give seats away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    let header = archive::header(&args.file)?;
    let passphrase = header.sealed.is_some().then(|| args.passphrase.get("the backup")).transpose()?;
    let restored = block_on(async {
        Ok(archive::restore(&args.file, &data, passphrase.as_ref(), &SystemClock).await?)
    })?;
    output.say(format_args!(
        "Restored the server of {} as it was on {} into {}.",
        restored.backup.vendor,
        restored.backup.made,
        data.path().display()
    ));
    output.say(format_args!(
        "It is in a new epoch ({}): machines show their certificates again at their next contact.",
        restored.epoch
    ));
    output.say(
        "Keys, sunsets and removed admin keys that are younger than the backup are not in it: install the newest keyset \
         again with `keys install`, and look at `admin-key list`.",
    );
    output.say(format_args!("\nNext:\n  claviger-server serve --data {}", data.path().display()));
    output.result(&restored);
    Ok(())
}
