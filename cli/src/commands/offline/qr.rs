//! QR codes: in the terminal, as PNG, as SVG.

use std::fmt::Write as _;

use claviger_protocol::offline::crc32;
use qrcodegen::{QrCode, QrCodeEcc, QrSegment, Version};

use crate::exit::Exit;
use crate::failure::Failure;

/// Light modules around a code, which scanners need (ISO/IEC 18004).
const QUIET: i32 = 4;
/// Pixels of a module in a PNG.
const SCALE: i32 = 8;

/// The code of `address`: what stands behind its `#` is capitals and digits, which take less room.
///
/// # Errors
/// When it does not fit a code.
pub(super) fn code(address: &str) -> Result<QrCode, Failure> {
    let (front, back) = address.split_once('#').unwrap_or((address, ""));
    let front = QrSegment::make_bytes(format!("{front}#").as_bytes());
    let back: Vec<char> = back.chars().collect();
    let too_long = || {
        Failure::new(Exit::Input, "qr_too_long", "this request is too long for a QR code")
            .advice("Write it into a file with -o FILE and take that to the vendor's page.")
    };
    if !QrSegment::is_alphanumeric(&back.iter().collect::<String>()) {
        return Err(too_long());
    }
    let segments = [front, QrSegment::make_alphanumeric(&back.iter().collect::<String>())];
    QrCode::encode_segments_advanced(&segments, QrCodeEcc::Low, Version::MIN, Version::MAX, None, true)
        .map_err(|_| too_long())
}

/// Columns that [`terminal`] needs.
pub(super) fn columns(code: &QrCode) -> usize {
    usize::try_from(code.size() + 2 * QUIET).unwrap_or(usize::MAX)
}

/// Two rows of modules a line. With colours the code is black on white whatever the terminal's own are; without them
/// light modules are drawn, which is right on the dark ground that most terminals have.
pub(super) fn terminal(code: &QrCode, colours: bool) -> String {
    let mut out = String::new();
    let edge = code.size() + QUIET;
    let mut y = -QUIET;
    while y < edge {
        if colours {
            out.push_str("\x1b[38;2;0;0;0;48;2;255;255;255m");
        }
        for x in -QUIET..edge {
            // The row below the last one is ground.
            let below = if y + 1 < edge { code.get_module(x, y + 1) == colours } else { false };
            out.push(match (code.get_module(x, y) == colours, below) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str(if colours { "\x1b[0m\n" } else { "\n" });
        y += 2;
    }
    out
}

/// An SVG picture.
pub(super) fn svg(code: &QrCode) -> String {
    let size = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            let _ = write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" width=\"{0}\" height=\"{0}\" \
         shape-rendering=\"crispEdges\"><title>Claviger offline request</title>\
         <path fill=\"#fff\" d=\"M0,0h{size}v{size}H0z\"/><path d=\"{path}\"/></svg>\n",
        size * SCALE
    )
}

/// A PNG picture (RFC 2083): one bit a pixel, stored without compression, which a code this small does not need.
pub(super) fn png(code: &QrCode) -> Vec<u8> {
    let side = (code.size() + 2 * QUIET) * SCALE;
    let mut rows = Vec::new();
    for y in 0..side {
        // Each row begins with its filter: none.
        rows.push(0u8);
        let mut x = 0;
        while x < side {
            let dark = |x: i32| code.get_module(x / SCALE - QUIET, y / SCALE - QUIET) || x >= side;
            rows.push((0..8).fold(0, |byte, bit| byte << 1 | u8::from(!dark(x + bit))));
            x += 8;
        }
    }
    let side = u32::try_from(side).unwrap_or(0).to_be_bytes();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        let body = [name.as_slice(), data].concat();
        out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc32(&body).to_be_bytes());
    };
    chunk(b"IHDR", &[&side[..], &side[..], &[1, 0, 0, 0, 0]].concat());
    chunk(b"IDAT", &zlib(&rows));
    chunk(b"IEND", &[]);
    out
}

/// A zlib stream (RFC 1950) of stored blocks.
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    out.extend_from_slice(&(b << 16 | a).to_be_bytes());
    out
}
