//! Values that exist once in the world, planted where a program could find them, and the search for them: as they are, in
//! every usual spelling, as hashes, and inside what was encoded or compressed.
//!
//! What this cannot find: a value hashed together with something secret, and one that was encrypted.

use std::collections::BTreeSet;

use data_encoding::{BASE32, BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use md5::Digest as _;
use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};
use ring::digest;

/// What is left of a short text in some spelling is too little to look for.
const SHORTEST: usize = 6;
/// How many encodings may lie inside each other.
const DEPTH: usize = 3;
/// No run of text that is shorter is taken for an encoded one.
const RUN: usize = 12;
/// Most bytes that are unpacked.
const UNPACKED: usize = 4 * 1024 * 1024;

/// Something found: what, and how it was spelled.
pub type Found = (String, String);

/// A way to write bytes, by name.
type Way = (&'static str, fn(&[u8]) -> Vec<u8>);

const ENCODINGS: [Way; 13] = [
    ("as it is", <[u8]>::to_vec),
    ("in small letters", <[u8]>::to_ascii_lowercase),
    ("in capitals", <[u8]>::to_ascii_uppercase),
    ("in hexadecimal", |b| HEXLOWER.encode(b).into_bytes()),
    ("in capitals of hexadecimal", |b| HEXUPPER.encode(b).into_bytes()),
    ("in base32", |b| BASE32.encode(&b[..b.len() / 5 * 5]).into_bytes()),
    ("percent-encoded", |b| each(b, |b| format!("%{b:02X}"))),
    ("percent-encoded, small", |b| each(b, |b| format!("%{b:02x}"))),
    ("percent-encoded where it has to be", |b| {
        each(b, |b| {
            let plain = b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
            if plain { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
    }),
    ("with JSON's escapes", |b| each(b, |b| format!("\\u{b:04x}"))),
    ("in UTF-16", |b| b.iter().flat_map(|b| [*b, 0]).collect()),
    ("in big-endian UTF-16", |b| b.iter().flat_map(|b| [0, *b]).collect()),
    ("backwards", |b| b.iter().rev().copied().collect()),
];

const HASHES: [Way; 5] = [
    ("MD5", |b| md5::Md5::digest(b).to_vec()),
    ("SHA-1", |b| hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, b)),
    ("SHA-256", |b| hash(&digest::SHA256, b)),
    ("SHA-384", |b| hash(&digest::SHA384, b)),
    ("SHA-512", |b| hash(&digest::SHA512, b)),
];

fn each(bytes: &[u8], spell: impl Fn(u8) -> String) -> Vec<u8> {
    bytes.iter().map(|b| spell(*b)).collect::<String>().into_bytes()
}

fn hash(algorithm: &'static digest::Algorithm, bytes: &[u8]) -> Vec<u8> {
    digest::digest(algorithm, bytes).as_ref().to_vec()
}

/// In base64 a text looks different at each of three offsets; the middle does not depend on its neighbours.
fn base64(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for offset in 0..3 {
        let padded = [&b"\0\0\0"[..offset], bytes].concat();
        for encoded in [BASE64.encode(&padded), BASE64URL.encode(&padded)] {
            // One byte before reaches into two characters, two into three. Those of an unfinished group are left out.
            let from = if offset == 0 { 0 } else { offset + 1 };
            all.push(encoded.as_bytes()[from..padded.len() / 3 * 4].to_vec());
        }
    }
    all
}

/// Every spelling of a value, by name.
#[must_use]
pub fn spellings(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> =
        ENCODINGS.iter().map(|(name, encode)| ((*name).to_owned(), encode(value))).collect();
    all.extend(base64(value).into_iter().map(|bytes| ("in base64".to_owned(), bytes)));
    let forms = [
        ("", value.to_vec()),
        (" of small letters", value.to_ascii_lowercase()),
        (" of the line", [value, b"\n"].concat()),
        (" of UTF-16", value.iter().flat_map(|b| [*b, 0]).collect()),
    ];
    for (hash, digest) in HASHES {
        for (form, bytes) in &forms {
            let bytes = digest(bytes);
            let name = |how: &str| format!("as {hash}{form}{how}");
            all.push((name(" in hexadecimal"), HEXLOWER.encode(&bytes).into_bytes()));
            all.push((name(" in capitals of hexadecimal"), HEXUPPER.encode(&bytes).into_bytes()));
            all.extend(base64(&bytes).into_iter().map(|bytes| (name(" in base64"), bytes)));
            all.push((name(""), bytes));
        }
    }
    all.retain(|(_, bytes)| bytes.len() >= SHORTEST);
    all
}

#[derive(Debug)]
struct Needle {
    found: Found,
    bytes: Vec<u8>,
}

/// What is looked for.
#[derive(Debug)]
pub struct Search {
    needles: Vec<Needle>,
    /// By their first two bytes.
    starts: Vec<Vec<u32>>,
}

impl Search {
    /// A search for values, each by its name.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut search = Self { needles: Vec::new(), starts: vec![Vec::new(); 0x1_0000] };
        for (name, value) in values {
            for (how, bytes) in spellings(value) {
                let at = u32::try_from(search.needles.len()).unwrap();
                search.starts[start(&bytes)].push(at);
                search.needles.push(Needle { found: (name.to_owned(), how), bytes });
            }
        }
        search
    }

    /// What stands in these bytes.
    #[must_use]
    pub fn plainly(&self, hay: &[u8]) -> BTreeSet<Found> {
        let mut found = BTreeSet::new();
        for at in 0..hay.len().saturating_sub(1) {
            for needle in &self.starts[start(&hay[at..])] {
                let needle = &self.needles[*needle as usize];
                if hay[at..].starts_with(&needle.bytes) {
                    found.insert(needle.found.clone());
                }
            }
        }
        found
    }

    /// The same, also inside what is encoded or compressed in them.
    #[must_use]
    pub fn deeply(&self, hay: &[u8]) -> BTreeSet<Found> {
        let mut found = BTreeSet::new();
        self.dig(hay, DEPTH, "", &mut found);
        found
    }

    fn dig(&self, hay: &[u8], depth: usize, inside: &str, found: &mut BTreeSet<Found>) {
        found.extend(self.plainly(hay).into_iter().map(|(what, how)| (what, format!("{how}{inside}"))));
        if depth == 0 {
            return;
        }
        let mut layer = |name: &str, bytes: Vec<u8>| {
            if bytes.len() >= SHORTEST {
                self.dig(&bytes, depth - 1, &format!(" inside {name}{inside}"), found);
            }
        };
        for (name, alphabet) in [("base64", b"+/"), ("base64url", b"-_")] {
            let member = |b: u8| b.is_ascii_alphanumeric() || alphabet.contains(&b);
            for run in runs(hay, member) {
                for skip in 0..4 {
                    layer(name, unbase64(&run[skip..], alphabet));
                }
            }
        }
        for run in runs(hay, |b| b.is_ascii_hexdigit()) {
            for skip in 0..2 {
                let run = &run[skip..];
                let even = run[..run.len() / 2 * 2].to_ascii_lowercase();
                layer("hexadecimal", HEXLOWER.decode(&even).unwrap_or_default());
            }
        }
        if hay.contains(&b'%') {
            layer("percent-encoding", unpercent(hay));
        }
        for at in 0..hay.len().saturating_sub(2) {
            match &hay[at..] {
                [0x1f, 0x8b, 8, ..] => {
                    if let Some(body) = gzip_body(&hay[at..]) {
                        layer("gzip", inflated(decompress_to_vec_with_limit(body, UNPACKED)));
                    }
                }
                // The second byte makes the first two a multiple of 31.
                [0x78, flags, ..] if (0x7800 + usize::from(*flags)).is_multiple_of(31) => {
                    layer("zlib", inflated(decompress_to_vec_zlib_with_limit(&hay[at..], UNPACKED)));
                }
                _ => {}
            }
        }
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The parts that consist of members only and are long enough to hold something.
fn runs(hay: &[u8], member: impl Fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    hay.split(move |b| !member(*b)).filter(|run| run.len() >= RUN)
}

fn unbase64(run: &[u8], alphabet: &[u8; 2]) -> Vec<u8> {
    let value = |b: &u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        other if *other == alphabet[0] => 62,
        _ => 63,
    };
    let bits = run.iter().map(value).collect::<Vec<u8>>();
    let whole = bits.chunks(4).flat_map(|four| {
        let all = four.iter().fold(0u32, |all, bits| all << 6 | u32::from(*bits)) << (6 * (4 - four.len()));
        let bytes = all.to_be_bytes();
        bytes[1..four.len().max(1)].to_vec()
    });
    whole.collect()
}

fn unpercent(hay: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(hay.len());
    let mut at = 0;
    while at < hay.len() {
        let digits = hay.get(at + 1..at + 3).filter(|_| hay[at] == b'%');
        let byte = digits.and_then(|d| HEXLOWER.decode(&d.to_ascii_lowercase()).ok());
        match byte {
            Some(byte) => {
                out.extend(byte);
                at += 3;
            }
            None => {
                out.push(hay[at]);
                at += 1;
            }
        }
    }
    out
}

/// What stands behind a header of gzip (RFC 1952).
fn gzip_body(bytes: &[u8]) -> Option<&[u8]> {
    let flags = *bytes.get(3)?;
    let mut rest = bytes.get(10..)?;
    if flags & 4 != 0 {
        let length = usize::from(u16::from_le_bytes(rest.get(..2)?.try_into().ok()?));
        rest = rest.get(2 + length..)?;
    }
    for _ in 0..(flags >> 3 & 1) + (flags >> 4 & 1) {
        let end = rest.iter().position(|b| *b == 0)?;
        rest = &rest[end + 1..];
    }
    rest.get(usize::from(flags & 2)..)
}

/// What could be unpacked, even if the end is missing.
fn inflated(result: Result<Vec<u8>, miniz_oxide::inflate::DecompressError>) -> Vec<u8> {
    result.unwrap_or_else(|cut| cut.output)
}
