//! `claviger-server license list|show`.

use crate::cli::common::Shop;
use crate::cli::{Failure, FailureKind, Output, counted};
use crate::engine::model::LicenseState;
use crate::licensing::find_product;
use crate::storage::admin::{ActivationFilter, LicenseFilter};
use crate::views::{ActivationView, LicenseDetails, LicenseView};

/// Licenses fetched at once.
const PAGE: u32 = 1_000;

/// List licenses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of this product.
    #[arg(long)]
    product: Option<String>,
    /// In this state.
    #[arg(long)]
    state: Option<State>,
    /// Of this order.
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = u32::MAX)]
    limit: u32,
}

/// A state as it is typed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    Active,
    Suspended,
    Revoked,
}

pub(super) async fn run(shop: &Shop, args: Args, output: Output) -> Result<(), Failure> {
    let product = match &args.product {
        Some(text) => Some(find_product(shop.store.as_ref(), text).await?),
        None => None,
    };
    let state = args.state.map(|s| match s {
        State::Active => LicenseState::Active,
        State::Suspended => LicenseState::Suspended,
        State::Revoked => LicenseState::Revoked,
    });
    let mut filter = LicenseFilter { product, state, order_id: args.order_id, after: 0, limit: PAGE };
    let mut left = args.limit;
    while left > 0 {
        filter.limit = left.min(PAGE);
        let page = shop.store.licenses(filter.clone()).await?;
        let Some(last) = page.last() else { break };
        filter.after = last.license.id.0;
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        for listed in page {
            let view = LicenseView::from(listed);
            output.say(line(&view));
            output.result(&view);
        }
    }
    Ok(())
}

pub(super) async fn show(shop: &Shop, serial: &str, output: Output) -> Result<(), Failure> {
    let serial = shop.serial(serial)?;
    let found = shop.store.license(serial.clone()).await?;
    let listed = found.ok_or_else(|| {
        Failure::new(FailureKind::NotFound, format!("there is no license {serial}"))
            .hint("look for a mistyped letter, or see `claviger-server license list`")
    })?;
    let filter =
        ActivationFilter { serial: Some(serial.clone()), limit: 100_000, ..ActivationFilter::default() };
    let activations = shop.store.activations(filter).await?.into_iter().map(ActivationView::from).collect();
    let history = shop.store.history(serial).await?;
    let details = LicenseDetails { license: listed.into(), activations, history };
    output.say(line(&details.license));
    for one in &details.activations {
        output.say(format!(
            "  {} on “{}” since {} ({})",
            one.id,
            one.device_name,
            one.since.date(),
            one.machine_id
        ));
    }
    for entry in &details.history {
        output.say(format!(
            "  {}  {}  {}",
            entry.at,
            entry.what,
            entry.detail.as_deref().unwrap_or_default()
        ));
    }
    output.result(&details);
    Ok(())
}

fn line(view: &LicenseView) -> String {
    let until = match (view.updates_until, view.paid_through, view.trial_end, view.trial_days) {
        (Some(date), ..) => format!(", updates until {date}"),
        (_, Some(date), ..) => format!(", paid through {date}"),
        (_, _, Some(end), _) => format!(", ends {}", end.date()),
        (_, _, _, Some(days)) => format!(", {} from its first activation", counted(days, "day")),
        _ => String::new(),
    };
    format!(
        "{}  {}  {}{until}  {}/{}  {}",
        view.serial,
        view.product,
        view.kind,
        view.seats_used,
        counted(view.seats, "seat"),
        view.state.word()
    )
}
