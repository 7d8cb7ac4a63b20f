//! From the bytes of a file to text, whatever program wrote them.

use std::borrow::Cow;

use super::OfflineError;

/// UTF-8 with or without a byte order mark, or UTF-16, whose mark (PowerShell's `>` writes it) may be lost. Other bytes, as of an old
/// 8-bit code page, become a mark that no block contains: sentences around a block may be in any encoding.
///
/// # Errors
/// [`OfflineError::NotText`] for bytes that hold a NUL and are not UTF-16.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, OfflineError> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        // A file of ours begins with letters of ASCII.
        [1..=127, 0, 1..=127, 0, ..] => Cow::Owned(utf16(bytes, u16::from_le_bytes)),
        [0, 1..=127, 0, 1..=127, ..] => Cow::Owned(utf16(bytes, u16::from_be_bytes)),
        plain => String::from_utf8_lossy(plain),
    };
    if text.contains('\0') { Err(OfflineError::NotText) } else { Ok(text) }
}
