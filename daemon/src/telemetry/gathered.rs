//! What is kept under a consent, as it stands in the ledger's file.

use std::collections::BTreeMap;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::daw::Daw;
use claviger_protocol::ids::ProductId;
use claviger_protocol::telemetry::voprf::Pending;
use claviger_protocol::telemetry::{Plan, ProductVersion, Token, TokenKey, Week, closes};
use serde::{Deserialize, Serialize};

use super::outgoing::Kind;

/// The token key of every week that was seen lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(pub(crate) BTreeMap<Week, TokenKey>);

/// Counters, queue, tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gathered {
    /// Since when: nothing is sent in the seven days after.
    pub(crate) since: Timestamp,
    /// When plan and notice are fetched next; drawn when the course is first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan_due: Option<Timestamp>,
    /// The plans known, verified when they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) plans: Vec<Plan>,
    /// By week.
    #[serde(default)]
    pub(crate) weeks: BTreeMap<Week, Gathering>,
}

/// One week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gathering {
    /// What was counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cells: Vec<Cell>,
    /// When this week's tokens are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_due: Option<Timestamp>,
    /// The batch that was asked for: the exact request, and what is needed to unblind its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Asked>,
    /// Tokens that are not spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<Token>,
    /// The tokens have come: none are fetched again.
    #[serde(default)]
    pub(crate) fetched: bool,
    /// The reports, once the week is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<Vec<Queued>>,
}

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The signed request.
    pub(crate) request: String,
    /// The blinds.
    pub(crate) pending: Vec<Pending>,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The title.
    pub product: ProductId,
    /// Its version.
    pub version: ProductVersion,
    /// The DAW.
    pub daw: Daw,
    /// How often.
    pub uses: u64,
}

/// A report that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queued {
    /// The title.
    pub product: ProductId,
    /// When it is sent.
    pub due: Timestamp,
    /// The very bytes, once there is a token for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Gathered {
    /// Nothing yet.
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { since, plan_due: None, plans: Vec::new(), weeks: BTreeMap::new() }
    }

    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }
}

/// Something that will be sent, to be shown.
pub(crate) struct Planned {
    /// What.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) due: Timestamp,
    /// Dropped at this moment.
    pub(crate) until: Option<Timestamp>,
    /// About which week.
    pub(crate) week: Option<Week>,
    /// Whether it has a body.
    pub(crate) has_body: bool,
    /// The exact body, once there is one.
    pub(crate) body: Option<String>,
}

impl Gathered {
    /// All that is planned.
    pub(crate) fn planned(&self) -> Vec<Planned> {
        let mut all = Vec::new();
        for kind in [Kind::Plan, Kind::Notice] {
            all.extend(self.plan_due.map(|due| Planned {
                kind,
                due,
                until: None,
                week: None,
                has_body: false,
                body: None,
            }));
        }
        for (week, gathering) in &self.weeks {
            let until = Some(closes(*week));
            let tokens = gathering.tokens_due.filter(|_| !gathering.fetched);
            all.extend(tokens.map(|due| Planned {
                kind: Kind::Tokens(*week),
                due,
                until,
                week: Some(*week),
                has_body: true,
                body: gathering.asked.as_ref().map(|asked| asked.request.clone()),
            }));
            all.extend(gathering.queue.iter().flatten().map(|queued| Planned {
                kind: Kind::Report(*week, queued.product.clone()),
                due: queued.due,
                until,
                week: Some(*week),
                has_body: true,
                body: queued.body.clone(),
            }));
        }
        all
    }

    /// All that is counted.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (Week, &Cell)> {
        self.weeks.iter().flat_map(|(week, gathering)| gathering.cells.iter().map(|cell| (*week, cell)))
    }
}
