//! `claviger-server license import`: a shop's existing serial numbers, all of them or none.

use std::path::PathBuf;

use claviger_protocol::clock::{Clock as _, Date, SystemClock};

use super::issue::Kind;
use crate::cli::common::Shop;
use crate::cli::{Failure, FailureKind, Output};
use crate::licensing::{Import, ImportRow, IssueOrder, find_product};

/// Import serial numbers from a CSV file with the columns serial, unlock_code (optional) and order_id (optional).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; its first line names the columns.
    file: PathBuf,
    /// The product or bundle: its id, or a unique ending of it.
    #[arg(long)]
    product: String,
    /// How long the licenses last.
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
    /// Trial: days from the first activation.
    #[arg(long, value_name = "DAYS")]
    trial_days: Option<u32>,
    /// A feature that the licenses open; give it once for each.
    #[arg(long = "entitlement", value_name = "NAME")]
    entitlements: Vec<String>,
    /// Check everything and import nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Wrong lines that are told one by one.
const TOLD: usize = 20;

pub(super) async fn run(shop: &Shop, args: &Args, output: Output) -> Result<(), Failure> {
    let order = IssueOrder {
        product: args.product.clone(),
        kind: args.kind.into(),
        seats: args.seats,
        updates_until: args.updates_until,
        paid_through: args.paid_through,
        grace_days: None,
        trial_days: args.trial_days,
        entitlements: args.entitlements.clone(),
        replacement_budget: None,
        order_id: None,
        count: 1,
    };
    let product = find_product(shop.store.as_ref(), &args.product).await?;
    let terms = order.terms(product)?;
    let rows = read(args)?;
    if rows.is_empty() {
        return Err(Failure::new(FailureKind::BadInput, format!("{} has no rows", args.file.display())));
    }
    let import = match Import::check(shop.store.as_ref(), &shop.profile, &terms, &rows).await? {
        Ok(import) => import,
        Err(errors) => {
            for error in errors.iter().take(TOLD) {
                output.warn(format!("line {}: {}", error.line, error.error));
            }
            if errors.len() > TOLD {
                output.warn(format!("… and {} more", errors.len() - TOLD));
            }
            let message = format!("{} of {} lines are wrong; nothing was imported", errors.len(), rows.len());
            return Err(Failure::new(FailureKind::BadInput, message));
        }
    };
    if import.guessable > 0 {
        output.warn(format!(
            "warning: {} licenses have no unlock code or one under 12 characters: whoever guesses it can use a seat",
            import.guessable
        ));
    }
    if args.dry_run {
        output.say(format!("{} licenses can be imported.", import.len()));
        output.result(&serde_json::json!({ "importable": import.len() }));
        return Ok(());
    }
    let count = import.store(shop.store.as_ref(), SystemClock.now()).await?;
    output.say(format!("Imported {count} licenses."));
    output.result(&serde_json::json!({ "imported": count }));
    Ok(())
}

fn read(args: &Args) -> Result<Vec<(u64, ImportRow)>, Failure> {
    let bad = |e: csv::Error| {
        let line = e.position().map_or(String::new(), |p| format!("line {}: ", p.line()));
        Failure::new(FailureKind::BadInput, format!("{}: {line}{e}", args.file.display()))
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(&args.file).map_err(bad)?;
    let headers = reader.headers().map_err(bad)?.clone();
    // Spreadsheets like to put a byte order mark first.
    let names: Vec<&str> = headers.iter().map(|h| h.trim_start_matches('\u{feff}')).collect();
    let known = ["serial", "unlock_code", "order_id"];
    if let Some(strange) = names.iter().find(|n| !known.contains(n)) {
        return Err(Failure::new(
            FailureKind::BadInput,
            format!("{}: the column “{strange}” is not known", args.file.display()),
        )
        .hint(
            "the first line must name the columns: serial, and if you have them unlock_code and order_id",
        ));
    }
    let column = |name: &str| names.iter().position(|n| *n == name);
    let Some(serial) = column("serial") else {
        return Err(Failure::new(
            FailureKind::BadInput,
            format!("{}: there is no column “serial”", args.file.display()),
        ));
    };
    let (code, order) = (column("unlock_code"), column("order_id"));
    let mut rows = Vec::new();
    for record in reader.into_records() {
        let record = record.map_err(bad)?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::to_owned);
        rows.push((
            line,
            ImportRow {
                serial: field(Some(serial)).unwrap_or_default(),
                unlock_code: field(code),
                order_id: field(order),
            },
        ));
    }
    Ok(rows)
}
