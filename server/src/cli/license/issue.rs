//! `claviger-server license issue`: new serial numbers and unlock codes. A code is shown here once and nowhere else.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::serial::Serial;
use indicatif::{ProgressBar, ProgressStyle};
use ring::rand::SystemRandom;

use super::terms::TermsArgs;
use crate::cli::common::Shop;
use crate::cli::{Failure, FailureKind, Output, counted};
use crate::keys::durable;
use crate::licensing::{Batch, Fresh, IssueOutcome, find_product};

/// From this many on, a progress bar is shown.
const MANY: u32 = 1_000;

/// Issue licenses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    terms: TermsArgs,
    /// The shop's order: giving the same again issues nothing again, and tells the serial numbers.
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// How many licenses.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Write serial numbers and unlock codes to this new file instead of printing them.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

pub(super) async fn run(shop: &Shop, args: &Args, output: Output) -> Result<(), Failure> {
    let order = args.terms.order(args.order_id.clone(), args.count);
    let product = find_product(shop.store.as_ref(), &order.product).await?;
    if let Some(path) = &args.csv
        && path.exists()
    {
        return Err(Failure::new(FailureKind::Conflict, format!("{} exists already", path.display()))
            .hint("unlock codes are never to be had again: choose a new file"));
    }
    let bar = bar(order.count);
    let batch = Batch::draw(&shop.profile, &order, product, &SystemRandom::new(), || bar.inc(1))?;
    // The codes reach the disk before the licenses exist: a full disk must not leave licenses that nobody can unlock.
    let rows = || batch.fresh.iter().map(|one| [one.serial.as_str(), one.code.reveal()]);
    let written = args.csv.as_deref().map(|path| Written::write(path, rows())).transpose()?;
    bar.set_message("storing");
    let outcome = batch.store(shop.store.as_ref(), SystemClock.now()).await;
    bar.finish_and_clear();
    match outcome? {
        IssueOutcome::Fresh(fresh) => match written {
            Some(written) => {
                written.keep()?;
                output.say(format!(
                    "Issued {}; serial numbers and unlock codes are in {}.",
                    counted(fresh.len(), "license"),
                    path_of(args)
                ));
                output.result(&serde_json::json!({ "issued": fresh.len(), "csv": args.csv }));
                Ok(())
            }
            None => {
                print(&fresh, output);
                Ok(())
            }
        },
        IssueOutcome::Before(serials) => {
            // The codes that were drawn for nothing go first: both files wait under the same temporary name.
            drop(written);
            before(&serials, args, output)
        }
    }
}

fn path_of(args: &Args) -> std::path::Display<'_> {
    args.csv.as_deref().unwrap_or_else(|| Path::new("")).display()
}

/// Tells the serial numbers of an order that was issued before.
fn before(serials: &[Serial], args: &Args, output: Output) -> Result<(), Failure> {
    const NEW_CODE: &str = "`claviger-server license transfer SERIAL` makes a new code and ends the old one.";
    if let Some(path) = &args.csv {
        Written::write(path, serials.iter().map(|serial| [serial.as_str(), ""]))?.keep()?;
        output.say(format!(
            "This order was issued before: its {} in {}, without unlock codes. Those were shown then, and only then.",
            if serials.len() == 1 { "serial number is".to_owned() } else { format!("{} serial numbers are", serials.len()) },
            path.display()
        ));
        output.say(NEW_CODE);
        output.result(&serde_json::json!({ "issued": 0, "issued_before": serials.len(), "csv": path }));
        return Ok(());
    }
    output.say("This order was issued before. Its unlock codes were shown then, and only then:");
    for serial in serials {
        output.say(format!("  {serial}"));
        output.result(&serde_json::json!({ "serial": serial, "unlock_code": null, "issued_before": true }));
    }
    output.say(NEW_CODE);
    Ok(())
}
fn bar(count: u32) -> ProgressBar {
    if count < MANY {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::from(count));
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} ({eta} left)");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message("drawing codes");
    bar
}

fn print(fresh: &[Fresh], output: Output) {
    for one in fresh {
        output.say(format!("Serial number  {}\nUnlock code    {}", one.serial, one.code.reveal()));
        output.result(&serde_json::json!({ "serial": one.serial, "unlock_code": one.code.reveal() }));
    }
    output.say("Note the unlock code now: it is not stored and cannot be shown again.");
}

/// A file of codes that waits under a temporary name until the licenses are stored.
struct Written {
    temporary: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Written {
    fn write<'a>(path: &Path, rows: impl Iterator<Item = [&'a str; 2]>) -> Result<Self, Failure> {
        let failed = |e: &dyn std::error::Error| {
            Failure::new(FailureKind::Environment, format!("could not write {}: {e}", path.display()))
        };
        let temporary = durable::temporary(path).map_err(|e| failed(&e))?;
        let file = durable::open_new(&temporary, 0o600).map_err(|e| failed(&e))?;
        let written = Self { temporary, path: path.to_owned(), kept: false };
        let mut csv = csv::Writer::from_writer(std::io::BufWriter::new(file));
        csv.write_record(["serial", "unlock_code"]).map_err(|e| failed(&e))?;
        for row in rows {
            csv.write_record(row).map_err(|e| failed(&e))?;
        }
        let mut buffer = csv.into_inner().map_err(|e| failed(&e))?;
        buffer.flush().map_err(|e| failed(&e))?;
        crate::platform::sync_file(buffer.get_ref()).map_err(|e| failed(&e))?;
        Ok(written)
    }

    fn keep(mut self) -> Result<(), Failure> {
        self.kept = true;
        // A file that appeared meanwhile is never replaced, and the codes stay where they are if this fails.
        durable::name_new(&self.temporary, &self.path).map_err(|e| {
            Failure::new(FailureKind::Environment, format!("could not name the file of codes: {e}"))
                .hint(format!("the licenses are issued; their codes are in {}", self.temporary.display()))
        })
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.kept {
            let _ = durable::shred(&self.temporary);
        }
    }
}
