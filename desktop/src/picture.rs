//! Pictures: vendors' colours and logos, and QR codes.

use std::io::Cursor;

use claviger_protocol::documents::Logo;
use claviger_protocol::offline::Portal;
use qrcodegen::{QrCode, QrCodeEcc, QrSegment, Version};
use slint::{Color, Image, Rgb8Pixel, Rgba8Pixel, SharedPixelBuffer};

/// Light modules around a code, which scanners need (ISO/IEC 18004).
const QUIET: u32 = 4;

/// The colour of a vendor that has chosen none: always the same for the same vendor, never near the window's own accent.
#[must_use]
pub(crate) fn tone(id: &str) -> Color {
    const TONES: [(u8, u8, u8); 8] = [
        (0xe0, 0x8a, 0x4f),
        (0x4f, 0xb3, 0xa1),
        (0xc9, 0x6f, 0xa8),
        (0x9a, 0xb4, 0x4a),
        (0xd0, 0x6a, 0x63),
        (0x5a, 0xa6, 0xd6),
        (0xb1, 0x8a, 0xd9),
        (0xc9, 0xa2, 0x4a),
    ];
    // FNV-1a: any even spread will do.
    let hash =
        id.bytes().fold(0xcbf2_9ce4_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let (red, green, blue) = TONES[usize::try_from(hash >> 8).unwrap_or(0) % TONES.len()];
    Color::from_rgb_u8(red, green, blue)
}

/// Most bytes that a decoder may take beside the pixels themselves.
const DECODER: usize = 2 * 1024 * 1024;

/// A vendor's logo; none where it is damaged or too large. A profile is a stranger's file: its size is known before anything is
/// allocated.
#[must_use]
pub(crate) fn logo(text: &str) -> Option<Image> {
    let logo = Logo::from_text(text).ok()?;
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(logo.png()), png::Limits { bytes: DECODER });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().ok()?;
    let side = usize::try_from(Logo::MAX_SIDE).ok()?;
    let size = reader.output_buffer_size().filter(|size| *size <= side * side * 4)?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).ok()?;
    if (frame.width, frame.height) != logo.size() {
        return None;
    }
    let channels = frame.color_type.samples();
    let mut pixels = SharedPixelBuffer::<Rgba8Pixel>::new(frame.width, frame.height);
    let found = bytes.get(..frame.buffer_size())?.chunks_exact(channels);
    for (pixel, found) in pixels.make_mut_slice().iter_mut().zip(found) {
        *pixel = match *found {
            [grey] => Rgba8Pixel::new(grey, grey, grey, 255),
            [grey, alpha] => Rgba8Pixel::new(grey, grey, grey, alpha),
            [red, green, blue] => Rgba8Pixel::new(red, green, blue, 255),
            [red, green, blue, alpha] => Rgba8Pixel::new(red, green, blue, alpha),
            _ => return None,
        };
    }
    Some(Image::from_rgba8(pixels))
}

/// The QR code that opens the vendor's page with `request`; none where it does not fit one.
#[must_use]
pub(crate) fn request_code(portal: &Portal, request: &str) -> Option<Image> {
    let address = portal.with_request(request).ok()?;
    let (front, back) = address.split_once('#')?;
    let front = QrSegment::make_bytes(format!("{front}#").as_bytes());
    // What stands behind the # is capitals and digits, which take less room.
    if !QrSegment::is_alphanumeric(back) {
        return None;
    }
    let segments = [front, QrSegment::make_alphanumeric(back)];
    let code =
        QrCode::encode_segments_advanced(&segments, QrCodeEcc::Low, Version::MIN, Version::MAX, None, true)
            .ok()?;
    Some(drawn(&code))
}

/// Two pixels a module, so that enlarging stays crisp.
fn drawn(code: &QrCode) -> Image {
    const SCALE: u32 = 2;
    let modules = u32::try_from(code.size()).unwrap_or(0);
    let side = (modules + 2 * QUIET) * SCALE;
    let mut pixels = SharedPixelBuffer::<Rgb8Pixel>::new(side, side);
    let width = usize::try_from(side).unwrap_or(1).max(1);
    for (index, pixel) in pixels.make_mut_slice().iter_mut().enumerate() {
        let at = |pixel: usize| i32::try_from(pixel).unwrap_or(0) / 2 - 4;
        let dark = code.get_module(at(index % width), at(index / width));
        *pixel = if dark { Rgb8Pixel::new(0, 0, 0) } else { Rgb8Pixel::new(255, 255, 255) };
    }
    Image::from_rgb8(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_keeps_its_colour() {
        assert_eq!(tone("com.example"), tone("com.example"));
        let tones: std::collections::BTreeSet<u32> =
            (0..100).map(|n| tone(&format!("com.vendor{n}")).as_argb_encoded()).collect();
        assert!(tones.len() >= 6, "vendors look alike: {tones:?}");
    }

    fn png_of(side: u32, pixel: &[u8], colour: png::ColorType) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, side, side);
        encoder.set_color(colour);
        let pixels = pixel.repeat(usize::try_from(side * side).unwrap());
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        out
    }

    #[test]
    fn logos_are_decoded_and_damaged_ones_are_not_shown() {
        let text = |png: Vec<u8>| Logo::from_png(png).unwrap().to_text();
        for (pixel, colour) in [
            (&[9u8][..], png::ColorType::Grayscale),
            (&[9, 200], png::ColorType::GrayscaleAlpha),
            (&[9, 9, 9], png::ColorType::Rgb),
            (&[9, 9, 9, 200], png::ColorType::Rgba),
        ] {
            let image = logo(&text(png_of(32, pixel, colour))).unwrap().to_rgba8().unwrap();
            assert_eq!((image.width(), image.as_slice()[31].r), (32, 9), "{colour:?}");
        }
        let mut damaged = png_of(32, &[9, 9, 9], png::ColorType::Rgb);
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert!(Logo::from_png(damaged.clone()).is_err() || logo(&text(damaged)).is_none());
        assert!(logo("").is_none() && logo("%%%").is_none() && logo(&"A".repeat(100_000)).is_none());
    }

    #[test]
    fn a_code_is_drawn_with_its_quiet_zone() {
        let code = QrCode::encode_text("CLAVIGER", QrCodeEcc::Low).unwrap();
        let image = drawn(&code).to_rgb8().unwrap();
        assert_eq!(image.width(), u32::try_from(code.size()).unwrap() * 2 + 16);
        let pixel = |x: u32, y: u32| image.as_slice()[usize::try_from(y * image.width() + x).unwrap()].r;
        assert_eq!((pixel(0, 0), pixel(7, 7), pixel(8, 8), pixel(9, 9)), (255, 255, 0, 0));
    }
}
