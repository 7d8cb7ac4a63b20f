//! The C ABI of the Claviger client library. `docs/abi.md` settles ownership, NULL, threads, panics and loader locks
//! once, before any function; the header is made from the comments here.
//!
//! Every entry point that can fail goes through one gate (`gate`), which catches panics.
#![expect(unsafe_code, reason = "a C ABI is made of pointers; each use says why it is sound")]

mod gate;
mod license;
mod memory;
mod news;
mod platform;
mod vendor;

pub use license::*;
pub use news::*;
pub use vendor::*;

/// The version of this ABI. It rises when something is added; what is there never changes and never goes away.
pub const CLV_ABI_VERSION: u32 = 1;

/// Done.
pub const CLV_OK: u32 = 0;
/// An argument was NULL, not UTF-8, or means nothing to the library.
pub const CLV_INVALID_ARGUMENT: u32 = 60;
/// A mistake inside the library: please report it.
pub const CLV_INTERNAL: u32 = 61;
/// The buffer is too small; the length that is needed was written.
pub const CLV_BUFFER_TOO_SMALL: u32 = 62;
/// The operating system starts no thread for the work.
pub const CLV_NO_THREAD: u32 = 63;
/// The library is older than what asked for it.
pub const CLV_LIBRARY_TOO_OLD: u32 = 64;

/// Nothing is known yet.
pub const CLV_STATUS_UNKNOWN: u32 = 0;
/// Licensed.
pub const CLV_STATUS_LICENSED: u32 = 1;
/// A slow disk is being read: treat as licensed. It resolves within 30 seconds.
pub const CLV_STATUS_PENDING: u32 = 2;
/// The vendor has made the product free.
pub const CLV_STATUS_SUNSET: u32 = 3;
/// Licensed; the clock was set back and a refresh is needed within seven days.
pub const CLV_STATUS_LICENSED_CLOCK_SET_BACK: u32 = 4;
/// Not activated on this computer.
pub const CLV_STATUS_NOT_ACTIVATED: u32 = 20;
/// The subscription or trial is over.
pub const CLV_STATUS_EXPIRED: u32 = 21;
/// The release is newer than the license covers.
pub const CLV_STATUS_UPDATES_ENDED: u32 = 22;
/// This computer gave the activation up.
pub const CLV_STATUS_GIVEN_UP: u32 = 23;
/// The activation belongs to another computer.
pub const CLV_STATUS_OTHER_MACHINE: u32 = 24;
/// Another computer took the seat.
pub const CLV_STATUS_REPLACED: u32 = 25;
/// The vendor suspended the license.
pub const CLV_STATUS_SUSPENDED: u32 = 26;
/// The vendor revoked the license.
pub const CLV_STATUS_REVOKED: u32 = 27;
/// The vendor freed the seat.
pub const CLV_STATUS_RELEASED: u32 = 28;
/// The license went to another owner.
pub const CLV_STATUS_TRANSFERRED: u32 = 29;
/// The clock was set back.
pub const CLV_STATUS_CLOCK_SET_BACK: u32 = 30;
/// The activation file is damaged.
pub const CLV_STATUS_DAMAGED: u32 = 40;
/// The activation file was not signed by the vendor.
pub const CLV_STATUS_UNTRUSTED: u32 = 41;
/// The key behind the activation was compromised.
pub const CLV_STATUS_KEY_COMPROMISED: u32 = 42;
/// The folder of activations cannot be read.
pub const CLV_STATUS_STATE_UNREACHABLE: u32 = 43;
/// The computer tells no machine id.
pub const CLV_STATUS_NO_MACHINE_ID: u32 = 44;

/// The version of the ABI that this library has. It never falls: see `clv_abi_require`.
///
/// Any thread, audio threads too.
#[unsafe(no_mangle)]
pub extern "C" fn clv_abi_version() -> u32 {
    CLV_ABI_VERSION
}

/// Whether this library has all of the ABI version that a program was written for: call it first, with the header's
/// `CLV_ABI_VERSION`. Answers CLV_OK, CLV_LIBRARY_TOO_OLD, or CLV_INVALID_ARGUMENT for 0. Any thread, audio threads too.
#[unsafe(no_mangle)]
pub extern "C" fn clv_abi_require(version: u32) -> u32 {
    match version {
        0 => CLV_INVALID_ARGUMENT,
        1..=CLV_ABI_VERSION => CLV_OK,
        _ => CLV_LIBRARY_TOO_OLD,
    }
}

/// Whether a plug-in should run fully with this status (1 to 19). Any thread, audio threads too.
#[unsafe(no_mangle)]
pub extern "C" fn clv_status_is_licensed(status: u32) -> bool {
    (1..=19).contains(&status)
}

#[cfg(test)]
mod tests {
    use claviger_client::Status;

    #[test]
    fn versions_are_negotiated() {
        use super::{CLV_ABI_VERSION, clv_abi_require, clv_abi_version};
        assert_eq!(clv_abi_version(), CLV_ABI_VERSION);
        let answers =
            [0, 1, CLV_ABI_VERSION, CLV_ABI_VERSION + 1, u32::MAX].map(|version| clv_abi_require(version));
        assert_eq!(answers, [super::CLV_INVALID_ARGUMENT, 0, 0, 64, 64]);
    }

    #[test]
    fn numbers_are_those_of_the_protocol() {
        let header = include_str!("lib.rs");
        for status in Status::ALL {
            let number = status.number();
            if number < 60 {
                let name = format!("CLV_STATUS_{}: u32 = {number};", status.code().to_uppercase());
                assert!(header.contains(&name), "{name}");
                assert_eq!(super::clv_status_is_licensed(number), status.is_licensed());
            }
        }
    }
}
