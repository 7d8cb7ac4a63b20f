//! The fuzz target of what a form brings to the portal: its content type in the first line, its body behind that. Nothing
//! panics, no field holds more than was sent, and what was read once is read again when a browser writes it.

#[path = "../../../server/src/http/portal/multipart.rs"]
mod multipart;

use claviger_protocol::offline;

/// A boundary that no browser makes.
const BOUNDARY: &[u8] = b"----ClavigerFuzzBoundary";

pub(crate) fn portal_form(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let Ok(kind) = std::str::from_utf8(&data[..at]) else { return };
    let body = data.get(at + 1..).unwrap_or_default();
    let Ok(fields) = multipart::fields(kind, body) else { return };
    let held: usize = fields.iter().map(|field| field.content.len()).sum();
    assert!(held <= body.len() && fields.len() <= 1_000);
    let mut again = Vec::new();
    for field in &fields {
        if let Err(error) = offline::read(&field.content) {
            assert!(!error.code().is_empty());
        }
        if field.content.windows(BOUNDARY.len()).any(|part| part == BOUNDARY) {
            return;
        }
        for part in [
            b"--",
            BOUNDARY,
            b"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n",
            &*field.content,
            b"\r\n",
        ] {
            again.extend_from_slice(part);
        }
    }
    for part in [b"--", BOUNDARY, b"--\r\n"] {
        again.extend_from_slice(part);
    }
    let kind = format!("multipart/form-data; boundary={}", String::from_utf8_lossy(BOUNDARY));
    let read = multipart::fields(&kind, &again).expect("what a browser writes is read");
    assert!(read.iter().map(|f| &f.content).eq(fields.iter().map(|f| &f.content)));
}
