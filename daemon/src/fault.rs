//! Named places where a test can kill the daemon, so that crash safety is tested where crashes hurt; and the waiting for a
//! clock that a test moves ([`claviger_protocol::clock::shift`]).
//!
//! Without the feature `fault-points` all of it compiles to nothing.

use claviger_protocol::clock::Timestamp;

/// Every fault point, in the order in which an activation and a deactivation meet them.
pub const POINTS: &[&str] = &[
    "after-intent",
    "after-send",
    "before-commit",
    "between-product-copies",
    "after-commit",
    "after-intent-cleared",
    "after-outbox",
    "between-receipts",
    "after-receipt",
    "between-unlinks",
    "after-unlinks",
    "after-delivery",
    "after-ended-record",
    "after-ended-notes",
    "before-rename",
];

/// The fault points of usage statistics, in the order in which one week meets them; a withdrawal at the end.
pub const TELEMETRY_POINTS: &[&str] =
    &["telemetry-drawn", "telemetry-logged", "telemetry-sent", "telemetry-stored", "consent-withdrawn"];

/// Kills the process here when `CLAVIGER_FAULT` names this point (`name`, or `name:3` for its third hit).
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static HITS: AtomicU32 = AtomicU32::new(0);
    debug_assert!(POINTS.contains(&name) || TELEMETRY_POINTS.contains(&name), "{name} is in no list");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("CLAVIGER_FAULT").ok()?;
        let (name, hit) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), hit.parse().ok()?))
    });
    if let Some((wanted, hit)) = wanted
        && wanted == name
        && HITS.fetch_add(1, Ordering::Relaxed) + 1 == *hit
    {
        crate::platform::kill_self();
    }
}

/// Compiled to nothing without the feature `fault-points`.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_name: &str) {}

/// Waits until a test has moved the clock, or it has reached `moment`: the system's alarms know nothing of that clock. For
/// ever where no test holds it.
#[cfg(feature = "fault-points")]
pub async fn clock_moved(moment: Option<Timestamp>) {
    use claviger_protocol::clock::{Clock as _, SystemClock, shift};
    if std::env::var_os("CLAVIGER_TEST_CLOCK").is_none() {
        return std::future::pending().await;
    }
    let before = shift();
    while shift() == before && moment.is_none_or(|at| SystemClock.now() < at) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Waits for ever: no test holds the clock.
#[cfg(not(feature = "fault-points"))]
pub async fn clock_moved(_moment: Option<Timestamp>) {
    std::future::pending::<()>().await;
}
