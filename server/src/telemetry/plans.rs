//! Plans on disk: `DATA/telemetry/plans/QUARTER.jws`, made once a quarter and never changed, the same bytes for everyone.
//!
//! A quarter's plan is signed when the quarter before it begins. A vendor who has just begun has nobody who takes part
//! yet, and a plan made then would list no title for half a year: until a first plan lists one, the next quarter's is
//! signed two weeks before it begins.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::documents::{DocumentError, KeyInHeader, sign};
use claviger_protocol::jws::Unverified;
use claviger_protocol::telemetry::voprf::TokenIssuer as _;
use claviger_protocol::telemetry::{Plan, PlanTitle, PlanWeek, Week, closes};
use ring::rand::SecureRandom;

use super::quarter::Quarter;
use super::{TelemetryError, keyfiles};
use crate::keys::{Issuer, durable, read_text};

/// How long before its quarter a plan is signed while no plan lists a title yet.
const FIRST_LEAD: i64 = 14 * DAY;

/// A plan and its compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPlan {
    /// What it says.
    pub plan: Plan,
    /// The bytes that everyone gets.
    pub text: String,
}

impl StoredPlan {
    /// Its quarter.
    #[must_use]
    pub fn quarter(&self) -> Option<Quarter> {
        self.plan.weeks.first().map(|week| Quarter::of(week.week))
    }

    /// Whether nothing is taken any more about any of its weeks.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.plan.weeks.iter().all(|week| closes(week.week) <= now)
    }
}

/// The plans of one server.
#[derive(Clone, Debug)]
pub struct PlanFolder {
    plans: PathBuf,
    keys: PathBuf,
}

impl PlanFolder {
    /// Plans and keys below the collector's folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { plans: folder.join("plans"), keys: folder.join("keys") }
    }

    /// Where the keys lie.
    #[must_use]
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// Every plan, in the order of weeks. One whose signing key was compromised since is signed anew, with the same
    /// content.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub fn load(&self, issuer: &Issuer) -> Result<Vec<StoredPlan>, TelemetryError> {
        let entries = match std::fs::read_dir(&self.plans) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(TelemetryError::io("look into", &self.plans))?,
        };
        let mut plans = Vec::new();
        for entry in entries {
            let path = entry.map_err(TelemetryError::io("look into", &self.plans))?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || path.extension().is_none_or(|e| e != "jws") {
                continue;
            }
            let Some(text) = read_text(&path)? else { continue };
            plans.push(Self::verify(&path, text, issuer)?);
        }
        plans.sort_by_key(|stored| stored.plan.weeks.first().map(|w| w.week));
        Ok(plans)
    }

    fn verify(path: &Path, text: String, issuer: &Issuer) -> Result<StoredPlan, TelemetryError> {
        let unacceptable = |source| TelemetryError::Document { path: path.to_owned(), source };
        match Plan::verify(&text, issuer.keyset()) {
            Ok(plan) => Ok(StoredPlan { plan, text }),
            Err(DocumentError::CompromisedKey) => {
                let plan: Plan =
                    Unverified::parse::<Plan>(&text).and_then(|u| u.peek()).map_err(unacceptable)?;
                let text = sign(&plan, issuer.signing_key(), KeyInHeader::Named);
                let plan = Plan::verify(&text, issuer.keyset()).map_err(unacceptable)?;
                durable::write(path, text.as_bytes(), durable::PUBLIC)
                    .map_err(TelemetryError::io("write", path))?;
                Ok(StoredPlan { plan, text })
            }
            Err(source) => Err(unacceptable(source)),
        }
    }

    /// Signs a plan for `weeks` and publishes it, with their keys made before.
    ///
    /// # Errors
    /// [`TelemetryError`]; a plan that is there already is never overwritten.
    pub fn make(
        &self,
        issuer: &Issuer,
        weeks: &[Week],
        titles: Vec<PlanTitle>,
        daws: Vec<Daw>,
        now: Timestamp,
        rng: &dyn SecureRandom,
    ) -> Result<StoredPlan, TelemetryError> {
        let weeks = weeks
            .iter()
            .map(|week| {
                let key = keyfiles::make(&self.keys, issuer.vendor(), *week, rng)?;
                Ok(PlanWeek { week: *week, key: key.public() })
            })
            .collect::<Result<Vec<_>, TelemetryError>>()?;
        let Some(first) = weeks.first() else {
            return Err(TelemetryError::Refused("a plan has at least one week".to_owned()));
        };
        let path = self.plans.join(format!("{}.jws", Quarter::of(first.week)));
        let plan = Plan { iss: issuer.vendor().clone(), iat: now, weeks, titles, daws };
        let text = sign(&plan, issuer.signing_key(), KeyInHeader::Named);
        let plan = Plan::verify(&text, issuer.keyset())
            .map_err(|source| TelemetryError::Document { path: path.clone(), source })?;
        durable::private_dir(&self.plans).map_err(TelemetryError::io("create", &self.plans))?;
        durable::create(&path, text.as_bytes(), durable::PUBLIC)
            .map_err(TelemetryError::io("write", &path))?;
        Ok(StoredPlan { plan, text })
    }
}

/// The weeks that need a plan now: those of this quarter that have not begun, when it has none; those of the next one
/// when it is time.
#[must_use]
pub(super) fn due(plans: &[StoredPlan], now: Timestamp) -> Vec<Vec<Week>> {
    let planned = |quarter: Quarter| plans.iter().any(|p| p.quarter() == Some(quarter));
    let this = Quarter::of(Week::of(now));
    let next = this.next();
    let mut due = Vec::new();
    if !planned(this) {
        due.push(this.weeks().filter(|week| week.start() >= now).collect());
    }
    let has_titles = plans.iter().any(|stored| !stored.plan.titles.is_empty());
    let time = has_titles || next.first().start().plus(-FIRST_LEAD) <= now;
    if !planned(next) && time {
        due.push(next.weeks().collect());
    }
    due.retain(|weeks: &Vec<Week>| !weeks.is_empty());
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::test_support;

    fn at(week: &str, day: i64) -> Timestamp {
        week.parse::<Week>().unwrap().start().plus(day * DAY)
    }

    fn names(due: &[Vec<Week>]) -> Vec<String> {
        due.iter().map(|weeks| format!("{}..{}", weeks[0], weeks.last().unwrap())).collect()
    }

    #[test]
    fn plans_are_made_for_whole_weeks_to_come_and_a_quarter_ahead_once_titles_are_listed() {
        let place = test_support::place();
        let issuer = Issuer::load(&place.data).unwrap();
        let rng = ring::rand::SystemRandom::new();
        let dir = tempfile::tempdir().unwrap();
        let folder = PlanFolder::new(dir.path());
        assert!(folder.load(&issuer).unwrap().is_empty());

        // In the middle of a week of the fourth quarter, with nobody taking part yet.
        let now = at("2026-W48", 2);
        assert_eq!(names(&due(&[], now)), ["2026-W49..2026-W53"]);
        let weeks: Vec<Week> = due(&[], now).remove(0);
        let made = folder.make(&issuer, &weeks, vec![], vec![Daw::Reaper], now, &rng).unwrap();
        let plans = folder.load(&issuer).unwrap();
        assert_eq!(plans, [made]);
        assert!(folder.make(&issuer, &weeks, vec![], vec![], now, &rng).is_err(), "never a second one");
        assert!(due(&plans, now).is_empty() && due(&plans, at("2026-W51", 6)).is_empty());
        assert_eq!(names(&due(&plans, at("2026-W52", 0))), ["2027-W01..2027-W13"]);

        // Once a plan lists a title, the next one is due when its quarter begins.
        let title = PlanTitle { product: "com.example.synth".parse().unwrap(), versions: vec![] };
        let weeks: Vec<Week> = due(&plans, at("2026-W52", 0)).remove(0);
        folder.make(&issuer, &weeks, vec![title], vec![], at("2026-W52", 0), &rng).unwrap();
        let plans = folder.load(&issuer).unwrap();
        assert!(due(&plans, at("2026-W53", 6)).is_empty());
        assert_eq!(names(&due(&plans, at("2027-W01", 0))), ["2027-W14..2027-W26"]);
        assert!(!plans[0].is_over(at("2027-W02", 0)) && plans[0].is_over(at("2027-W04", 0)));
    }

    #[test]
    fn a_server_that_slept_through_a_quarter_begins_with_the_next_whole_week() {
        let now = at("2027-W26", 3);
        assert_eq!(names(&due(&[], now)), ["2027-W27..2027-W39"], "its last week has begun");
        let now = at("2027-W25", 0);
        assert_eq!(names(&due(&[], now)), ["2027-W25..2027-W26", "2027-W27..2027-W39"]);
    }

    #[test]
    fn a_plan_of_another_vendor_is_not_taken() {
        let (one, two) = (test_support::place(), test_support::place());
        let (one, two) = (Issuer::load(&one.data).unwrap(), Issuer::load(&two.data).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let folder = PlanFolder::new(dir.path());
        let weeks = ["2026-W49".parse().unwrap()];
        let rng = ring::rand::SystemRandom::new();
        folder.make(&one, &weeks, vec![], vec![], at("2026-W48", 0), &rng).unwrap();
        assert!(matches!(folder.load(&two), Err(TelemetryError::Document { .. })));
    }
}
