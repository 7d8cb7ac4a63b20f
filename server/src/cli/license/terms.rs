//! The terms of licenses as they are typed: the same for new ones and for imported ones.

use claviger_protocol::clock::Date;
use claviger_protocol::documents::LicenseKind;

use crate::licensing::IssueOrder;

/// What the licenses are for, and for how long.
#[derive(Debug, clap::Args)]
pub(super) struct TermsArgs {
    /// The product or bundle: its id, or a unique ending of it.
    #[arg(long)]
    pub(super) product: String,
    /// How long it lasts.
    #[arg(long, default_value = "perpetual")]
    kind: Kind,
    /// On how many machines each license may be active.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
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
}

impl TermsArgs {
    /// The order of `count` licenses on these terms.
    pub(super) fn order(&self, order_id: Option<String>, count: u32) -> IssueOrder {
        IssueOrder {
            product: self.product.clone(),
            kind: self.kind.into(),
            seats: self.seats,
            updates_until: self.updates_until,
            paid_through: self.paid_through,
            grace_days: self.grace_days,
            trial_days: self.trial_days,
            entitlements: self.entitlements.clone(),
            replacement_budget: self.replacements,
            order_id,
            count,
        }
    }
}

/// A kind of license as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
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
