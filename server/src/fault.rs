//! Named points at which a test may kill the process, to see what a crash right there leaves behind.
//! Without the feature `fault-points` all of this compiles to nothing.

/// Every point, for tests that walk through all of them.
pub const POINTS: &[&str] = &[
    "before-commit",
    "after-commit",
    "before-answer",
    "before-restore-swap",
    "after-restore-swap",
    "init-begun",
    "init-root-key-written",
    "init-issuing-key-written",
    "init-keyset-written",
    "init-profile-written",
    "keyset-installed",
    "backup-before-publish",
    "security-log-before-swap",
    "security-log-after-swap",
];

/// Kills this process with SIGKILL when `CLAVIGER_FAULT` is `name`, or `name:N` and this is the N-th time.
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static HITS: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let Ok(wanted) = std::env::var("CLAVIGER_FAULT") else { return };
    let (point, nth) =
        wanted.split_once(':').map_or((wanted.as_str(), 1), |(p, n)| (p, n.parse().unwrap_or(1)));
    if point == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        crate::platform::kill_self();
    }
}

/// Does nothing: the feature is off.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_name: &'static str) {}
