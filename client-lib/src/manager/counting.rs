//! The note in the user's own store by which plug-ins know that uses are counted. Without it they say nothing to the daemon; with
//! it they do, and the daemon's consent record decides. Written as the person decides, by the program in which they do.

use std::path::{Path, PathBuf};

use claviger_protocol::ipc::{Consent, ConsentState};
use claviger_protocol::layout::{self, CountingNote};

use super::{Endpoint, Scope};
use crate::platform::Places;

/// The store of the user who talks to this daemon.
pub(super) fn store(endpoint: &Endpoint) -> Option<PathBuf> {
    match endpoint.scope() {
        Scope::Portable => crate::platform::home_override()
            .map(|home| layout::Home(&home).certs())
            .or_else(|| Some(endpoint.path().parent()?.parent()?.join(layout::CERTS))),
        Scope::System | Scope::User => {
            let places = Places::of_process().stores.into_iter();
            places.filter(|place| place.scope == crate::Scope::User).map(|place| place.path).next()
        }
    }
}

/// Makes the note say what the daemon said. Where it cannot be written, plug-ins say nothing; where it cannot be removed, the
/// daemon counts nothing all the same.
pub(super) fn note(store: &Path, consent: &Consent) {
    let folder = store.join(consent.vendor.as_str());
    let file = folder.join(layout::COUNTING);
    let until = consent.expires.filter(|_| consent.state == ConsentState::Given);
    let Some(until) = until else {
        let _absent = std::fs::remove_file(file);
        return;
    };
    let Ok(text) = serde_json::to_vec(&CountingNote { until }) else { return };
    let new = folder.join(format!("{}.new", layout::COUNTING));
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&new, text))
        .and_then(|()| std::fs::rename(&new, file));
    if written.is_err() {
        let _absent = std::fs::remove_file(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(state: &str) -> Consent {
        let json = serde_json::json!({
            "vendor": "com.example", "vendor_name": "Example", "state": state, "expires": 1_900_000_000,
            "counting": state == "given",
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn plug_ins_know_of_a_consent_while_it_lasts() {
        let store = tempfile::tempdir().unwrap();
        let file = store.path().join("com.example/counting.json");
        note(store.path(), &consent("refused"));
        assert!(!store.path().join("com.example").exists(), "a refusal leaves nothing");
        note(store.path(), &consent("given"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "{\"until\":1900000000}");
        note(store.path(), &consent("withdrawn"));
        assert!(!file.exists());
        let portable = Endpoint::portable(Path::new("/somewhere"));
        assert_eq!(super::store(&portable), Some("/somewhere/certs".into()));
    }
}
