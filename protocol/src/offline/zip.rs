//! Reads zip archives (APPNOTE 6.3, the parts that mail and file programs write): mail programs zip what they do not know.
//!
//! Only what the central directory lists is read, stored or deflated; lengths are compared with bounds before anything is
//! unpacked, and no name is ever used as a path.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::{MAX_BLOCKS, OfflineError};

/// Whether the bytes are an archive: a local header first, or an empty archive's end.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// The archive's files, without folders, and whether its table could be read to its end.
pub(super) fn members(archive: &[u8]) -> Result<(Vec<Entry>, bool), OfflineError> {
    let damaged = OfflineError::ZipDamaged;
    let end = end_of_directory(archive).ok_or(damaged("its end is missing, so it was cut off"))?;
    let count = usize::from(u16_at(archive, end + 10).ok_or(damaged("its end is cut off"))?);
    let mut at = u32_at(archive, end + 16).ok_or(damaged("its end is cut off"))? as usize;
    if count > MAX_BLOCKS {
        return Err(OfflineError::TooMany);
    }
    let mut found = Vec::new();
    // Files that overlap would be unpacked again and again.
    let mut room = archive.len();
    for _ in 0..count {
        let Some(entry) = Entry::read(archive, at) else { return Ok((found, false)) };
        room = room.checked_sub(entry.packed).ok_or(damaged("its files are longer than itself"))?;
        at = entry.next;
        if !entry.name.ends_with('/') {
            found.push(entry);
        }
    }
    Ok((found, true))
}

/// One row of the central directory.
pub(super) struct Entry {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: usize,
    unpacked: usize,
    header: usize,
    next: usize,
}

impl Entry {
    /// The name that the archive gives it, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn read(archive: &[u8], at: usize) -> Option<Self> {
        if archive.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let half = |offset| u16_at(archive, at + offset);
        let word = |offset| u32_at(archive, at + offset);
        let (name, extra, comment) = (half(28)?, half(30)?, half(32)?);
        let name_end = at + 46 + usize::from(name);
        let name = archive.get(at + 46..name_end)?;
        Some(Self {
            name: String::from_utf8_lossy(name)
                .chars()
                .filter(|c| !crate::ids::is_unprintable(*c))
                .take(120)
                .collect(),
            flags: half(8)?,
            method: half(10)?,
            crc: word(16)?,
            packed: word(20)? as usize,
            unpacked: word(24)? as usize,
            header: word(42)? as usize,
            next: name_end + usize::from(extra) + usize::from(comment),
        })
    }

    /// The file's content, which may have `left` bytes.
    pub(super) fn unpack(&self, archive: &[u8], left: usize) -> Result<Vec<u8>, OfflineError> {
        let damaged = OfflineError::ZipDamaged;
        if self.flags & 0x2041 != 0 {
            return Err(OfflineError::ZipEncrypted);
        }
        if self.unpacked > left {
            return Err(OfflineError::TooLarge);
        }
        let local = self.header;
        if archive.get(local..local.saturating_add(4)) != Some(b"PK\x03\x04") {
            return Err(damaged("a file is not where its table says"));
        }
        let lengths = u16_at(archive, local + 26).zip(u16_at(archive, local + 28));
        let (name, extra) = lengths.ok_or(damaged("a file is cut off"))?;
        let start = local + 30 + usize::from(name) + usize::from(extra);
        let packed =
            archive.get(start..start.saturating_add(self.packed)).ok_or(damaged("a file is cut off"))?;
        let bytes = match self.method {
            0 if self.packed == self.unpacked => packed.to_vec(),
            0 => return Err(damaged("a file's length does not match")),
            8 => decompress_to_vec_with_limit(packed, self.unpacked)
                .map_err(|_| damaged("a file cannot be unpacked"))?,
            _ => return Err(OfflineError::ZipMethod),
        };
        if bytes.len() != self.unpacked || crc32(&bytes) != self.crc {
            return Err(damaged("a file's checksum does not match"));
        }
        Ok(bytes)
    }
}

/// The end record: 22 bytes and a comment of at most 65,535, so it begins in the last 65,557 bytes.
fn end_of_directory(archive: &[u8]) -> Option<usize> {
    let last = archive.len().checked_sub(22)?;
    let first = last.saturating_sub(65_535);
    (first..=last).rev().find(|at| archive[*at..].starts_with(b"PK\x05\x06"))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// CRC-32 as zip and PNG have it (ISO 3309, reflected polynomial 0xEDB88320), four bits a step.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0u32; 16];
        let mut i = 0u32;
        while i < 16 {
            let mut value = i;
            let mut bit = 0;
            while bit < 4 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[i as usize] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let low = (crc >> 4) ^ TABLE[((crc ^ u32::from(*byte)) & 15) as usize];
        (low >> 4) ^ TABLE[((low ^ u32::from(*byte >> 4)) & 15) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
