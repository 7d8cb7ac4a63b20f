//! What a plug-in is told about a product. Numbers are stable for ever; a retired one is never used again.
//!
//! | range | meaning |
//! |---|---|
//! | 0 | nothing known yet |
//! | 1–19 | run as licensed |
//! | 20–39 | not licensed; the person can mend it |
//! | 40–59 | the files that would say so cannot be used |
//! | 60–79 | the call itself was wrong |

use serde::{Deserialize, Serialize};

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $code:literal, $sentence:literal;)*) => {
        /// The state of a product on this machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", from = "String")]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum Status {
            $($(#[$doc])* $name = $number,)*
        }

        impl Status {
            /// Every status, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The status of a number, `None` for one that this version does not know.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The stable word for programs.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The status of a word, [`Status::Unknown`] for one that this version does not know.
            #[must_use]
            pub fn from_code(code: &str) -> Self {
                match code {
                    $($code => Self::$name,)*
                    _ => Self::Unknown,
                }
            }

            /// A sentence for people, with what to do next.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }
        }
    };
}

statuses! {
    /// Not asked yet, or a status of a later version.
    Unknown = 0, "unknown", "Nothing is known about this product yet.";
    /// Licensed.
    Licensed = 1, "licensed", "Licensed on this computer.";
    /// A slow disk is being read: treat as licensed for at most 30 seconds.
    Pending = 2, "pending", "The license is being looked up on a slow disk.";
    /// Licensed by the vendor's sunset, on any machine.
    Sunset = 3, "sunset", "The vendor has made this product free to use.";
    /// Licensed; the clock was set back, and a refresh is needed within seven days.
    LicensedClockSetBack = 4, "licensed_clock_set_back", "Licensed, but this computer's clock was set back: set it right and go online once within seven days.";
    /// No certificate for this product.
    NotActivated = 20, "not_activated", "Not activated on this computer: run `claviger activate` with your serial number.";
    /// The subscription or trial is over.
    Expired = 21, "expired", "The subscription or trial has ended: renew it, then run `claviger license refresh`.";
    /// The release is newer than the license covers.
    UpdatesEnded = 22, "updates_ended", "This release is newer than your license covers: install an older release or extend your update plan.";
    /// This machine gave the activation up.
    GivenUp = 23, "given_up", "This computer has given its activation up: activate again to use the product here.";
    /// The certificate belongs to another machine.
    OtherMachine = 24, "other_machine", "The activation found here belongs to another computer: activate on this one.";
    /// Another machine took the seat.
    Replaced = 25, "replaced", "Another computer has taken over this activation: activate again to move it back.";
    /// The vendor suspended the license.
    Suspended = 26, "suspended", "The vendor has suspended this license: ask the vendor's support.";
    /// The vendor revoked the license.
    Revoked = 27, "revoked", "The vendor has revoked this license: ask the vendor's support.";
    /// The vendor freed the seat.
    Released = 28, "released", "The vendor has freed this computer's seat: activate again to use the product here.";
    /// The license went to another owner.
    Transferred = 29, "transferred", "This license was transferred to another owner.";
    /// The clock was set back too far or for too long.
    ClockSetBack = 30, "clock_set_back", "This computer's clock was set back: set it right and go online once.";
    /// The certificate file is damaged.
    Damaged = 40, "damaged", "The activation file is damaged: run `claviger license refresh`, or activate again.";
    /// The certificate is not signed by the vendor's keys.
    Untrusted = 41, "untrusted", "The activation file was not signed by this vendor: activate again.";
    /// The certificate's key was compromised.
    KeyCompromised = 42, "key_compromised", "The vendor has replaced the key behind this activation: run `claviger license refresh`.";
    /// The folder of activations cannot be read.
    StateUnreachable = 43, "state_unreachable", "The folder of activations cannot be read from here: run `claviger doctor`, and allow the host application to read it.";
    /// The operating system tells no machine id.
    NoMachineId = 44, "no_machine_id", "This computer's machine id cannot be read: run `claviger doctor`.";
    /// An argument was null, malformed or unknown.
    InvalidArgument = 60, "invalid_argument", "The plug-in asked in a way that the library does not understand.";
    /// A mistake of ours.
    Internal = 61, "internal", "A mistake inside Claviger: please report it.";
}

/// A word of a later version reads as [`Status::Unknown`]: an older CLI can still list the licenses of a newer daemon.
impl From<String> for Status {
    fn from(code: String) -> Self {
        Self::from_code(&code)
    }
}

impl Status {
    /// The stable number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether a plug-in should run fully. [`Status::Pending`] counts: it resolves within 30 seconds.
    #[must_use]
    pub const fn is_licensed(self) -> bool {
        matches!(self.number(), 1..=19)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_codes_and_names_agree() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(status.number()), Some(*status));
            assert_eq!(serde_json::to_string(status).unwrap(), format!("\"{}\"", status.code()));
            assert_eq!(Status::from_code(status.code()), *status);
            assert!(status.sentence().ends_with('.'));
        }
        assert_eq!(Status::from_number(999), None);
        assert_eq!(serde_json::from_str::<Status>("\"of_a_later_version\"").unwrap(), Status::Unknown);
    }
}
