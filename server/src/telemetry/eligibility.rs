//! What reports may name: titles that at least fifty opted-in installations have active, versions and DAWs that at least
//! twenty use. Everything else is `other`, or is not reported at all. Pure: data in, lists out.
//!
//! Which version or DAW an installation uses is known from reports alone, so a name that has never been on a list yet is
//! listed on trial. What too few report under it is folded before anyone sees it ([`super::fold`]), and a name that no
//! closed week found twenty times is left out of later lists.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use claviger_protocol::daw::Daw;
use claviger_protocol::ids::{MachineId, ProductId};
use claviger_protocol::telemetry::{Plan, PlanTitle, ProductVersion};

use super::store::Reached;

/// A title is reported while at least this many opted-in installations have it active.
pub const LEAST_INSTALLATIONS: usize = 50;
/// Most versions of a title in a plan; the newest released ones.
const MOST_VERSIONS: usize = 256;

/// What the lists are made from.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The machines of every title's live activations.
    pub(super) active: &'a BTreeMap<ProductId, Vec<MachineId>>,
    /// The machines that take part.
    pub(super) taking_part: &'a HashSet<MachineId>,
    /// Released versions of titles, oldest first.
    pub(super) released: &'a BTreeMap<ProductId, Vec<ProductVersion>>,
    /// What closed weeks found often enough.
    pub(super) reached: &'a Reached,
    /// Plans whose weeks are all closed.
    pub(super) past: &'a [&'a Plan],
}

/// The titles of a plan, in the order of their ids.
#[must_use]
pub(super) fn titles(known: &Known<'_>) -> Vec<PlanTitle> {
    let enough = |machines: &&Vec<MachineId>| {
        let distinct: HashSet<&MachineId> =
            machines.iter().filter(|machine| known.taking_part.contains(machine)).collect();
        distinct.len() >= LEAST_INSTALLATIONS
    };
    known
        .active
        .iter()
        .filter(|(_, machines)| enough(machines))
        .map(|(product, _)| PlanTitle { product: product.clone(), versions: versions(known, product) })
        .collect()
}

fn versions(known: &Known<'_>, product: &ProductId) -> Vec<ProductVersion> {
    let tried: BTreeSet<&ProductVersion> =
        known.past.iter().filter_map(|plan| plan.title(product)).flat_map(|title| &title.versions).collect();
    let listed = |version: &&ProductVersion| {
        let found = (product.to_string(), version.to_string());
        **version != ProductVersion::other()
            && (!tried.contains(*version) || known.reached.versions.contains(&found))
    };
    let released = known.released.get(product).map(Vec::as_slice).unwrap_or_default();
    let mut versions: Vec<ProductVersion> =
        released.iter().rev().filter(listed).take(MOST_VERSIONS).cloned().collect();
    versions.reverse();
    versions
}

/// The DAWs of a plan, in the order of the catalogue.
#[must_use]
pub(super) fn daws(known: &Known<'_>) -> Vec<Daw> {
    let tried: BTreeSet<Daw> = known.past.iter().flat_map(|plan| plan.daws.iter().copied()).collect();
    let listed =
        |daw: &Daw| *daw != Daw::Other && (!tried.contains(daw) || known.reached.daws.contains(daw.id()));
    Daw::ALL.iter().copied().filter(listed).collect()
}

#[cfg(test)]
mod tests {
    use claviger_protocol::clock::Timestamp;

    use super::*;

    fn machines(count: u8) -> Vec<MachineId> {
        (0..count).map(|n| MachineId([n; 16])).collect()
    }

    fn id(text: &str) -> ProductId {
        text.parse().unwrap()
    }

    fn plan(titles: Vec<PlanTitle>, daws: Vec<Daw>) -> Plan {
        Plan { iss: "com.example".parse().unwrap(), iat: Timestamp(0), weeks: vec![], titles, daws }
    }

    #[test]
    fn a_title_needs_fifty_machines_that_take_part() {
        let mut twice = machines(49);
        twice.extend(machines(49));
        let active = BTreeMap::from([
            (id("com.example.fifty"), machines(50)),
            (id("com.example.fewer"), machines(49)),
            (id("com.example.twice"), twice),
            (id("com.example.others"), (100..200).map(|n| MachineId([n; 16])).collect()),
        ]);
        let taking_part: HashSet<MachineId> = machines(60).into_iter().collect();
        let known = Known {
            active: &active,
            taking_part: &taking_part,
            released: &BTreeMap::new(),
            reached: &Reached::default(),
            past: &[],
        };
        let found: Vec<_> = titles(&known).into_iter().map(|t| t.product).collect();
        assert_eq!(found, [id("com.example.fifty")]);
    }

    #[test]
    fn a_name_is_tried_once_and_stays_while_twenty_use_it() {
        let active = BTreeMap::from([(id("com.example.synth"), machines(50))]);
        let taking_part: HashSet<MachineId> = machines(50).into_iter().collect();
        let version = |text: &str| text.parse::<ProductVersion>().unwrap();
        let released = BTreeMap::from([(
            id("com.example.synth"),
            vec![version("1.0"), version("1.1"), version("other"), version("2.0")],
        )]);
        let reached = Reached {
            versions: BTreeSet::from([("com.example.synth".to_owned(), "1.1".to_owned())]),
            daws: BTreeSet::from(["reaper".to_owned()]),
        };
        let tried =
            PlanTitle { product: id("com.example.synth"), versions: vec![version("1.0"), version("1.1")] };
        let past = plan(vec![tried], vec![Daw::Reaper, Daw::Cubase]);
        let known = Known {
            active: &active,
            taking_part: &taking_part,
            released: &released,
            reached: &reached,
            past: &[&past],
        };
        assert_eq!(titles(&known)[0].versions, [version("1.1"), version("2.0")]);
        let listed = daws(&known);
        assert!(listed.contains(&Daw::Reaper) && listed.contains(&Daw::Zrythm));
        assert!(!listed.contains(&Daw::Cubase) && !listed.contains(&Daw::Other));
        // In another title the same version would be on trial.
        let known = Known { past: &[], ..known };
        assert_eq!(titles(&known)[0].versions.len(), 3);
        assert_eq!(daws(&known).len(), Daw::ALL.len() - 1);
    }
}
