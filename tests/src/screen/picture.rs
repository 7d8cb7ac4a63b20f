//! Pictures of a window, and whether two of them show the same: what moved, vanished or changed its colour does not pass, the
//! noise of smoothed edges does.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// Side of the squares that are compared by their mean colour, in pixels.
const SQUARE: usize = 8;
/// How far apart two mean colours may be, of 255, in any channel.
const APART: i32 = 5;
/// What stands in a reference where nothing is compared.
const MASK: [u8; 3] = [255, 0, 255];

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
    /// Its width.
    pub width: i32,
    /// Its height.
    pub height: i32,
}

impl Rect {
    /// Whether both have a pixel in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// What a window shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    pixels: Vec<[u8; 3]>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a picture of {} × {}", self.width, self.height)
    }
}

impl Picture {
    /// A picture of these pixels, line by line.
    #[must_use]
    pub fn new(width: usize, pixels: Vec<[u8; 3]>) -> Self {
        Self { width, height: pixels.len() / width.max(1), pixels }
    }

    /// The colour at a place.
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[y * self.width + x]
    }

    /// How many colours are in it.
    #[must_use]
    pub fn colours(&self) -> usize {
        let mut seen: Vec<[u8; 3]> = self.pixels.clone();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    }

    /// Leaves a rectangle out of every comparison.
    pub fn mask(&mut self, rect: Rect) {
        let within = |value: i32, end: usize| usize::try_from(value.max(0)).unwrap_or(0).min(end);
        for y in within(rect.y, self.height)..within(rect.y + rect.height, self.height) {
            for x in within(rect.x, self.width)..within(rect.x + rect.width, self.width) {
                self.pixels[y * self.width + x] = MASK;
            }
        }
    }

    /// Where it differs from a reference, as rectangles; nothing where it shows the same.
    ///
    /// # Errors
    /// When they are not even of one size.
    pub fn differs(&self, reference: &Self) -> Result<Vec<Rect>, String> {
        if (self.width, self.height) != (reference.width, reference.height) {
            return Err(format!("{self:?} in place of {reference:?}"));
        }
        let mut found: Vec<Rect> = Vec::new();
        for top in (0..self.height).step_by(SQUARE) {
            for left in (0..self.width).step_by(SQUARE) {
                if !self.alike(reference, left, top) {
                    let pixel = |n: usize| i32::try_from(n).unwrap();
                    let side = pixel(SQUARE);
                    match found.last_mut() {
                        Some(last) if last.y == pixel(top) && last.x + last.width == pixel(left) => {
                            last.width += side;
                        }
                        _ => found.push(Rect { x: pixel(left), y: pixel(top), width: side, height: side }),
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether the mean colours of one square are near each other.
    fn alike(&self, other: &Self, left: usize, top: usize) -> bool {
        let (mut sums, mut count) = ([0i32; 3], 0);
        for y in top..(top + SQUARE).min(self.height) {
            for x in left..(left + SQUARE).min(self.width) {
                let (mine, theirs) = (self.at(x, y), other.at(x, y));
                if mine == MASK || theirs == MASK {
                    continue;
                }
                for channel in 0..3 {
                    sums[channel] += i32::from(mine[channel]) - i32::from(theirs[channel]);
                }
                count += 1;
            }
        }
        sums.iter().all(|sum| sum.abs() <= APART * count)
    }

    /// Writes it as a PNG file.
    pub fn save(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes: Vec<u8> = self.pixels.iter().flatten().copied().collect();
        let mut encoder = self.encoder(path);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    }

    /// Writes it as a small PNG file for the project, with at most 256 colours: grounds keep theirs, and what smoothed edges are made
    /// of shares the mean of its neighbours.
    pub fn save_small(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let palette = self.palette();
        let mut known: HashMap<[u8; 3], u8> = HashMap::new();
        let far = |a: [u8; 3], b: [u8; 3]| -> i32 {
            a.iter().zip(b).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum()
        };
        let mut index = |pixel: [u8; 3]| {
            *known.entry(pixel).or_insert_with(|| {
                let nearest = (0..palette.len()).min_by_key(|at| far(palette[*at], pixel)).unwrap();
                u8::try_from(nearest).unwrap()
            })
        };
        let bytes: Vec<u8> = self.pixels.iter().map(|pixel| index(*pixel)).collect();
        let mut encoder = self.encoder(path);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(palette.into_iter().flatten().collect::<Vec<u8>>());
        encoder.set_filter(png::Filter::NoFilter);
        encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    }

    fn palette(&self) -> Vec<[u8; 3]> {
        const GROUNDS: usize = 64;
        let mut exact: HashMap<[u8; 3], u64> = HashMap::new();
        for pixel in &self.pixels {
            *exact.entry(*pixel).or_default() += 1;
        }
        let mut exact: Vec<([u8; 3], u64)> = exact.into_iter().collect();
        exact.sort_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
        let rest = exact.split_off(GROUNDS.min(exact.len()));
        let mut shared: HashMap<[u8; 3], ([u64; 3], u64)> = HashMap::new();
        for (colour, count) in rest {
            let (sums, all) = shared.entry(colour.map(|channel| channel >> 4)).or_default();
            for (sum, channel) in sums.iter_mut().zip(colour) {
                *sum += u64::from(channel) * count;
            }
            *all += count;
        }
        let mut shared: Vec<([u64; 3], u64)> = shared.into_values().collect();
        shared.sort_by_key(|(sums, count)| (std::cmp::Reverse(*count), *sums));
        let mean = |(sums, count): ([u64; 3], u64)| sums.map(|sum| u8::try_from(sum / count).unwrap());
        let grounds = exact.into_iter().map(|(colour, _)| colour);
        grounds.chain(shared.into_iter().map(mean)).take(256).collect()
    }

    fn encoder(&self, path: &Path) -> png::Encoder<'static, BufWriter<File>> {
        let file = BufWriter::new(File::create(path).unwrap());
        let side = |n: usize| u32::try_from(n).unwrap();
        let mut encoder = png::Encoder::new(file, side(self.width), side(self.height));
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder
    }

    /// Reads a PNG file of the project's own.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        assert_eq!(frame.color_type, png::ColorType::Rgb, "{}", path.display());
        let (pixels, rest) = bytes[..frame.buffer_size()].as_chunks::<3>();
        assert!(rest.is_empty());
        Self::new(usize::try_from(frame.width).unwrap(), pixels.to_vec())
    }

    /// Both side by side, what differs framed in red: to be looked at.
    #[must_use]
    pub fn beside(&self, reference: &Self, found: &[Rect]) -> Self {
        let width = self.width + reference.width;
        let height = self.height.max(reference.height);
        let mut both = Self::new(width, vec![[0; 3]; width * height]);
        for (picture, left) in [(reference, 0), (self, reference.width)] {
            for y in 0..picture.height {
                let from = y * picture.width;
                let to = y * width + left;
                both.pixels[to..to + picture.width]
                    .copy_from_slice(&picture.pixels[from..from + picture.width]);
            }
        }
        for rect in found {
            let (x, y) = (usize::try_from(rect.x).unwrap(), usize::try_from(rect.y).unwrap());
            let wide = usize::try_from(rect.width).unwrap();
            for at in x..(x + wide).min(self.width) {
                both.pixels[y * width + reference.width + at] = [255, 0, 0];
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUND: [u8; 3] = [21, 23, 28];

    /// A card on a ground, its edges smoothed by `noise`.
    fn card(left: usize, noise: i32) -> Picture {
        let mut picture = Picture::new(320, vec![GROUND; 320 * 200]);
        for y in 40..120 {
            for x in left..left + 160 {
                picture.pixels[y * 320 + x] = [28, 31, 38];
            }
            // Its edge, and something like letters, each pixel a little lighter or darker than it should be.
            let near = |x: usize, value: i32| {
                let off = if (x / 3 + y).is_multiple_of(2) { noise } else { -noise };
                [u8::try_from(value + off).unwrap(); 3]
            };
            picture.pixels[y * 320 + left] = near(left, 50);
            for x in (left + 10..left + 100).step_by(3).filter(|_| (50..60).contains(&y)) {
                picture.pixels[y * 320 + x] = near(x, 200);
            }
        }
        picture
    }

    #[test]
    fn a_panel_that_moved_is_seen_and_smoothing_is_not() {
        let reference = card(40, 0);
        assert_eq!(card(40, 0).differs(&reference).unwrap(), []);
        assert_eq!(card(40, 30).differs(&reference).unwrap(), []);
        assert!(!card(48, 0).differs(&reference).unwrap().is_empty());
        assert!(!card(44, 0).differs(&reference).unwrap().is_empty());
        let empty = Picture::new(320, vec![GROUND; 320 * 200]);
        assert!(!empty.differs(&reference).unwrap().is_empty());
        let other_size = Picture::new(300, vec![GROUND; 300 * 200]);
        assert!(other_size.differs(&reference).is_err());
    }

    #[test]
    fn what_is_masked_in_either_is_left_out() {
        let (mut reference, moved) = (card(40, 0), card(48, 0));
        reference.mask(Rect { x: 30, y: 30, width: 200, height: 100 });
        assert_eq!(moved.differs(&reference).unwrap(), []);
        reference.mask(Rect { x: -5, y: -5, width: 4000, height: 6 });
    }

    #[test]
    fn a_small_file_shows_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut picture = card(40, 0);
        for (at, pixel) in picture.pixels.iter_mut().take(600).enumerate() {
            *pixel = [u8::try_from(at % 256).unwrap(), u8::try_from(at / 256).unwrap(), 7];
        }
        let (small, whole) = (folder.path().join("small.png"), folder.path().join("whole.png"));
        picture.save_small(&small);
        picture.save(&whole);
        assert_eq!(Picture::load(&whole), picture);
        let read = Picture::load(&small);
        assert!(read.colours() <= 256 && picture.colours() > 256);
        assert_eq!(picture.differs(&read).unwrap(), []);
    }
}
