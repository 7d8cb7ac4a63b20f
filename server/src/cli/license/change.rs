//! `claviger-server license suspend|resume|revoke|transfer|renew`.

use claviger_protocol::clock::{Clock as _, Date, SystemClock};
use claviger_protocol::unlock::UnlockCode;
use ring::rand::SystemRandom;

use crate::cli::common::{Shop, confirm};
use crate::cli::{Failure, FailureKind, Output, counted};
use crate::engine::model::LicenseState;
use crate::licensing;
use crate::storage::admin::LicenseChange;

/// Change what was paid for. Machines get their new certificates at their next contact.
#[derive(Debug, clap::Args)]
pub(super) struct RenewArgs {
    /// The serial number.
    serial: String,
    /// Subscription: the new last day that is paid for.
    #[arg(long, value_name = "DATE")]
    paid_through: Option<Date>,
    /// Perpetual: the new last release date covered.
    #[arg(long, value_name = "DATE")]
    updates_until: Option<Date>,
    /// Machines that it may be active on.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    seats: Option<u32>,
    /// Lost machines that may be replaced in a year.
    #[arg(long, value_name = "N")]
    replacements: Option<u32>,
}

pub(super) async fn state(
    shop: &Shop,
    serial: &str,
    state: LicenseState,
    output: Output,
) -> Result<(), Failure> {
    let serial = shop.serial(serial)?;
    shop.store.change_license(serial.clone(), LicenseChange::State(state), SystemClock.now()).await?;
    output.say(match state {
        LicenseState::Active => format!("{serial} is active again; machines get their certificates back at their next contact."),
        LicenseState::Suspended => format!("{serial} is suspended. `claviger-server license resume {serial}` takes it back."),
        LicenseState::Revoked => format!("{serial} is revoked. Machines learn it at their next contact; one that stays offline keeps working."),
    });
    output.result(&serde_json::json!({ "serial": serial, "state": state }));
    Ok(())
}

pub(super) async fn revoke(shop: &Shop, serial: &str, yes: bool, output: Output) -> Result<(), Failure> {
    let parsed = shop.serial(serial)?;
    let question = format!("Revoke {parsed} for ever? Nobody can take it back (suspend can be).");
    confirm(yes, &question, "nothing was revoked")?;
    state(shop, serial, LicenseState::Revoked, output).await
}

pub(super) async fn transfer(shop: &Shop, serial: &str, yes: bool, output: Output) -> Result<(), Failure> {
    let serial = shop.serial(serial)?;
    let question = format!("End all activations of {serial} and make its unlock code worthless?");
    confirm(yes, &question, "nothing was transferred")?;
    let code = UnlockCode::random(&SystemRandom::new()).map_err(licensing::LicensingError::from)?;
    let ended =
        licensing::transfer(shop.store.as_ref(), &shop.profile, &serial, &code, SystemClock.now()).await?;
    output.say(format!("Serial number    {serial}\nNew unlock code  {}", code.reveal()));
    output.say(format!(
        "{} ended; the old code is worth nothing any more. Note the new one now: it is not stored.",
        counted(ended, "activation")
    ));
    output.result(&serde_json::json!({ "serial": serial, "unlock_code": code.reveal(), "ended": ended }));
    Ok(())
}

pub(super) async fn renew(shop: &Shop, args: &RenewArgs, output: Output) -> Result<(), Failure> {
    let serial = shop.serial(&args.serial)?;
    let change = licensing::renewal(
        shop.store.as_ref(),
        &serial,
        &licensing::Renewal {
            paid_through: args.paid_through,
            updates_until: args.updates_until,
            seats: args.seats,
            replacement_budget: args.replacements,
        },
    )
    .await
    .map_err(|e| {
        Failure::from(e).hint("say what changes: --paid-through, --updates-until, --seats or --replacements")
    })?;
    shop.store.change_license(serial.clone(), change, SystemClock.now()).await?;
    let found = shop.store.license(serial.clone()).await?;
    let listed =
        found.ok_or_else(|| Failure::new(FailureKind::NotFound, format!("there is no license {serial}")))?;
    if let Some(day) = args.paid_through
        && licensing::end_of(day) < SystemClock.now()
    {
        output.warn(format!(
            "warning: {day} is over: {serial} ends with its days of grace. If that was a slip, give the command again with \
             the right day"
        ));
    }
    output.say(format!("{serial} is renewed; machines get their new certificates at their next contact."));
    output.result(&crate::views::LicenseView::from(listed));
    Ok(())
}
