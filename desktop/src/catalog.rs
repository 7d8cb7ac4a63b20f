//! The licenses of this computer as the list shows them: cleaned once when they arrive, kept small, and made into rows only where
//! somebody looks. A hostile server may send 50,000 of them with names of ten kilobytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{Accent, LicenseKind};
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{License, Vendor};
use claviger_protocol::status::Status;
use slint::{Color, Image, SharedString};

use crate::prefs::Language;
use crate::{dates, picture, text, ui};

/// Most licenses that are shown.
pub(crate) const MOST: usize = 50_000;
/// Days before the end from which on it is called to attention.
const SOON: i64 = 14;

/// A vendor, as its section looks.
#[derive(Clone)]
pub(crate) struct Face {
    /// Its id.
    pub(crate) id: VendorId,
    /// Its name.
    pub(crate) name: SharedString,
    /// The letters on its tile.
    pub(crate) letters: SharedString,
    /// Its colour.
    pub(crate) tone: Color,
    /// Its logo, if it has one.
    pub(crate) picture: Image,
}

impl Face {
    /// The face of a vendor that the daemon knows.
    pub(crate) fn of(vendor: &Vendor) -> Self {
        let plain = Self::named(&vendor.id, &vendor.name);
        let accent = vendor.accent.as_deref().and_then(|text| text.parse::<Accent>().ok());
        Self {
            tone: accent
                .map_or(plain.tone, |accent| Color::from_rgb_u8(accent.red, accent.green, accent.blue)),
            picture: vendor.logo.as_deref().and_then(picture::logo).unwrap_or_default(),
            ..plain
        }
    }

    /// The face of a vendor of which only the name is known.
    pub(crate) fn named(id: &VendorId, name: &str) -> Self {
        let name = text::name(name, id.as_str());
        Self {
            id: id.clone(),
            letters: text::letters(&name).into(),
            name: name.into(),
            tone: picture::tone(id.as_str()),
            picture: Image::default(),
        }
    }
}

/// One license.
pub(crate) struct Entry {
    /// What the daemon said, for the page of particulars.
    pub(crate) license: License,
    /// Names the row: the activation, or the serial number where nothing better is known.
    pub(crate) key: String,
    pub(crate) name: SharedString,
    face: usize,
    level: ui::Level,
    group: Group,
    found_by: String,
}

/// The groups that one can filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Active,
    Attention,
    Ended,
}

/// Everything that is listed.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) entries: Vec<Entry>,
    pub(crate) faces: Vec<Face>,
    /// Whether there were more than are shown.
    pub(crate) cut: bool,
    by_key: BTreeMap<String, usize>,
}

/// What is searched and filtered by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) search: String,
    /// 0 for all, then the faces by their order.
    pub(crate) vendor: usize,
    /// 0 all, 1 active, 2 attention, 3 not active.
    pub(crate) state: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Header { face: usize, count: usize },
    Item(usize),
}

impl Catalog {
    /// What the daemon's list and its vendors make.
    pub(crate) fn new(mut licenses: Vec<License>, vendors: &[Vendor], now: Timestamp) -> Self {
        let cut = licenses.len() > MOST;
        licenses.truncate(MOST);
        let mut faces: Vec<Face> = vendors.iter().map(Face::of).collect();
        let mut by_id: BTreeMap<VendorId, usize> =
            faces.iter().enumerate().map(|(at, face)| (face.id.clone(), at)).collect();
        let mut entries: Vec<Entry> = Vec::with_capacity(licenses.len());
        for license in licenses {
            let face = *by_id.entry(license.vendor.clone()).or_insert_with(|| {
                faces.push(Face::named(&license.vendor, &license.vendor_name));
                faces.len() - 1
            });
            entries.push(Entry::new(license, face, &faces[face].name, now));
        }
        let order =
            |entry: &Entry| (faces[entry.face].name.to_lowercase(), entry.face, entry.name.to_lowercase());
        entries.sort_by_cached_key(|entry| (order(entry), entry.license.serial.clone()));
        let by_key = entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
        Self { entries, faces, cut, by_key }
    }

    /// The license of a row.
    pub(crate) fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.get(*self.by_key.get(key)?)
    }

    /// The face of a vendor.
    pub(crate) fn face(&self, id: &VendorId) -> Option<&Face> {
        self.faces.iter().find(|face| face.id == *id)
    }

    /// The vendors that have licenses here, for the filter: their names, and which faces they are.
    pub(crate) fn sellers(&self) -> Vec<usize> {
        let mut seen: Vec<usize> = self.entries.iter().map(|entry| entry.face).collect();
        seen.dedup();
        seen
    }

    /// How many there are: all, active, to be looked at, ended.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let of = |group| self.entries.iter().filter(|entry| entry.group == group).count();
        [self.entries.len(), of(Group::Active), of(Group::Attention), of(Group::Ended)]
    }

    /// One license as a row.
    pub(crate) fn row(&self, entry: &Entry, look: &Look<'_>) -> ui::Product {
        let face = &self.faces[entry.face];
        let license = &entry.license;
        let end = license.expires.or_else(|| ended(license).then_some(license.since));
        let days = license
            .expires
            .filter(|end| *end >= look.now)
            .map_or(-1, |end| dates::days_between(look.now, end).max(0));
        let day =
            |moment: Option<Timestamp>| moment.map(|m| dates::day(m, look.language)).unwrap_or_default();
        ui::Product {
            header: false,
            action: action(license.status, license.certificate.is_some()).into(),
            key: entry.key.as_str().into(),
            name: entry.name.clone(),
            vendor: face.name.clone(),
            vendor_id: license.vendor.as_str().into(),
            serial: license.serial.as_str().into(),
            kind: kind(license.kind).into(),
            features: text::line(&license.entitlements.join(", "), 80).into(),
            state: license.status.code().into(),
            level: entry.level,
            end: day(end).into(),
            updates: license
                .updates_until
                .map(|d| dates::calendar(d, look.language))
                .unwrap_or_default()
                .into(),
            days,
            by: license.ended_by.as_ref().map(|n| text::name(n.as_str(), "")).unwrap_or_default().into(),
            letters: text::letters(&entry.name).into(),
            tone: face.tone,
            picture: face.picture.clone(),
            count: 0,
            licensed: license.status.is_licensed(),
            held: license.certificate.is_some(),
            busy: look.busy.contains(&entry.key),
        }
    }
}

/// What a row needs to know beside its license.
pub(crate) struct Look<'a> {
    pub(crate) now: Timestamp,
    pub(crate) language: Language,
    pub(crate) busy: &'a [String],
}

/// The list as it is filtered: rows are made when somebody looks at them.
#[derive(Clone)]
pub(crate) struct Listing {
    catalog: Rc<Catalog>,
    slots: Rc<Vec<Slot>>,
    now: Timestamp,
    language: Language,
    busy: Rc<Vec<String>>,
    /// Licenses in it.
    pub(crate) shown: usize,
}

impl Listing {
    /// What of `catalog` passes `filter`.
    pub(crate) fn new(catalog: Rc<Catalog>, filter: &Filter, look: &Look<'_>) -> Self {
        let words: Vec<String> = filter.search.split_whitespace().take(8).map(folded).collect();
        let seller = filter.vendor.checked_sub(1).and_then(|at| catalog.sellers().get(at).copied());
        let fits = |entry: &Entry| {
            let state = match filter.state {
                1 => {
                    entry.group == Group::Active
                        || (entry.group == Group::Attention && entry.license.status.is_licensed())
                }
                2 => entry.group == Group::Attention,
                3 => entry.group == Group::Ended,
                _ => true,
            };
            state
                && seller.is_none_or(|face| entry.face == face)
                && words.iter().all(|word| entry.found_by.contains(word.as_str()))
        };
        let mut slots: Vec<Slot> = Vec::new();
        let mut heading: Option<usize> = None;
        let mut shown = 0;
        for (at, entry) in catalog.entries.iter().enumerate().filter(|(_, entry)| fits(entry)) {
            let same = heading.and_then(|h| match &mut slots[h] {
                Slot::Header { face, count } if *face == entry.face => Some(count),
                _ => None,
            });
            if let Some(count) = same {
                *count += 1;
            } else {
                heading = Some(slots.len());
                slots.push(Slot::Header { face: entry.face, count: 1 });
            }
            slots.push(Slot::Item(at));
            shown += 1;
        }
        Self {
            catalog,
            slots: Rc::new(slots),
            now: look.now,
            language: look.language,
            busy: Rc::new(look.busy.to_vec()),
            shown,
        }
    }

    /// Its rows, headings included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One row.
    pub(crate) fn row(&self, at: usize) -> Option<ui::Product> {
        let look = Look { now: self.now, language: self.language, busy: &self.busy };
        Some(match *self.slots.get(at)? {
            Slot::Item(entry) => self.catalog.row(&self.catalog.entries[entry], &look),
            Slot::Header { face, count } => {
                let face = &self.catalog.faces[face];
                ui::Product {
                    header: true,
                    key: format!("vendor {}", face.id).into(),
                    vendor: face.name.clone(),
                    vendor_id: face.id.as_str().into(),
                    letters: face.letters.clone(),
                    tone: face.tone,
                    picture: face.picture.clone(),
                    count: i32::try_from(count).unwrap_or(i32::MAX),
                    ..ui::Product::default()
                }
            }
        })
    }
}

impl Entry {
    fn new(license: License, face: usize, vendor: &str, now: Timestamp) -> Self {
        let name = text::name(&license.product_name, license.product.as_str());
        let soon = license.expires.is_some_and(|end| end >= now && now.days_until(end) <= SOON);
        let (level, group) = weigh(license.status, soon);
        let found_by = folded(&format!("{name} {vendor} {} {}", license.serial, license.product));
        let key = if license.activation.0 == [0; 16] {
            format!("{} {}", license.vendor, license.serial)
        } else {
            license.activation.to_string()
        };
        Self { key, name: name.into(), face, level, group, found_by, license }
    }
}

/// How a state looks, and in which group it is.
fn weigh(status: Status, soon: bool) -> (ui::Level, Group) {
    match status {
        Status::LicensedClockSetBack => (ui::Level::Warn, Group::Attention),
        _ if status.is_licensed() && soon => (ui::Level::Warn, Group::Attention),
        _ if status.is_licensed() => (ui::Level::Good, Group::Active),
        Status::Expired | Status::UpdatesEnded | Status::ClockSetBack => (ui::Level::Warn, Group::Attention),
        Status::NotActivated
        | Status::GivenUp
        | Status::Released
        | Status::Transferred
        | Status::Replaced => (ui::Level::Quiet, Group::Ended),
        _ => (ui::Level::Bad, Group::Attention),
    }
}

/// What one does with a license first.
fn action(status: Status, held: bool) -> &'static str {
    match status {
        _ if status.is_licensed() && held => "deactivate",
        Status::UpdatesEnded if held => "deactivate",
        Status::NotActivated
        | Status::GivenUp
        | Status::OtherMachine
        | Status::Replaced
        | Status::Released
        | Status::Untrusted => "activate",
        Status::Transferred | Status::NoMachineId | Status::StateUnreachable => "",
        _ if status.is_licensed() => "",
        _ => "refresh",
    }
}

/// Whether an activation is over for other reasons than time.
pub(crate) fn ended(license: &License) -> bool {
    matches!(
        license.status,
        Status::GivenUp
            | Status::Replaced
            | Status::Released
            | Status::Transferred
            | Status::Suspended
            | Status::Revoked
    )
}

/// The kind of a license as a stable word.
pub(crate) fn kind(kind: LicenseKind) -> &'static str {
    match kind {
        LicenseKind::Perpetual => "perpetual",
        LicenseKind::Subscription => "subscription",
        LicenseKind::Trial => "trial",
        LicenseKind::Other => "other",
    }
}

/// For comparing what was typed: without case, and without the hyphens of a serial number.
fn folded(text: &str) -> String {
    text.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect()
}
