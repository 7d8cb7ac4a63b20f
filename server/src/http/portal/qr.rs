//! QR codes as SVG, drawn by the server: no script, no picture from elsewhere.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc, QrSegment};

/// Modules of white around a code (ISO/IEC 18004 asks for four).
const QUIET: i32 = 4;

/// The code of a text, with `label` for those who do not see it. `None` when the text is too long for one code.
pub(super) fn svg(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::encode_segments(&QrSegment::make_segments(text), QrCodeEcc::Low).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let begin = x;
            while x < size && code.get_module(x, y) {
                x += 1;
            }
            if x > begin {
                let _ = write!(path, "M{},{}h{}v1h-{}z", begin + QUIET, y + QUIET, x - begin, x - begin);
            }
            x += 1;
        }
    }
    let edge = size + 2 * QUIET;
    Some(html! {
        svg .qr xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {edge} {edge}")) role="img"
            aria-label=(label) shape-rendering="crispEdges" {
            rect width=(edge) height=(edge) fill="#ffffff" {}
            path d=(path) fill="#000000" {}
        }
    })
}
