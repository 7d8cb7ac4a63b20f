//! `claviger man`: the manual, made from the same words as `--help`.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// `claviger man`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write one page a command into this folder instead of the main page to standard output
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Carries `claviger man` out.
pub(crate) fn run(arguments: Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = arguments.folder else {
        let page = page(command)?;
        out.raw(&page);
        return Ok(Exit::Done);
    };
    let mut written = Vec::new();
    std::fs::create_dir_all(&folder)
        .map_err(|e| Failure::storage(format!("The folder {} cannot be made", folder.display()), &e))?;
    write(command, "claviger", &folder, &mut written)?;
    out.json(&json!({ "pages": written }));
    out.line(format!("{} manual pages are in {}.", written.len(), folder.display()));
    Ok(Exit::Done)
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    Man::new(command)
        .render(&mut bytes)
        .map_err(|e| Failure::new(Exit::Internal, "internal", "the manual cannot be made").because(&e))?;
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
    std::fs::write(&path, page(command.name(name.to_owned()))?)
        .map_err(|e| Failure::storage(format!("{} cannot be written", path.display()), &e))?;
    written.push(file);
    Ok(())
}
