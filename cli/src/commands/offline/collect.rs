//! `claviger offline collect`: many computers' requests become one batch. Damaged and doubled ones are named, the rest
//! is kept. It needs no daemon.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use claviger_protocol::clock::{Clock, SystemClock};
use claviger_protocol::offline::armour::write_collection;
use claviger_protocol::offline::{BlockKind, FileKind, MAX_FILE_LEN, RequestFrom};
use serde_json::{Value, json};

use super::files;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::text::{self, clean, shell};
use crate::vendors::entries;

const EXAMPLES: &str = "\
Examples:
  claviger offline collect *.clvreq -o lab.clvbatch
  claviger offline collect /srv/requests -o lab.clvbatch      every request in a folder, whatever its file is called
  claviger offline collect more.zip lab.clvbatch -o all.clvbatch

Take the batch to the vendor's page in one upload. What comes back is one bundle for all computers.";

/// `claviger offline collect`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Requests, receipts, batches, zip archives of them, or folders
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the batch to this file; “-” is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// What was found.
#[derive(Default)]
struct Collected {
    kept: Vec<(BlockKind, String)>,
    seen: BTreeSet<(String, String)>,
    computers: BTreeSet<String>,
    duplicates: Vec<String>,
    damaged: Vec<(String, String, String)>,
    expired: Vec<String>,
    passed_over: Vec<String>,
}

/// A file to look into.
struct Given {
    path: PathBuf,
    /// It was named, or is called like one of ours: whatever is wrong with it is said.
    meant: bool,
}

/// Carries `claviger offline collect` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let to_stdout = arguments.output.as_os_str() == "-";
    if to_stdout && out.is_json() {
        return Err(Failure::new(Exit::Usage, "usage", "-o - and --json both fill standard output"));
    }
    files::may_write(&arguments.output, arguments.force)?;
    let all = given(&arguments.files);
    let progress = Progress::start("Reading requests", out.is_json());
    let mut found = Collected::default();
    for (index, file) in all.iter().enumerate() {
        progress.say(&format!("Reading requests: {} of {}", index + 1, all.len()));
        found.take(file);
    }
    drop(progress);
    for (file, _, why) in &found.damaged {
        out.remark(format!("Left out {}: {why}.", clean(file)));
    }
    for file in &found.duplicates {
        out.remark(format!("Left out {}: the same request is in another file.", clean(file)));
    }
    if !found.passed_over.is_empty() {
        let others = text::count(found.passed_over.len(), "other file", "other files");
        out.remark(format!("Passed over {others} without anything of Claviger."));
    }
    for file in &found.expired {
        out.remark(format!("{}: the vendor will refuse it, because it is older than 30 days.", clean(file)));
    }
    let lists = lists(&found);
    if found.kept.is_empty() {
        let mut failure =
            Failure::new(Exit::Input, "nothing_to_collect", "no file has a request that is whole")
                .advice("Write requests with\n    claviger offline request SERIAL");
        failure.more.extend(lists.as_object().cloned().unwrap_or_default());
        return Err(failure);
    }
    let count = found.kept.len().to_string();
    let lines =
        [("Requests", count.as_str()), ("", "Upload this file at the vendor's page for offline activation.")];
    let blocks = found.kept.iter().map(|(kind, text)| (*kind, text.as_str()));
    let text = write_collection(FileKind::Batch, &lines, blocks);
    files::write(&arguments.output, text.as_bytes(), out)?;
    if to_stdout {
        return Ok(Exit::Done);
    }
    let file = arguments.output.display().to_string();
    let mut document = lists;
    document["file"] = json!(file);
    document["requests"] = json!(found.kept.len());
    document["computers"] = json!(found.computers.len());
    out.json(&document);
    out.line(format!(
        "Wrote {}: {} of {}.",
        shell(&clean(&file)),
        text::count(found.kept.len(), "request", "requests"),
        text::count(found.computers.len(), "computer", "computers"),
    ));
    if !found.damaged.is_empty() || !found.duplicates.is_empty() {
        out.line(format!("Left out: {} damaged, {} doubled.", found.damaged.len(), found.duplicates.len()));
    }
    Ok(Exit::Done)
}

fn lists(found: &Collected) -> Value {
    let damaged =
        found.damaged.iter().map(|(file, code, why)| json!({ "file": file, "code": code, "message": why }));
    json!({
        "damaged": damaged.collect::<Vec<_>>(),
        "duplicates": found.duplicates,
        "expired": found.expired,
        "passed_over": found.passed_over,
    })
}

/// Folders stand for the files in them. Mail programs rename files, so those of any name are looked into.
fn given(arguments: &[PathBuf]) -> Vec<Given> {
    let ours = |path: &Path| {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        FileKind::ALL.iter().any(|kind| kind.extension() == ending)
    };
    let mut all = Vec::new();
    for path in arguments {
        if path.is_dir() {
            let files = entries(path).into_iter().filter(|path| path.is_file());
            all.extend(files.map(|path| Given { meant: ours(&path), path }));
        } else {
            all.push(Given { path: path.clone(), meant: true });
        }
    }
    all
}

impl Collected {
    fn take(&mut self, given: &Given) {
        let path = &given.path;
        let file = path.display().to_string();
        let too_large = || fs::metadata(path).is_ok_and(|kind| kind.len() > MAX_FILE_LEN as u64);
        if !given.meant && too_large() {
            return self.passed_over.push(file);
        }
        let contents = match files::read(path) {
            Ok(contents) => contents,
            Err(_) if !given.meant => return self.passed_over.push(file),
            Err(failure) => {
                let prefix = format!("{} cannot be used: ", clean(&file));
                let mut why = failure.message.strip_prefix(&prefix).unwrap_or(&failure.message).to_owned();
                for cause in &failure.causes {
                    why = format!("{why}: {cause}");
                }
                self.damaged.push((file, failure.code, why));
                return;
            }
        };
        let several = contents.blocks.len() + contents.damaged.len() > 1;
        let name = |from: &Option<String>, number: usize| match (from, several) {
            (Some(member), _) => format!("{file} ({member})"),
            (None, true) => format!("{file} (number {number})"),
            (None, false) => file.clone(),
        };
        for bad in &contents.damaged {
            let place = name(&bad.from, bad.number);
            self.damaged.push((place, bad.damage.code().to_owned(), bad.damage.to_string()));
        }
        if contents.cut_off {
            let why = "its end is missing; what was there is kept".to_owned();
            self.damaged.push((file.clone(), "file_cut_off".to_owned(), why));
        }
        for block in contents.blocks {
            let place = name(&block.from, block.number);
            if !matches!(block.kind, BlockKind::Request | BlockKind::Receipt) {
                let why = "it is an answer, not a request".to_owned();
                self.damaged.push((place, "not_a_request".to_owned(), why));
                continue;
            }
            let from = match RequestFrom::read(&block.text) {
                Ok(from) => from,
                Err(e) => {
                    self.damaged.push((place, e.code().to_owned(), e.to_string()));
                    continue;
                }
            };
            if !self.seen.insert((from.device.to_string(), from.nonce.to_string())) {
                self.duplicates.push(place);
                continue;
            }
            if from.exp.is_some_and(|exp| exp < SystemClock.now()) {
                self.expired.push(place);
            }
            self.computers.insert(from.machine_id.to_string());
            self.kept.push((block.kind, block.text));
        }
    }
}
