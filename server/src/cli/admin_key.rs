//! `claviger-server admin-key`: who may use the admin interface.

use claviger_protocol::clock::{Clock as _, SystemClock};
use ring::rand::SystemRandom;

use super::common::DataArg;
use super::{Failure, FailureKind, Output};
use crate::admin_keys::{self, AdminKey, AdminKeysError, Grant};
use crate::keys::PublicFiles;

/// Make, list and remove keys of the admin interface.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key. It is shown once and stored as a hash.
    Add {
        /// What you call it, such as the name of the shop that will use it.
        name: String,
        /// What it may do; give it once for each. The interface's own description, /v1/openapi.json, says which
        /// scopes each operation takes.
        #[arg(long, value_name = "SCOPE", required = true)]
        scope: Vec<Grant>,
    },
    /// List all keys, with the day on which each was last used.
    List,
    /// Remove a key; the running server refuses it at once.
    Remove {
        /// Its name or id.
        key: String,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    PublicFiles::load(&data)?;
    match &args.command {
        Command::Add { name, scope } => {
            let (key, text) = admin_keys::add(&data, name, scope, SystemClock.now(), &SystemRandom::new())?;
            output.say(format_args!("Made the admin key “{}” ({}): {}", key.name, key.id, grants(&key)));
            output.say(format_args!("\n  {}\n", text.as_str()));
            output.say("This is the only time that it is shown. Send it as: Authorization: Bearer KEY");
            output.result(&serde_json::json!({
                "id": key.id, "name": key.name, "scopes": key.grants, "key": text.as_str(),
            }));
        }
        Command::List => {
            let keys = admin_keys::list(&data)?;
            if keys.is_empty() {
                output.say("There are no admin keys: the admin interface refuses everyone.");
            }
            for (key, used) in &keys {
                let used = used.map_or_else(|| "never used".to_owned(), |day| format!("last used {day}"));
                output.say(format_args!(
                    "{}  {}  {}  made {}, {used}",
                    key.id,
                    key.name,
                    grants(key),
                    key.made.date()
                ));
            }
            let rows: Vec<_> = keys
                .iter()
                .map(|(key, used)| {
                    serde_json::json!({
                        "id": key.id, "name": key.name, "scopes": key.grants, "made": key.made, "last_used": used,
                    })
                })
                .collect();
            output.result(&rows);
        }
        Command::Remove { key } => {
            let removed = admin_keys::remove(&data, key)?;
            output.say(format_args!("Removed the admin key “{}” ({}).", removed.name, removed.id));
            output.result(&serde_json::json!({ "id": removed.id, "name": removed.name }));
        }
    }
    Ok(())
}

fn grants(key: &AdminKey) -> String {
    key.grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl From<AdminKeysError> for Failure {
    fn from(error: AdminKeysError) -> Self {
        let kind = match &error {
            AdminKeysError::Io { .. } | AdminKeysError::Random => FailureKind::Environment,
            AdminKeysError::Damaged { .. } => FailureKind::BadInput,
            AdminKeysError::NameTaken(_) => FailureKind::Conflict,
            AdminKeysError::BadName => FailureKind::Usage,
            AdminKeysError::Unknown(_) => FailureKind::NotFound,
        };
        Self::from_error(kind, &error)
    }
}
