//! The backup file itself: a header, numbered chunks, and a hash over all of it. With a passphrase each chunk is sealed
//! with AES-256-GCM under its number, so that none can be left out, repeated or moved.
//!
//! ```text
//! "CLVBACK1"  u32 length  header (JSON)
//! chunks:     u32 length, top bit set on the last one; then the bytes (sealed: with a tag of 16 more)
//! end:        SHA-256 of everything before
//! inside the chunks, for each file: u16 length, name, u64 length, content
//! ```
//! All numbers are little-endian.

use std::io::{self, BufReader, Read, Write};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::VendorId;
use data_encoding::BASE64URL_NOPAD;
use ring::digest;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::keys::envelope::{Cost, EnvelopeError, Kdf, Passphrase, SealingKey};

const MAGIC: &[u8; 8] = b"CLVBACK1";
const CHUNK: usize = 256 * 1024;
const LAST: u32 = 1 << 31;
const TAG: usize = 16;
const HASH: u64 = 32;

/// What a backup says about itself in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// Whose server it was made from.
    pub vendor: VendorId,
    /// When.
    pub made: Timestamp,
    /// Present when it is sealed with a passphrase.
    pub sealed: Option<Sealed>,
}

/// How a backup is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    kdf: Kdf,
    /// The first 8 bytes of every chunk's nonce; its number is the rest.
    nonce: String,
}

struct Sealer {
    key: SealingKey,
    nonce: [u8; 8],
    header: [u8; 32],
}

impl Sealer {
    fn new(sealed: &Sealed, header: &[u8], passphrase: &Passphrase) -> Result<Self, ArchiveError> {
        let nonce = BASE64URL_NOPAD
            .decode(sealed.nonce.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ArchiveError::Damaged("its header"))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, header).as_ref());
        Ok(Self { key: sealed.kdf.key(passphrase)?, nonce, header: hash })
    }

    fn about(&self, number: u32, last: bool) -> ([u8; 12], [u8; 33]) {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.nonce);
        nonce[8..].copy_from_slice(&number.to_le_bytes());
        let mut about = [u8::from(last); 33];
        about[..32].copy_from_slice(&self.header);
        (nonce, about)
    }
}

/// Writes a backup.
pub(super) struct Writer<W: Write> {
    out: Hashing<W>,
    sealer: Option<Sealer>,
    buffer: Vec<u8>,
    number: u32,
}

struct Hashing<W> {
    inner: W,
    hash: digest::Context,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Writer<W> {
    pub(super) fn new(
        out: W,
        vendor: &VendorId,
        made: Timestamp,
        passphrase: Option<(&Passphrase, Cost)>,
        rng: &dyn SecureRandom,
    ) -> Result<Self, ArchiveError> {
        let sealed = match passphrase {
            None => None,
            Some((_, cost)) => {
                let mut nonce = [0u8; 8];
                rng.fill(&mut nonce).map_err(|_| EnvelopeError::Random)?;
                Some(Sealed { kdf: Kdf::fresh(cost, rng)?, nonce: BASE64URL_NOPAD.encode(&nonce) })
            }
        };
        let header = Header { version: 1, vendor: vendor.clone(), made, sealed };
        let text = serde_json::to_vec(&header).map_err(io::Error::from)?;
        let sealer = match (&header.sealed, passphrase) {
            (Some(sealed), Some((passphrase, _))) => Some(Sealer::new(sealed, &text, passphrase)?),
            _ => None,
        };
        let mut out = Hashing { inner: out, hash: digest::Context::new(&digest::SHA256) };
        out.write_all(MAGIC)?;
        out.write_all(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        out.write_all(&text)?;
        Ok(Self { out, sealer, buffer: Vec::with_capacity(CHUNK + TAG), number: 0 })
    }

    /// Adds a file of exactly `length` bytes.
    pub(super) fn add(&mut self, name: &str, length: u64, content: impl Read) -> Result<(), ArchiveError> {
        let name_length = u16::try_from(name.len()).map_err(|_| ArchiveError::Damaged("a name"))?;
        self.put(&name_length.to_le_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&length.to_le_bytes())?;
        let mut content = content.take(length);
        let mut part = vec![0; CHUNK];
        let mut copied = 0;
        loop {
            let read = content.read(&mut part)?;
            if read == 0 {
                break;
            }
            copied += read as u64;
            self.put(&part[..read])?;
        }
        if copied == length { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(part);
            bytes = rest;
            if self.buffer.len() == CHUNK {
                self.chunk(false)?;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, last: bool) -> Result<(), ArchiveError> {
        if let Some(sealer) = &self.sealer {
            let (nonce, about) = sealer.about(self.number, last);
            sealer.key.seal(nonce, &about, &mut self.buffer)?;
        }
        let length = u32::try_from(self.buffer.len()).unwrap_or(LAST - 1);
        self.out.write_all(&(if last { length | LAST } else { length }).to_le_bytes())?;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number = self.number.checked_add(1).ok_or(ArchiveError::Damaged("its size"))?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, ArchiveError> {
        self.chunk(true)?;
        let hash = self.out.hash.finish();
        self.out.inner.write_all(hash.as_ref())?;
        self.out.inner.flush()?;
        Ok(self.out.inner)
    }
}

/// Reads the header of a backup and checks the hash over all of it: from here on, whatever does not fit is a wrong
/// passphrase and not damage.
pub(super) fn check(file: &mut (impl Read + io::Seek)) -> Result<Header, ArchiveError> {
    let length = file.seek(io::SeekFrom::End(0))?;
    file.rewind()?;
    let mut magic = [0; 8];
    let known = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
    if !known {
        return Err(ArchiveError::NotABackup);
    }
    file.rewind()?;
    let body = length.checked_sub(HASH).ok_or(ArchiveError::Damaged("its end is missing"))?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = vec![0; CHUNK];
    let mut left = (&mut *file).take(body);
    loop {
        let read = left.read(&mut part)?;
        if read == 0 {
            break;
        }
        hash.update(&part[..read]);
    }
    let mut expected = [0; 32];
    file.read_exact(&mut expected).map_err(|_| ArchiveError::Damaged("its end is missing"))?;
    if hash.finish().as_ref() != expected {
        return Err(ArchiveError::Damaged("its checksum does not match"));
    }
    file.rewind()?;
    Ok(read_header(file)?.0)
}

fn read_header(input: &mut impl Read) -> Result<(Header, Vec<u8>), ArchiveError> {
    let damaged = |_| ArchiveError::Damaged("its header");
    let mut start = [0; 12];
    input.read_exact(&mut start).map_err(damaged)?;
    let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    if length > 64 * 1024 {
        return Err(ArchiveError::Damaged("its header"));
    }
    let mut text = vec![0; length as usize];
    input.read_exact(&mut text).map_err(damaged)?;
    let header: Header = serde_json::from_slice(&text).map_err(|_| ArchiveError::Damaged("its header"))?;
    if header.version != 1 {
        return Err(ArchiveError::TooNew(header.version));
    }
    Ok((header, text))
}

/// Reads the files of a backup that [`check`] has found whole.
pub(super) struct Reader<R: Read> {
    input: BufReader<R>,
    sealer: Option<Sealer>,
    chunk: Vec<u8>,
    at: usize,
    number: u32,
    last: bool,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R, passphrase: Option<&Passphrase>) -> Result<Self, ArchiveError> {
        let mut input = BufReader::new(input);
        let (header, text) = read_header(&mut input)?;
        let sealer = match (&header.sealed, passphrase) {
            (None, _) => None,
            (Some(_), None) => return Err(ArchiveError::PassphraseNeeded),
            (Some(sealed), Some(passphrase)) => Some(Sealer::new(sealed, &text, passphrase)?),
        };
        Ok(Self { input, sealer, chunk: Vec::new(), at: 0, number: 0, last: false })
    }

    /// The next file's name and length; its content must be read to the end before the next call.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>, ArchiveError> {
        if self.at == self.chunk.len() && !self.fill()? {
            return Ok(None);
        }
        let mut length = [0; 2];
        self.read_exact(&mut length).map_err(inside)?;
        let mut name = vec![0; usize::from(u16::from_le_bytes(length))];
        self.read_exact(&mut name).map_err(inside)?;
        let mut size = [0; 8];
        self.read_exact(&mut size).map_err(inside)?;
        let name = String::from_utf8(name).map_err(|_| ArchiveError::Damaged("a name"))?;
        Ok(Some((name, u64::from_le_bytes(size))))
    }

    /// Opens the next chunk; `false` at the end.
    fn fill(&mut self) -> Result<bool, ArchiveError> {
        while self.at == self.chunk.len() {
            if self.last {
                return Ok(false);
            }
            let mut length = [0; 4];
            self.input.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length);
            self.last = length & LAST != 0;
            let length = (length & !LAST) as usize;
            if length > CHUNK + TAG {
                return Err(ArchiveError::Damaged("a chunk"));
            }
            self.chunk.resize(length, 0);
            self.input.read_exact(&mut self.chunk)?;
            if let Some(sealer) = &self.sealer {
                let (nonce, about) = sealer.about(self.number, self.last);
                let plain = sealer.key.open(nonce, &about, &mut self.chunk).map_err(|_| {
                    if self.number == 0 {
                        ArchiveError::WrongPassphrase
                    } else {
                        ArchiveError::Damaged("a chunk")
                    }
                })?;
                let length = plain.len();
                self.chunk.truncate(length);
            }
            self.at = 0;
            self.number = self.number.checked_add(1).ok_or(ArchiveError::Damaged("its size"))?;
        }
        Ok(true)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.fill().map_err(io::Error::other)? {
            return Ok(0);
        }
        let part = &self.chunk[self.at..];
        let length = part.len().min(out.len());
        out[..length].copy_from_slice(&part[..length]);
        self.at += length;
        Ok(length)
    }
}

/// Gives an error that passed through `io::Read` back its own kind.
pub(super) fn inside(error: io::Error) -> ArchiveError {
    match error.downcast::<ArchiveError>() {
        Ok(ours) => ours,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ArchiveError::Damaged("a file in it"),
        Err(error) => ArchiveError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::test_support::words;
    use std::io::Cursor;

    fn written(passphrase: Option<&str>) -> Vec<u8> {
        let rng = ring::rand::SystemRandom::new();
        let vendor = "com.example".parse().unwrap();
        let passphrase = passphrase.map(words);
        let sealing = passphrase.as_ref().map(|p| (p, Cost::DEMO));
        let mut writer = Writer::new(Vec::new(), &vendor, Timestamp(5), sealing, &rng).unwrap();
        writer.add("small", 5, &b"hello"[..]).unwrap();
        writer.add("empty", 0, &b""[..]).unwrap();
        writer.add("large", 600_000, io::repeat(7)).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], passphrase: Option<&str>) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
        check(&mut Cursor::new(bytes))?;
        let mut reader = Reader::new(bytes, passphrase.map(words).as_ref())?;
        let mut files = Vec::new();
        while let Some((name, length)) = reader.next()? {
            let mut content = Vec::new();
            (&mut reader).take(length).read_to_end(&mut content).map_err(inside)?;
            files.push((name, content));
        }
        Ok(files)
    }

    #[test]
    fn files_come_back_as_they_were() {
        for passphrase in [None, Some("pass")] {
            let files = read(&written(passphrase), passphrase).unwrap();
            assert_eq!(files.len(), 3);
            assert_eq!(files[0], ("small".to_owned(), b"hello".to_vec()));
            assert_eq!(files[2].1, vec![7; 600_000]);
        }
        let sealed = written(Some("pass"));
        assert!(!sealed.windows(5).any(|w| w == b"hello" || w == b"small"));
        assert!(matches!(read(&sealed, Some("word")), Err(ArchiveError::WrongPassphrase)));
        assert!(matches!(read(&sealed, None), Err(ArchiveError::PassphraseNeeded)));
    }

    #[test]
    fn damage_is_noticed_before_anything_is_believed() {
        let good = written(None);
        for at in [0, 9, 20, 100, 1000, 300_000, good.len() - 40, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(check(&mut Cursor::new(&bad)).is_err(), "byte {at}");
        }
        for cut in [0, 5, 8, 30, 300_000, good.len() - 1] {
            assert!(check(&mut Cursor::new(&good[..cut])).is_err(), "cut at {cut}");
        }
        assert!(matches!(
            check(&mut Cursor::new(b"PK\x03\x04 something else")),
            Err(ArchiveError::NotABackup)
        ));
    }
}
