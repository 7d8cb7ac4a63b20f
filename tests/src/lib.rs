//! The harness of the end-to-end tests: real processes in a private home, on random addresses, with nothing of the
//! person's own environment. What a test waits for is an event (a line, a datagram, an end of process), never a delay.
//!
//! | module | what lives there |
//! |---|---|
//! | [`programs`] | where the programs under test are |
//! | [`platform`] | whether they are this computer's own, or Windows programs under Wine |
//! | [`process`] | starting, watching and ending them |
//! | [`world`] | one vendor with its server, and the machines of its customers |
//! | [`machine`] | one computer: its machine id, its daemon, its command line |
//! | [`netwatch`] | a network namespace with nothing but loopback, and what passes in it |
//! | [`canaries`] | values planted where programs could find them, and the search for them |
//! | [`capture`] | connections and requests out of what was seen on a network |
//! | [`held`] | a clock that the test moves and the programs follow |
//! | [`memory`] | what a core dump of a process would hold |
//! | [`person`] | one who says yes and makes music, at a computer full of canaries |
//! | [`statistics`] | a vendor whose plans list a title: fifty installations that take part |
//! | [`terminal`] | a command on a terminal of its own |
//! | [`proxy`] | stands before a server, at an address that stays, and lets everything go wrong that can |
//! | [`tls`] | certificates, good and bad |
//! | [`vendor`] | a vendor made of nothing but keys, whose server says whatever a test wants |
//! | [`mod@bench`] | what the bench programs share |
//! | [`device`] | requests signed without a daemon, for two hundred machines at once |
//! | [`browser`] | Chromium without a window, for the server's pages |
//! | [`tilt`] | the demonstration plug-ins: built, licensed, fed with audio |
//! | [`clap`] | drives our CLAP host, a process of its own |
//! | [`jalv`] | the LV2 build in jalv, on JACK without a sound card |
//! | [`scenes`] | what a plug-in meets on strangers' computers |
//! | [`screen`] | a screen, a keyboard and a screen reader's view, for the manager window |
//! | [`stage`] | a daemon that says whatever a test wants, for that window's looks |
//! | [`dbus`] | a small D-Bus client, for that view |
//! | [`http`] | a small blocking HTTP client and server |
//! | [`varlink`] | the daemon's socket, byte by byte |
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a panic is how it reports"
)]

pub mod bench;
pub mod browser;
pub mod canaries;
pub mod capture;
pub mod clap;
pub mod dbus;
pub mod device;
pub mod held;
pub mod http;
pub mod jalv;
pub mod machine;
pub mod memory;
pub mod netwatch;
pub mod person;
pub mod platform;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod scenes;
pub mod screen;
pub mod stage;
pub mod statistics;
pub mod terminal;
pub mod tilt;
pub mod tls;
pub mod varlink;
pub mod vendor;
pub mod world;

pub use machine::Machine;
pub use process::Done;
pub use world::{License, World};

/// Whether the long suites were asked for (`cargo xtask test --slow`).
#[must_use]
pub fn slow() -> bool {
    std::env::var_os("CLAVIGER_TEST_SLOW").is_some()
}

/// Random bytes as lower-case hexadecimal digits.
#[must_use]
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut buffer).unwrap();
    data_encoding::HEXLOWER.encode(&buffer)
}
