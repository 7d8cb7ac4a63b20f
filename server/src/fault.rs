//! Named points at which a test may kill the process, to see what a crash right there leaves behind; and waits that
//! follow a clock which a test moves ([`claviger_protocol::clock::shift`]).
//! Without the feature `fault-points` all of this compiles to nothing.

use std::time::Duration;

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

/// How often a clock that a test holds is looked at.
#[cfg(feature = "fault-points")]
const LOOK: Duration = Duration::from_millis(10);

#[cfg(feature = "fault-points")]
fn test_holds_the_clock() -> bool {
    std::env::var_os("CLAVIGER_TEST_CLOCK").is_some()
}

/// Waits for this time of the clock, which a test may move meanwhile.
#[cfg(feature = "fault-points")]
pub async fn pause(time: Duration) {
    use claviger_protocol::clock::{Clock as _, SystemClock};
    if !test_holds_the_clock() {
        return tokio::time::sleep(time).await;
    }
    let end = SystemClock.now().plus(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    while SystemClock.now() < end {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for this time.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// How long a thread may wait that looks at the clock afterwards: shorter while a test may move the clock.
#[must_use]
#[inline]
pub fn at_most(time: Duration) -> Duration {
    #[cfg(feature = "fault-points")]
    if test_holds_the_clock() {
        return time.min(LOOK);
    }
    time
}
