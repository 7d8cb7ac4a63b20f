//! Usage statistics: everything about them that is not HTTP or a command. Nothing here is joined with accounts, and the
//! only question ever asked of the database of licenses is who holds an activation ([`crate::storage::usage`]).
//!
//! | file | what lives there |
//! |---|---|
//! | `quarter`, `plans`, `eligibility`, `releases` | what reports may name, and when: plans, signed a quarter ahead |
//! | `keyfiles` | the secret halves of weekly token keys |
//! | `state` | plans and keys in use |
//! | `tokens` | gives installations their weekly batch of blind tokens |
//! | `collector` | takes reports |
//! | `store` | counters, spent tokens, who got tokens |
//! | `fold` | what too few reported becomes `other`, when a week closes |
//! | `notices` | what people are asked with |
//! | `report`, `chart`, `page` | what the vendor sees |

pub mod chart;
pub mod collector;
mod eligibility;
mod error;
pub mod fold;
pub mod keyfiles;
pub mod notices;
pub mod page;
mod plans;
mod quarter;
pub mod releases;
pub mod report;
mod state;
pub mod store;
mod tokens;

pub use eligibility::LEAST_INSTALLATIONS;
pub use error::TelemetryError;
pub use plans::{PlanFolder, StoredPlan};
pub use quarter::Quarter;
pub use state::Current;
pub use tokens::TokenRefusal;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::telemetry::{OPEN_DAYS, Week, closes};
use ring::rand::SecureRandom;
use tokio::sync::Semaphore;

use crate::admin_keys::AdminKeys;
use crate::config::DataDir;
use crate::fault;
use crate::http::IssuerCell;
use crate::metrics::Metrics;
use crate::storage::Store;
use collector::{Counting, ReportRefusal};
use notices::NoticeCell;
use store::{CounterStore, IssuedStore, Taken};

/// How often weeks are closed and plans made.
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);
/// For how many weeks what was reported about a version or DAW keeps it on the list: two quarters.
const REMEMBERED_WEEKS: i32 = 26;

/// What usage statistics are made of.
pub struct TelemetryParts {
    /// The data folder.
    pub data: DataDir,
    /// The database of licenses.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random number generator.
    pub rng: Arc<dyn SecureRandom + Send + Sync>,
    /// The issuing keys, which sign plans.
    pub issuer: Arc<IssuerCell>,
    /// The counters for Prometheus.
    pub metrics: Arc<Metrics>,
    /// Who may see the statistics.
    pub admin_keys: Arc<AdminKeys>,
}

/// The usage statistics of a running server.
pub struct Telemetry {
    pub(crate) parts: TelemetryParts,
    folder: PathBuf,
    plans: PlanFolder,
    counters: Arc<CounterStore>,
    issued: IssuedStore,
    counting: Counting,
    notices: NoticeCell,
    current: RwLock<Arc<Current>>,
    /// Evaluating a batch takes milliseconds of a core: one at a time, so that activations go on.
    evaluating: Semaphore,
}

impl Telemetry {
    /// Opens the stores, closes what is due, makes the plans that are due, and starts counting on the current runtime. The
    /// second value ends after the first was dropped, when everything is written.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub async fn start(
        parts: TelemetryParts,
    ) -> Result<(Arc<Self>, tokio::task::JoinHandle<()>), TelemetryError> {
        let folder = parts.data.telemetry();
        crate::keys::durable::private_dir(&folder).map_err(TelemetryError::io("create", &folder))?;
        let counters = Arc::new(CounterStore::open(&folder).await?);
        let issued = IssuedStore::open(&folder).await?;
        let plans = PlanFolder::new(&folder);
        let issuer = parts.issuer.get();
        let current = Current::load(plans.load(&issuer)?, plans.keys(), issuer.vendor(), parts.clock.now())?;
        let (counting, done) = Counting::start(Arc::clone(&counters));
        let parts_notices = parts.data.notices();
        let telemetry = Arc::new(Self {
            parts,
            folder,
            plans,
            counters,
            issued,
            counting,
            notices: NoticeCell::new(parts_notices),
            current: RwLock::new(Arc::new(current)),
            evaluating: Semaphore::new(1),
        });
        telemetry.tidy().await?;
        Ok((telemetry, done))
    }

    /// Plans and keys in use.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The notices.
    #[must_use]
    pub fn notices(&self) -> &NoticeCell {
        &self.notices
    }

    /// The counters of closed weeks.
    #[must_use]
    pub fn counters(&self) -> &CounterStore {
        &self.counters
    }

    /// Takes a report; the metrics learn what became of it, and nothing else does.
    ///
    /// # Errors
    /// [`ReportRefusal`].
    pub async fn report(&self, body: &[u8]) -> Result<(), ReportRefusal> {
        let checked = collector::check(body, &self.current(), self.parts.clock.now());
        let taken = match checked {
            Ok(spending) => self.counting.count(spending).await,
            Err(refusal) => Err(refusal),
        };
        let word = match &taken {
            Ok(Taken::Before) => "before",
            Ok(_) => "counted",
            Err(refusal) => refusal.word(),
        };
        self.parts.metrics.telemetry("report", word);
        taken.map(|_| ())
    }

    /// Closes the weeks that are over, makes the plans that are due, and takes into use what changed.
    ///
    /// # Errors
    /// [`TelemetryError`]; what could be done is done, and the rest is tried again.
    pub async fn tidy(&self) -> Result<(), TelemetryError> {
        let now = self.parts.clock.now();
        close_due(&self.folder, &self.counters, &self.issued, now).await?;
        let issuer = self.parts.issuer.get();
        let mut stored = self.plans.load(&issuer)?;
        for weeks in plans::due(&stored, now) {
            let made = self.make_plan(&stored, &weeks, now).await?;
            tracing::info!(from = %weeks[0], titles = made.plan.titles.len(), "a plan for usage statistics was signed");
            stored.push(made);
        }
        let current = Current::load(stored, self.plans.keys(), issuer.vendor(), now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        Ok(())
    }

    async fn make_plan(
        &self,
        stored: &[StoredPlan],
        weeks: &[Week],
        now: Timestamp,
    ) -> Result<StoredPlan, TelemetryError> {
        let taking_part: HashSet<_> =
            self.issued.machines_since(Week::of(Timestamp(0))).await?.into_iter().collect();
        let mut active = BTreeMap::new();
        for product in self.parts.store.products().await? {
            // What is counted are titles; a bundle is used as its titles.
            if product.contains.is_empty() {
                active.insert(product.id.clone(), self.parts.store.machines_with(&product.id).await?);
            }
        }
        let reached = self.counters.reached(Week::of(now).plus(-REMEMBERED_WEEKS)).await?;
        let released = releases::load(&releases_path(&self.parts.data))?;
        let past: Vec<_> = stored.iter().filter(|p| p.is_over(now)).map(|p| &p.plan).collect();
        let known = eligibility::Known {
            active: &active,
            taking_part: &taking_part,
            released: &released,
            reached: &reached,
            past: &past,
        };
        let (titles, daws) = (eligibility::titles(&known), eligibility::daws(&known));
        let issuer = self.parts.issuer.get();
        self.plans.make(&issuer, weeks, titles, daws, now, self.parts.rng.as_ref())
    }

    /// Closes and plans now and then, for as long as it is polled.
    pub async fn keep_house(&self) {
        loop {
            fault::pause(HOUSEKEEPING).await;
            if let Err(error) = self.tidy().await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "usage statistics were not kept tidy"
                );
            }
        }
    }
}

/// The file of released versions.
#[must_use]
pub fn releases_path(data: &DataDir) -> PathBuf {
    data.telemetry().join("releases.json")
}

/// Closes every week whose time is over: folds and publishes its counters, forgets its spent tokens, overwrites its key,
/// forgets who got tokens for it. Gives the weeks that were closed; doing it again changes nothing.
///
/// # Errors
/// [`TelemetryError`].
pub async fn close_due(
    folder: &Path,
    counters: &CounterStore,
    issued: &IssuedStore,
    now: Timestamp,
) -> Result<Vec<Week>, TelemetryError> {
    let keys = PlanFolder::new(folder).keys().to_owned();
    let mut weeks = counters.open_weeks().await?;
    weeks.extend(keyfiles::weeks(&keys)?);
    weeks.retain(|week| closes(*week) <= now);
    for week in &weeks {
        let cells = counters.close_week(*week).await?;
        keyfiles::drop_key(&keys, *week)?;
        tracing::info!(%week, cells, "a week of usage statistics was closed");
    }
    // The last week that is closed now, whether anything was reported about it or not.
    let last = Week::of(now.plus(-OPEN_DAYS * claviger_protocol::clock::DAY)).plus(-1);
    issued.forget_before(last.plus(1)).await?;
    Ok(weeks.into_iter().collect())
}
