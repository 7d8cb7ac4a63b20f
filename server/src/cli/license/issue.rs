//! `claviger-server license issue`: new serial numbers and unlock codes. A code is shown here once and nowhere else.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, Date, SystemClock};
use claviger_protocol::documents::LicenseKind;
use indicatif::{ProgressBar, ProgressStyle};
use ring::rand::SystemRandom;

use crate::cli::common::Shop;
use crate::cli::{Failure, FailureKind, Output};
use crate::keys::durable;
use crate::licensing::{Batch, Fresh, IssueOrder, IssueOutcome, find_product};

/// From this many on, a progress bar is shown.
const MANY: u32 = 1_000;

/// Issue licenses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The product or bundle: its id, or a unique ending of it.
    #[arg(long)]
    product: String,
    /// How long it lasts.
    #[arg(long, default_value = "perpetual")]
    kind: Kind,
    /// On how many machines each license may be active.
    #[arg(long, default_value_t = 1)]
    seats: u32,
    /// Perpetual: the last release date covered; without it all releases are.
    #[arg(long, value_name = "DATE")]
    updates_until: Option<Date>,
    /// Subscription: the last day that is paid for.
    #[arg(long, value_name = "DATE")]
    paid_through: Option<Date>,
    /// Subscription: days of use after that [default: 14].
    #[arg(long, value_name = "DAYS")]
    grace_days: Option<u32>,
    /// Trial: days from the first activation.
    #[arg(long, value_name = "DAYS")]
    trial_days: Option<u32>,
    /// A feature that the license opens, in your own words; give it once for each.
    #[arg(long = "entitlement", value_name = "NAME")]
    entitlements: Vec<String>,
    /// Lost machines that may be replaced in a year [default: 6].
    #[arg(long, value_name = "N")]
    replacements: Option<u32>,
    /// The shop's order: giving the same again issues nothing again.
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// How many licenses.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Write serial numbers and unlock codes to this new file instead of printing them.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// A kind of license as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Kind {
    /// For ever.
    Perpetual,
    /// While it is paid for.
    Subscription,
    /// For some days.
    Trial,
}

impl From<Kind> for LicenseKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Perpetual => Self::Perpetual,
            Kind::Subscription => Self::Subscription,
            Kind::Trial => Self::Trial,
        }
    }
}

pub(super) async fn run(shop: &Shop, args: &Args, output: Output) -> Result<(), Failure> {
    let order = IssueOrder {
        product: args.product.clone(),
        kind: args.kind.into(),
        seats: args.seats,
        updates_until: args.updates_until,
        paid_through: args.paid_through,
        grace_days: args.grace_days,
        trial_days: args.trial_days,
        entitlements: args.entitlements.clone(),
        replacement_budget: args.replacements,
        order_id: args.order_id.clone(),
        count: args.count,
    };
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
    let written = args.csv.as_deref().map(|path| Written::write(path, &batch.fresh)).transpose()?;
    bar.set_message("storing");
    let outcome = batch.store(shop.store.as_ref(), SystemClock.now()).await;
    bar.finish_and_clear();
    match outcome? {
        IssueOutcome::Fresh(fresh) => match written {
            Some(written) => written.keep(fresh.len(), output),
            None => {
                print(&fresh, output);
                Ok(())
            }
        },
        IssueOutcome::Before(serials) => {
            output.say("This order was issued before. Its unlock codes were shown then, and only then:");
            for serial in &serials {
                output.say(format!("  {serial}"));
                output.result(
                    &serde_json::json!({ "serial": serial, "unlock_code": null, "issued_before": true }),
                );
            }
            output.say("`claviger-server license transfer SERIAL` makes a new code and ends the old one.");
            Ok(())
        }
    }
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
    fn write(path: &Path, fresh: &[Fresh]) -> Result<Self, Failure> {
        let failed = |e: &dyn std::error::Error| {
            Failure::new(FailureKind::Environment, format!("could not write {}: {e}", path.display()))
        };
        let temporary = durable::temporary(path).map_err(|e| failed(&e))?;
        let file = durable::open_new(&temporary, 0o600).map_err(|e| failed(&e))?;
        let written = Self { temporary, path: path.to_owned(), kept: false };
        let mut csv = csv::Writer::from_writer(std::io::BufWriter::new(file));
        csv.write_record(["serial", "unlock_code"]).map_err(|e| failed(&e))?;
        for one in fresh {
            csv.write_record([one.serial.as_str(), one.code.reveal()]).map_err(|e| failed(&e))?;
        }
        let mut buffer = csv.into_inner().map_err(|e| failed(&e))?;
        buffer.flush().map_err(|e| failed(&e))?;
        buffer.get_ref().sync_all().map_err(|e| failed(&e))?;
        Ok(written)
    }

    fn keep(mut self, count: usize, output: Output) -> Result<(), Failure> {
        self.kept = true;
        // A hard link never replaces a file that appeared meanwhile, and leaves the codes where they are if it fails.
        let named =
            std::fs::hard_link(&self.temporary, &self.path).and_then(|()| durable::sync_parent(&self.path));
        named.map_err(|e| {
            Failure::new(FailureKind::Environment, format!("could not name the file of codes: {e}"))
                .hint(format!("the licenses are issued; their codes are in {}", self.temporary.display()))
        })?;
        let _ = std::fs::remove_file(&self.temporary);
        output.say(format!(
            "Issued {count} licenses; serial numbers and unlock codes are in {}.",
            self.path.display()
        ));
        output.result(&serde_json::json!({ "issued": count, "csv": self.path }));
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.kept {
            let _ = durable::shred(&self.temporary);
        }
    }
}
