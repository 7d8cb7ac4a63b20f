//! A universal file for Macs: the files for several processors behind one table, as Apple's `lipo` makes them. The format is
//! that of `<mach-o/fat.h>`: numbers with the highest byte first.

use crate::shell::{Failure, Result};

const MAGIC: u32 = 0xcafe_babe;
const HEADER: usize = 8;
const ENTRY: usize = 20;
/// Each file starts at a multiple of two to this power; more than any archive's members ask for.
const ALIGNMENT: u32 = 12;

/// The processor of a target: its type and subtype.
fn processor(target: &str) -> Result<(u32, u32)> {
    match target.split_once('-').map(|(machine, _)| machine) {
        Some("x86_64") => Ok((0x0100_0007, 3)),
        Some("aarch64") => Ok((0x0100_000c, 0)),
        _ => Err(Failure::new(format!("{target} is no Mac's processor"))),
    }
}

/// Puts files for several targets into one.
pub(crate) fn join(parts: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let too_large = |_| Failure::new("a universal file holds at most 4 GiB");
    let step = 1usize << ALIGNMENT;
    let mut table = [MAGIC, u32::try_from(parts.len()).map_err(too_large)?].map(u32::to_be_bytes).concat();
    let mut start = (HEADER + ENTRY * parts.len()).next_multiple_of(step);
    let mut starts = Vec::new();
    for (target, content) in parts {
        let (kind, subkind) = processor(target)?;
        let place = u32::try_from(start).map_err(too_large)?;
        let size = u32::try_from(content.len()).map_err(too_large)?;
        table.extend([kind, subkind, place, size, ALIGNMENT].map(u32::to_be_bytes).concat());
        starts.push(start);
        start = (start + content.len()).next_multiple_of(step);
    }
    let mut whole = table;
    for (start, (_, content)) in starts.into_iter().zip(parts) {
        whole.resize(start, 0);
        whole.extend_from_slice(content);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn each_part_lies_where_the_table_says() {
        let parts = [("x86_64-apple-darwin", vec![1u8; 5000]), ("aarch64-apple-darwin", vec![2u8; 7])];
        let whole = join(&parts).unwrap();
        let number = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((number(0), number(4)), (0xcafe_babe, 2));
        assert_eq!((number(8), number(28)), (0x0100_0007, 0x0100_000c));
        for (at, (_, content)) in [8, 28].into_iter().zip(&parts) {
            let (start, size) = (number(at + 8), number(at + 12));
            assert_eq!(start % (1 << number(at + 16)), 0);
            assert_eq!(&whole[start..start + size], content);
        }
        assert!(join(&[("riscv64-apple-darwin", Vec::new())]).is_err());
    }
}
