//! Counting: a title was used once more this week.

use claviger_protocol::daw::Daw;
use claviger_protocol::ids::ProductId;
use claviger_protocol::telemetry::{BATCH, ProductVersion, Week};

use super::gathered::Cell;
use crate::consent::Consented;

/// Most combinations of version and DAW that are told apart for one title in one week.
const MAX_KINDS: usize = 16;

impl Consented<'_> {
    /// How often a title was counted this week.
    pub fn counted(&mut self, product: &ProductId) -> u64 {
        let week = Week::of(self.now());
        let (gathered, _) = self.gathered();
        let cells = gathered.weeks.get(&week).into_iter().flat_map(|g| &g.cells);
        cells.filter(|c| c.product == *product).fold(0, |sum, c| sum.saturating_add(c.uses))
    }

    /// Counts a use of a title that is activated here. More titles in a week than there are tokens, and more versions
    /// and DAWs than anybody has, are not told apart.
    pub fn count(&mut self, product: &ProductId, version: ProductVersion, daw: Daw) {
        let now = self.now();
        let (gathered, _) = self.gathered();
        let cells = &mut gathered.weeks.entry(Week::of(now)).or_default().cells;
        let of_title = cells.iter().filter(|c| c.product == *product).count();
        let known = |c: &&mut Cell| c.product == *product && c.version == version && c.daw == daw;
        if let Some(cell) = cells.iter_mut().find(known) {
            cell.uses = cell.uses.saturating_add(1);
            return;
        }
        if of_title == 0 {
            let mut titles: Vec<&ProductId> = cells.iter().map(|c| &c.product).collect();
            titles.dedup();
            if titles.len() >= BATCH {
                return;
            }
        }
        let (version, daw) =
            if of_title + 1 < MAX_KINDS { (version, daw) } else { (ProductVersion::other(), Daw::Other) };
        let place = |c: &Cell| c.product == *product && c.version == version && c.daw == daw;
        match cells.iter_mut().find(|c| place(c)) {
            Some(cell) => cell.uses = cell.uses.saturating_add(1),
            None => {
                cells.push(Cell { product: product.clone(), version, daw, uses: 1 });
                cells.sort_by(|a, b| a.product.cmp(&b.product));
            }
        }
    }
}
