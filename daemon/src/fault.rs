//! Named places where a test can kill the daemon, so that crash safety is tested where crashes hurt.
//!
//! Without the feature `fault-points` a point compiles to nothing.

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
    &["telemetry-drawn", "telemetry-sent", "telemetry-stored", "consent-withdrawn"];

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
