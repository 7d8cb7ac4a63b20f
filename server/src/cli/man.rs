//! `claviger-server man`: the manual, made from the same words as `--help`.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::{Cli, Failure, FailureKind, Output, counted};

/// Print the manual, or write it with a page for each command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write one page a command into this folder instead of the main page to standard output.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = args.folder else {
        output.raw(&page(command)?);
        return Ok(());
    };
    std::fs::create_dir_all(&folder).map_err(|e| environment(&folder, &e))?;
    let mut written = Vec::new();
    write(command, "claviger-server", &folder, &mut written)?;
    output.say(format_args!("Wrote {} into {}.", counted(written.len(), "manual page"), folder.display()));
    output.result(&serde_json::json!({ "pages": written }));
    Ok(())
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let made = Man::new(command).render(&mut bytes);
    made.map_err(|e| Failure::new(FailureKind::Internal, format!("the manual cannot be made: {e}")))?;
    Ok(bytes)
}

fn write(
    command: clap::Command,
    name: &str,
    folder: &Path,
    written: &mut Vec<String>,
) -> Result<(), Failure> {
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write(sub.clone(), &format!("{name}-{}", sub.get_name()), folder, written)?;
    }
    let file = format!("{name}.1");
    let path = folder.join(&file);
    std::fs::write(&path, page(command.name(name.to_owned()))?).map_err(|e| environment(&path, &e))?;
    written.push(file);
    Ok(())
}

fn environment(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Environment, format!("could not write {}: {error}", path.display()))
}
