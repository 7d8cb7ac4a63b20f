//! What a vendor's section looks like in a program that shows several vendors: one colour and one small picture. Neither is ever
//! a reason to refuse a profile: a reader that does not understand them shows the vendor without.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

/// Why a colour or a picture is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Not `#` and six hexadecimal digits.
    #[error("a colour is written as # and six hexadecimal digits, such as #3D7EFF")]
    Accent,
    /// The picture is too large a file.
    #[error("the picture has {0} bytes; at most {max} are taken", max = Logo::MAX_BYTES)]
    TooLarge(usize),
    /// The picture has too many pixels, or none.
    #[error("the picture has {width} × {height} pixels; a side has 1 to {max}", max = Logo::MAX_SIDE)]
    Size {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The file is not a PNG, or not a whole one.
    #[error("the picture is not a whole PNG file")]
    NotPng,
    /// The text is not base64url.
    #[error("the picture is not written in base64url")]
    Encoding,
}

/// A vendor's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accent {
    /// Red.
    pub red: u8,
    /// Green.
    pub green: u8,
    /// Blue.
    pub blue: u8,
}

impl FromStr for Accent {
    type Err = LookError;

    fn from_str(text: &str) -> Result<Self, LookError> {
        let digits =
            text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(LookError::Accent)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self { red, green, blue })
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.red, self.green, self.blue)
    }
}

/// A vendor's picture: a small PNG. What is checked here is what a decoder must be able to rely on before it allocates: that
/// the file is whole, how large it is, and how many pixels it claims.
#[derive(Clone, PartialEq, Eq)]
pub struct Logo {
    png: Vec<u8>,
    width: u32,
    height: u32,
}

impl Logo {
    /// Most bytes of the file.
    pub const MAX_BYTES: usize = 16 * 1024;
    /// Most pixels of a side.
    pub const MAX_SIDE: u32 = 512;

    /// A PNG file that can be shown.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn from_png(png: Vec<u8>) -> Result<Self, LookError> {
        if png.len() > Self::MAX_BYTES {
            return Err(LookError::TooLarge(png.len()));
        }
        let (width, height) = measure(&png).ok_or(LookError::NotPng)?;
        let fits = |side| (1..=Self::MAX_SIDE).contains(&side);
        if !fits(width) || !fits(height) {
            return Err(LookError::Size { width, height });
        }
        Ok(Self { png, width, height })
    }

    /// The same from the text in a profile.
    ///
    /// # Errors
    /// [`LookError`].
    pub fn from_text(text: &str) -> Result<Self, LookError> {
        if text.len() > BASE64URL_NOPAD.encode_len(Self::MAX_BYTES) {
            return Err(LookError::TooLarge(text.len() / 4 * 3));
        }
        Self::from_png(BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| LookError::Encoding)?)
    }

    /// The text for a profile: base64url without padding.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.png)
    }

    /// The file.
    #[must_use]
    pub fn png(&self) -> &[u8] {
        &self.png
    }

    /// Width and height in pixels.
    #[must_use]
    pub const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logo({} × {}, {} bytes)", self.width, self.height, self.png.len())
    }
}

/// Width and height of a PNG file whose chunks are whole and end where the file ends (PNG specification, 5.2 to 5.6).
fn measure(png: &[u8]) -> Option<(u32, u32)> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut size = None;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let data = after.get(..length)?;
        // The checksum is the decoder's to compare.
        rest = after.get(length.checked_add(4)?..)?;
        match (kind, size) {
            (b"IHDR", None) if length == 13 => {
                let (width, data) = data.split_first_chunk::<4>()?;
                let (height, _) = data.split_first_chunk::<4>()?;
                size = Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)));
            }
            // The header comes first and once.
            (b"IHDR", _) | (_, None) => return None,
            (b"IEND", Some(_)) => return size.filter(|_| length == 0 && rest.is_empty()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One grey pixel.
    const PNG: &[u8] = &[
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
        0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00,
        0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81,
        0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    ];

    #[test]
    fn colours_have_one_form() {
        assert_eq!("#3d7eFF".parse::<Accent>().unwrap().to_string(), "#3D7EFF");
        for bad in ["", "#", "#12345", "#1234567", "123456", "#12345g", "#+12345", "#ééé", "red"] {
            assert_eq!(bad.parse::<Accent>(), Err(LookError::Accent), "{bad}");
        }
    }

    #[test]
    fn a_picture_is_whole_small_and_of_few_pixels() {
        let logo = Logo::from_png(PNG.to_vec()).unwrap();
        assert_eq!(logo.size(), (1, 1));
        assert_eq!(Logo::from_text(&logo.to_text()).unwrap(), logo);
        for end in 0..PNG.len() {
            assert_eq!(Logo::from_png(PNG[..end].to_vec()), Err(LookError::NotPng), "{end}");
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut png = PNG.to_vec();
            png[at..at + bytes.len()].copy_from_slice(bytes);
            Logo::from_png(png)
        };
        // Ten thousand million pixels in seventy bytes.
        assert_eq!(
            with(16, &100_000u32.to_be_bytes().repeat(2)),
            Err(LookError::Size { width: 100_000, height: 100_000 })
        );
        assert_eq!(with(20, &[0; 4]), Err(LookError::Size { width: 1, height: 0 }));
        assert_eq!(with(8, &u32::MAX.to_be_bytes()), Err(LookError::NotPng));
        assert_eq!(with(12, b"IDAT"), Err(LookError::NotPng));
        let mut longer = PNG.to_vec();
        longer.push(0);
        assert_eq!(Logo::from_png(longer), Err(LookError::NotPng));
        assert_eq!(Logo::from_png(vec![0; Logo::MAX_BYTES + 1]), Err(LookError::TooLarge(16_385)));
        assert_eq!(Logo::from_text("iVBORw0K="), Err(LookError::Encoding));
        assert!(matches!(Logo::from_text(&"A".repeat(30_000)), Err(LookError::TooLarge(_))));
    }
}
