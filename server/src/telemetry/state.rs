//! What the running server knows of plans and keys, as one immutable snapshot that is replaced when a week closes or a
//! plan is made.

use std::collections::BTreeMap;
use std::path::Path;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::VendorId;
use claviger_protocol::telemetry::voprf::{Issuer, TokenIssuer as _};
use claviger_protocol::telemetry::{Plan, PlanBody, Week, closes};

use super::plans::StoredPlan;
use super::{TelemetryError, keyfiles};

/// Plans and keys that are in use.
#[derive(Debug)]
pub struct Current {
    plans: Vec<StoredPlan>,
    /// The keys of weeks that have not closed.
    keys: BTreeMap<Week, Issuer>,
    /// The body of `GET /v1/telemetry/plan`.
    body: Vec<u8>,
}

impl Current {
    /// What is in use at `now` of `plans`, with the keys in `keys`. A key that is missing or is not the plan's leaves its
    /// week without tokens and reports, and is logged.
    ///
    /// # Errors
    /// [`TelemetryError`] for a damaged key file.
    pub fn load(
        plans: Vec<StoredPlan>,
        keys: &Path,
        vendor: &VendorId,
        now: Timestamp,
    ) -> Result<Self, TelemetryError> {
        let plans: Vec<StoredPlan> = plans.into_iter().filter(|plan| !plan.is_over(now)).collect();
        let mut known = BTreeMap::new();
        for planned in plans.iter().flat_map(|stored| &stored.plan.weeks) {
            if closes(planned.week) <= now {
                continue;
            }
            match keyfiles::load(keys, vendor, planned.week)? {
                Some(issuer) if issuer.public() == planned.key => {
                    known.insert(planned.week, issuer);
                }
                Some(_) => {
                    tracing::error!(week = %planned.week, "the token key of this week is not the plan's");
                }
                None => tracing::error!(week = %planned.week, "the token key of this week is missing"),
            }
        }
        let body = PlanBody { plans: plans.iter().map(|stored| stored.text.clone()).collect() };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        Ok(Self { plans, keys: known, body })
    }

    /// The plan and the key of a week that is not closed.
    #[must_use]
    pub fn week(&self, week: Week) -> Option<(&Plan, &Issuer)> {
        let stored = self.plans.iter().find(|stored| stored.plan.key(week).is_some())?;
        Some((&stored.plan, self.keys.get(&week)?))
    }

    /// The plans, in the order of weeks.
    #[must_use]
    pub fn plans(&self) -> &[StoredPlan] {
        &self.plans
    }

    /// The body of `GET /v1/telemetry/plan`: the same bytes for everyone.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}
