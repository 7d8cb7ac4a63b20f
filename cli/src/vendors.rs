//! What a person means by a vendor, as far as the profiles on disk tell; reading them is the client library's matter.

use claviger_protocol::ids::VendorId;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::{self, quoted};

pub(crate) use claviger_client::manager::profiles::{Known, Typed, entries, known, read_serial, read_text};

/// The vendor that `typed` names: its id, whether its profile is here or not, its name or its prefix.
///
/// # Errors
/// [`Failure`] when none or several are meant.
pub(crate) fn named(typed: &str, known: &[Known]) -> Result<VendorId, Failure> {
    let typed = typed.trim();
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let fits = |k: &&Known| {
        k.profile.name.to_lowercase() == typed.to_lowercase()
            || k.profile.prefix.as_str().eq_ignore_ascii_case(typed)
    };
    let found: Vec<String> = known.iter().filter(fits).map(|k| k.profile.iss.to_string()).collect();
    let (exit, code, message) = match found.as_slice() {
        [one] => return one.parse().map_err(|e| Failure::input("bad_vendor", &e)),
        [] => (Exit::NotFound, "not_found", format!("no vendor {} is known here", quoted(typed))),
        several => {
            (Exit::Ambiguous, "ambiguous", format!("{} could be {}", quoted(typed), text::either(several)))
        }
    };
    Err(Failure::new(exit, code, message)
        .advice("Give the vendor's whole id, as `claviger vendor list` shows it."))
}
