//! All that is known on this computer about the person who uses it, as one file: the command line and the window write the
//! same bytes.

use std::io::{self, Write as _};
use std::path::Path;

use claviger_protocol::clock::Clock;
use claviger_protocol::ipc::Consent;
use serde_json::{Value, json};

use super::{Manager, ManagerError};
use crate::platform::manage;

/// What the file says that it is.
const FORMAT: &str = "claviger-privacy-export/1";

/// Decisions with their records and receipts, what is counted, what will be sent, what was sent, what vendors learn about this
/// computer, and its licenses.
///
/// # Errors
/// [`ManagerError`].
pub fn everything(daemon: &mut Manager, clock: &dyn Clock) -> Result<Value, ManagerError> {
    let consents: Vec<Value> = daemon.consents(None)?.iter().map(document).collect();
    let preview = daemon.preview(None)?;
    Ok(json!({
        "format": FORMAT,
        "exported_at": clock.now().to_string(),
        "consents": consents,
        "counted": preview.counted,
        "planned": preview.planned,
        "sent": daemon.sent()?,
        "machines": daemon.machines(None)?,
        "licenses": daemon.licenses(None)?,
    }))
}

/// A consent for programs: the record as the object it is.
#[must_use]
pub fn document(consent: &Consent) -> Value {
    let mut value = json!(consent);
    let record = consent.record.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    value["record"] = record.unwrap_or_default();
    value
}

/// The file's bytes.
#[must_use]
pub fn bytes(everything: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(everything).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Writes a new file for its owner alone; one that exists is not overwritten.
///
/// # Errors
/// What the system says.
pub fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    let mut file = manage::private(&mut options).open(file)?;
    file.write_all(bytes)?;
    manage::sync_file(&file)
}
