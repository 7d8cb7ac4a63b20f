//! The close of a week: what fewer than twenty installations reported is made unrecognisable before anyone sees it.
//!
//! A cell is what reports of one week have in common: title, version, DAW and bucket of uses. A cell under the limit
//! loses its bucket, then its version, then its DAW (what a vendor can do least without goes last): it is added to
//! `other` of the same title. An `other` that is still under the limit is dropped, and appears in no sum. What is
//! published is a sum of published cells only, so that nothing can be found by subtracting one table from another.

use std::collections::BTreeMap;

/// Cells of fewer reports than this are folded. Each report is another installation's: one title, one week, once.
pub const LEAST: u64 = 20;

/// The name that folded cells get; also what a report says when its version or DAW is on no list.
pub const OTHER: &str = "other";

/// What the reports of a cell have in common, beside their week. `N` names titles, versions and DAWs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell<N> {
    /// The title.
    pub title: N,
    /// Its version.
    pub version: N,
    /// The DAW.
    pub daw: N,
    /// The bucket of uses.
    pub bucket: N,
}

/// Folds the cells of one week. `other` is the name of `other`. The result does not depend on the order of `cells`.
#[must_use]
pub fn fold<N: Ord + Copy>(
    cells: impl IntoIterator<Item = (Cell<N>, u64)>,
    other: N,
) -> BTreeMap<Cell<N>, u64> {
    let mut counts = BTreeMap::new();
    for (cell, count) in cells {
        add(&mut counts, cell, count);
    }
    type Step<N> = fn(Cell<N>, N) -> Cell<N>;
    let steps: [Step<N>; 3] = [
        |cell, other| Cell { bucket: other, ..cell },
        |cell, other| Cell { bucket: other, version: other, ..cell },
        |cell, other| Cell { version: other, daw: other, bucket: other, ..cell },
    ];
    for step in steps {
        let mut next = BTreeMap::new();
        for (cell, count) in counts {
            add(&mut next, if count < LEAST { step(cell, other) } else { cell }, count);
        }
        counts = next;
    }
    counts.retain(|_, count| *count >= LEAST);
    counts
}

fn add<N: Ord + Copy>(counts: &mut BTreeMap<Cell<N>, u64>, cell: Cell<N>, count: u64) {
    let sum: &mut u64 = counts.entry(cell).or_default();
    *sum = sum.saturating_add(count);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Named = Cell<&'static str>;

    fn cell(version: &'static str, daw: &'static str, bucket: &'static str) -> Named {
        Cell { title: "synth", version, daw, bucket }
    }

    fn folded(cells: &[(Named, u64)]) -> Vec<(Named, u64)> {
        fold(cells.iter().copied(), OTHER).into_iter().collect()
    }

    #[test]
    fn twenty_stay_and_nineteen_become_other() {
        let cells =
            [(cell("1.0", "Live", "1"), 20), (cell("1.1", "Live", "1"), 19), (cell("1.2", "Live", "1"), 19)];
        assert_eq!(folded(&cells), [(cell("1.0", "Live", "1"), 20), (cell(OTHER, "Live", OTHER), 38)]);
    }

    #[test]
    fn the_bucket_goes_first_then_the_version_then_the_daw() {
        let cells = [(cell("1.0", "Live", "1"), 12), (cell("1.0", "Live", "2-4"), 8)];
        assert_eq!(folded(&cells), [(cell("1.0", "Live", OTHER), 20)]);
        let cells = [(cell("1.0", "Live", "1"), 12), (cell("1.1", "Live", "2-4"), 8)];
        assert_eq!(folded(&cells), [(cell(OTHER, "Live", OTHER), 20)]);
        let cells = [(cell("1.0", "Live", "1"), 12), (cell("1.0", "Cubase", "1"), 8)];
        assert_eq!(folded(&cells), [(cell(OTHER, OTHER, OTHER), 20)]);
    }

    #[test]
    fn an_other_under_twenty_is_dropped_and_titles_do_not_mix() {
        let small = Cell { title: "organ", ..cell("1.0", "Live", "1") };
        assert_eq!(folded(&[(cell("1.0", "Live", "1"), 19), (small, 19)]), []);
        assert_eq!(folded(&[(cell(OTHER, OTHER, OTHER), 19)]), []);
        assert_eq!(folded(&[]), []);
    }

    #[test]
    fn reports_that_said_other_themselves_are_counted_with_the_folded_ones() {
        let cells = [(cell(OTHER, "Live", "1"), 15), (cell("1.0", "Live", "1"), 5)];
        assert_eq!(folded(&cells), [(cell(OTHER, "Live", OTHER), 20)]);
    }

    proptest! {
        #[test]
        fn nothing_small_is_left_nothing_is_invented_and_no_more_than_needed_is_lost(
            cells in prop::collection::vec(((0u8..4, 0u8..5, 0u8..5, 0u8..4), 1u64..45), 0..60)
        ) {
            let cells: Vec<(Cell<u8>, u64)> = cells
                .into_iter()
                .map(|((title, version, daw, bucket), n)| (Cell { title, version, daw, bucket }, n))
                .collect();
            let out = fold(cells.iter().copied(), 0);
            let mut raw: BTreeMap<Cell<u8>, u64> = BTreeMap::new();
            for (cell, n) in &cells {
                *raw.entry(*cell).or_default() += n;
            }
            for (cell, n) in &out {
                prop_assert!(*n >= LEAST);
                // A name is only ever published with the count that was reported under it.
                if cell.bucket != 0 {
                    prop_assert_eq!(raw.get(cell), Some(n));
                }
            }
            for title in 0..4 {
                let sum = |all: &BTreeMap<Cell<u8>, u64>| -> u64 {
                    all.iter().filter(|(c, _)| c.title == title).map(|(_, n)| n).sum()
                };
                let lost = sum(&raw) - sum(&out);
                prop_assert!(lost < LEAST, "a title loses {lost}");
            }
            let mut backwards = cells;
            backwards.reverse();
            prop_assert_eq!(fold(backwards, 0), out);
        }
    }
}
