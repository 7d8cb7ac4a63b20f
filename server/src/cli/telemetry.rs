//! `claviger-server telemetry`: the usage statistics of closed weeks, the plans, and the list of released versions.

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ids::ProductId;
use claviger_protocol::telemetry::{ProductVersion, Week, closes};

use super::common::{DataArg, Shop, block_on};
use super::{Failure, FailureKind, Output};
use crate::keys::Issuer;
use crate::licensing::find_product;
use crate::telemetry::report::{Filter, Report};
use crate::telemetry::store::{CounterStore, IssuedStore, UsageStoreError};
use crate::telemetry::{PlanFolder, TelemetryError, close_due, releases, releases_path};

/// Show usage statistics, the plans behind them, and the versions that they may name.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what installations that take part have reported, week by week.
    ///
    /// A week appears 21 days after it has ended. What fewer than 20 installations reported stands under "other", or is
    /// left out.
    Report {
        /// From this ISO week on, such as 2026-W48.
        #[arg(long, value_name = "WEEK")]
        from: Option<Week>,
        /// Up to this week.
        #[arg(long, value_name = "WEEK")]
        to: Option<Week>,
        /// One title only: its id, or a unique ending of it.
        #[arg(long, value_name = "PRODUCT")]
        title: Option<String>,
        /// Print comma-separated values instead of tables.
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Show the signed plans: for which weeks reports are taken, and what they may name.
    Plan,
    /// Add, list and remove released versions; reports name no others.
    #[command(subcommand)]
    Release(Release),
}

#[derive(Debug, clap::Subcommand)]
enum Release {
    /// Add released versions of a title, oldest first. The next plan lists them.
    Add {
        /// The title's id, or a unique ending of it.
        product: String,
        /// The versions, as the plug-in reports them.
        #[arg(required = true)]
        versions: Vec<ProductVersion>,
    },
    /// List released versions.
    List,
    /// Take a version off the list; later plans do not name it.
    Remove {
        /// The title's id, or a unique ending of it.
        product: String,
        /// The version.
        version: ProductVersion,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    block_on(async {
        match args.command {
            Command::Report { from, to, title, csv } => {
                let title = match title {
                    Some(text) => Some(product(&args.data, &text).await?.to_string()),
                    None => None,
                };
                report(&args.data, &Filter { from, to, title }, csv, output).await
            }
            Command::Plan => plan(&args.data, output),
            Command::Release(Release::Add { product: text, versions }) => {
                let id = product(&args.data, &text).await?;
                let new = releases::add(&releases_path(&args.data.dir()?), &id, &versions)?;
                output.say(format!(
                    "Added {new} of {} versions of {id}. Reports can name them when the next plan is signed.",
                    versions.len()
                ));
                output.result(&serde_json::json!({ "product_id": id, "added": new }));
                Ok(())
            }
            Command::Release(Release::List) => {
                let releases = releases::load(&releases_path(&args.data.dir()?))?;
                for (id, versions) in &releases {
                    let versions: Vec<&str> = versions.iter().map(ProductVersion::as_str).collect();
                    output.say(format!("{id}  {}", versions.join(", ")));
                }
                if releases.is_empty() {
                    output.say(
                        "No versions are listed, so reports say “other”: claviger-server telemetry release add PRODUCT VERSION",
                    );
                }
                output.result(&releases);
                Ok(())
            }
            Command::Release(Release::Remove { product: text, version }) => {
                let id = product(&args.data, &text).await?;
                releases::remove(&releases_path(&args.data.dir()?), &id, &version)?;
                output.say(format!("Removed {id} {version}."));
                output.result(&serde_json::json!({ "product_id": id, "removed": version }));
                Ok(())
            }
        }
    })
}

async fn product(data: &DataArg, text: &str) -> Result<ProductId, Failure> {
    let shop = Shop::open(data).await?;
    Ok(find_product(shop.store.as_ref(), text).await?)
}

async fn report(data: &DataArg, filter: &Filter, csv: bool, output: Output) -> Result<(), Failure> {
    let folder = data.dir()?.telemetry();
    if !folder.is_dir() {
        return Err(Failure::new(FailureKind::NotFound, "there are no usage statistics here yet").hint(
            "claviger-server serve begins them; the first figures come four weeks after the first reports",
        ));
    }
    let counters = CounterStore::open(&folder).await?;
    // What the server has not closed because it was not running.
    close_due(&folder, &counters, &IssuedStore::open(&folder).await?, SystemClock.now()).await?;
    let cells = counters.published(filter.from, filter.to, filter.title.as_deref()).await?;
    let report = Report::of(cells, &counters.closed_weeks().await?, filter);
    counters.close().await?;
    let text = if csv { report.csv() } else { report.table() };
    output.say(text.trim_end());
    output.result(&report);
    Ok(())
}

fn plan(data: &DataArg, output: Output) -> Result<(), Failure> {
    let data = data.dir()?;
    let issuer = Issuer::load(&data)?;
    let now = SystemClock.now();
    let plans = PlanFolder::new(&data.telemetry()).load(&issuer)?;
    let open: Vec<_> = plans.iter().filter(|stored| !stored.is_over(now)).collect();
    if open.is_empty() {
        output.say("There is no plan yet: claviger-server serve signs one when it starts.");
    }
    for stored in &open {
        let plan = &stored.plan;
        let (Some(first), Some(last)) = (plan.weeks.first(), plan.weeks.last()) else { continue };
        output.say(format!(
            "Weeks {} to {}, signed on {}; the last one closes on {}.",
            first.week,
            last.week,
            plan.iat.date(),
            closes(last.week).date()
        ));
        if plan.titles.is_empty() {
            output.say(
                "  No title: fewer than 50 installations that take part had one active when it was signed.",
            );
        }
        for title in &plan.titles {
            let versions: Vec<&str> = title.versions.iter().map(ProductVersion::as_str).collect();
            let versions = if versions.is_empty() { "no versions".to_owned() } else { versions.join(", ") };
            output.say(format!("  {}  ({versions})", title.product));
        }
        let daws: Vec<&str> = plan.daws.iter().map(|daw| daw.title()).collect();
        if !daws.is_empty() {
            output.say(format!("  DAWs: {}", daws.join(", ")));
        }
    }
    output.result(&open.iter().map(|stored| &stored.plan).collect::<Vec<_>>());
    Ok(())
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::Store(error) => error.into(),
            TelemetryError::Keys(error) => error.into(),
            TelemetryError::Usage(error) => error.into(),
            TelemetryError::Refused(_) => Self::from_error(FailureKind::Conflict, &error),
            TelemetryError::NotFound(_) => Self::from_error(FailureKind::NotFound, &error),
            TelemetryError::Damaged(_) | TelemetryError::Document { .. } => {
                Self::from_error(FailureKind::BadInput, &error)
            }
            TelemetryError::Io { .. } | TelemetryError::Random => {
                Self::from_error(FailureKind::Environment, &error)
            }
        }
    }
}

impl From<UsageStoreError> for Failure {
    fn from(error: UsageStoreError) -> Self {
        let kind = match &error {
            UsageStoreError::Corrupt => FailureKind::BadInput,
            _ => FailureKind::Environment,
        };
        Self::from_error(kind, &error)
    }
}
