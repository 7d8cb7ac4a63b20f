//! `claviger-server offline answer`: answers files that machines without a network wrote, as the portal does.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_protocol::clock::SystemClock;
use claviger_protocol::offline::{self as files, MAX_FILE_LEN};
use indicatif::{ProgressBar, ProgressStyle};
use ring::rand::SystemRandom;

use super::common::DataArg;
use super::{Failure, FailureKind, Output};
use crate::admin_keys::AdminKeys;
use crate::http::{App, AppParts, IssuerCell};
use crate::keys::{durable, read_bounded};
use crate::metrics::Metrics;
use crate::offline::{Given, Row, Trouble, bundle, of_receipt, of_trouble, settle_all};
use crate::security_log::SecurityLog;
use crate::storage;

/// From this many requests on, a progress bar is shown.
const MANY: u64 = 100;

/// Answer requests of machines without a network.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Answer requests, batches and receipts; what is wrong with one does not stop the others.
    ///
    /// One request becomes a response (.clvres), several become a bundle (.clvbundle) of which each machine takes its own
    /// part. The same files get the same answers, however often they are given. Works while the server runs, too.
    Answer {
        /// The files: .clvreq, .clvbatch, .clvreceipt, or zip archives of them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where the answers go; it must not exist yet. “-” is standard output.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Replace OUT when it exists.
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let Command::Answer { files, out, force } = &args.command;
    let to_stdout = out.as_os_str() == "-";
    if to_stdout && output.is_json() {
        return Err(Failure::new(
            FailureKind::Usage,
            "with --json, standard output is taken: name a file with -o",
        ));
    }
    if !to_stdout && !force && out.exists() {
        return Err(Failure::new(FailureKind::Conflict, format!("{} exists already", out.display()))
            .hint("choose another name, or replace it with --force"));
    }
    let given = files.iter().map(|path| read(path)).collect::<Result<Vec<Given>, Failure>>()?;
    // Signatures of one request keep no other one waiting.
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(FailureKind::Environment, format!("the runtime did not start: {e}")))?
        .block_on(answer(args, given, (!to_stdout).then_some(out.as_path()), output))
}

/// A file that cannot be opened ends the command; one in which nothing is found becomes a line of its result.
fn read(path: &Path) -> Result<Given, Failure> {
    let bytes = read_bounded(path, MAX_FILE_LEN as u64)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Given { name, contents: files::read(&bytes) })
}

async fn answer(args: &Args, given: Vec<Given>, out: Option<&Path>, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    let issuer = IssuerCell::load(&data)?;
    let store = storage::open(&data).await?;
    let admin_keys = AdminKeys::load(&data).map_err(|e| Failure::from_error(FailureKind::Environment, &e))?;
    let (app, writer) = App::start(AppParts {
        issuer,
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRandom::new()),
        metrics: Arc::new(Metrics::default()),
        security_log: SecurityLog::none(),
        admin_keys: Arc::new(admin_keys),
    })
    .map_err(|_| Failure::new(FailureKind::Environment, "the system's random number generator failed"))?;
    let vendor = app.issuer().profile().name.clone();
    let bar =
        bar(given.iter().map(|g| g.contents.as_ref().map_or(1, |c| c.blocks.len() + c.damaged.len())).sum());
    let settlement = settle_all(&app, given, None, || bar.inc(1)).await;
    bar.finish_and_clear();
    drop(app);
    let _ = writer.await;
    store.close().await?;

    let rows = settlement.rows;
    let text = match rows.as_slice() {
        [row] => row.result.as_ref().ok().map(|answered| answered.to_file(row.asked.as_ref(), &vendor)),
        rows if rows.iter().any(|row| row.result.is_ok()) => Some(bundle(rows, &vendor)),
        _ => None,
    };
    if let Some(text) = &text {
        write(out, text)?;
    }
    if settlement.cut_off {
        output.warn("warning: the end of a batch is missing: it was cut off on the way; what had arrived was looked at");
    }
    tell(&rows, out.filter(|_| text.is_some()), output)
}

fn write(out: Option<&Path>, text: &str) -> Result<(), Failure> {
    match out {
        Some(path) => durable::write(path, text.as_bytes(), 0o644).map_err(|e| {
            Failure::new(FailureKind::Environment, format!("could not write {}: {e}", path.display()))
                .hint("the answers are not lost: give the same files again")
        }),
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|e| {
            Failure::new(FailureKind::Environment, format!("could not write to standard output: {e}"))
        }),
    }
}

/// Says what became of each, and of all; fails when one got no answer.
fn tell(rows: &[Row], out: Option<&Path>, output: Output) -> Result<(), Failure> {
    let (mut answered, mut refused, mut damaged) = (0u32, 0u32, 0u32);
    let mut later = false;
    for row in rows {
        let (word, problem) = judge(row);
        match word {
            "refused" => refused += 1,
            "damaged" => damaged += 1,
            _ => answered += 1,
        }
        later |= problem.as_ref().is_some_and(|p| p.later);
        let asked = row.asked.as_ref();
        output.result(&serde_json::json!({
            "place": row.place(),
            "machine_id": asked.map(|a| a.machine_id),
            "device_name": asked.and_then(|a| a.device_name.as_ref()),
            "serial": asked.and_then(|a| a.serial.as_ref()),
            "result": word,
            "code": problem.as_ref().map(|p| p.code),
            "detail": problem.as_ref().map(|p| p.text.as_str()),
        }));
        if let Some(problem) = problem {
            let name =
                asked.and_then(|a| a.device_name.as_ref()).map(|n| format!(" (“{n}”)")).unwrap_or_default();
            // Problems go where they are seen when the answers go to standard output.
            if !output.is_json() {
                output.warn(format!("{}{name}: {}", row.place(), problem.text));
            }
        }
    }
    output.result(&serde_json::json!({
        "answered": answered, "refused": refused, "damaged": damaged, "out": out,
    }));
    if let Some(out) = out {
        let command =
            format!("claviger offline import {}", out.file_name().unwrap_or_default().to_string_lossy());
        output.say(format!("Answered {answered} of {}: {}", rows.len(), out.display()));
        output.say(format!("Take it to each of the computers and run there: {command}"));
    }
    let all = rows.len();
    if rows.is_empty() {
        return Err(Failure::new(FailureKind::BadInput, "nothing that could be answered is in these files"));
    }
    if later {
        return Err(Failure::new(FailureKind::Environment, "the database was busy for some requests")
            .hint("give the same files again with --force: what is answered already gets the same answer"));
    }
    match (damaged, refused) {
        (0, 0) => Ok(()),
        (0, refused) => Err(Failure::new(
            FailureKind::Conflict,
            format!("{refused} of {all} got no answer: they were refused"),
        )),
        (damaged, 0) => Err(Failure::new(
            FailureKind::BadInput,
            format!("{damaged} of {all} got no answer: they are damaged"),
        )),
        (damaged, refused) => Err(Failure::new(
            FailureKind::BadInput,
            format!(
                "{} of {all} got no answer: {damaged} are damaged, {refused} were refused",
                damaged + refused
            ),
        )),
    }
}

/// What is wrong with a row.
struct Problem {
    code: &'static str,
    text: String,
    /// Whether the same file may do better in a moment.
    later: bool,
}

fn judge(row: &Row) -> (&'static str, Option<Problem>) {
    match &row.result {
        Ok(answered) if answered.certificate().is_some() => ("activated", None),
        Ok(answered) => match answered.refused_receipt() {
            None => ("given_up", None),
            Some(outcome) => {
                let problem =
                    Problem { code: "receipt_refused", text: of_receipt(outcome).in_one(), later: false };
                ("refused", Some(problem))
            }
        },
        Err(trouble) => {
            let words = of_trouble(trouble, true);
            let word = match trouble {
                Trouble::Unreadable(_) | Trouble::Damaged(_) | Trouble::AnAnswer => "damaged",
                Trouble::Declined(_) => "refused",
            };
            let later = words.wait.is_some();
            (word, Some(Problem { code: trouble.code(), text: words.in_one(), later }))
        }
    }
}

fn bar(length: usize) -> ProgressBar {
    let length = length as u64;
    if length < MANY {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("answering {wide_bar} {human_pos}/{human_len} ({eta} left)");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
