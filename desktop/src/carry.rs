//! Offline documents as people carry them: requests with sentences for whoever opens the file, answers of every make.

use claviger_protocol::ipc::{License, OfflineReceiptReply, OfflineRequestReply};
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::code::{GROUP_LEN, GROUPS, TypedCode, check_group, split_groups};
use claviger_protocol::offline::{self, FileKind, Portal, Refusal, RequestFrom, Sorted};

use crate::desk::{Answer, Desk, Trouble};
use crate::text;

/// A request as a file.
pub(crate) fn request_file(reply: &OfflineRequestReply) -> String {
    let portal = Portal::of(&reply.vendor.server);
    let from = RequestFrom::read(&reply.request).ok();
    let vendor = format!("{} ({})", text::name(&reply.vendor.name, ""), reply.vendor.id);
    let serial = from.as_ref().and_then(|f| f.serial.as_ref()).map(ToString::to_string).unwrap_or_default();
    let name =
        from.as_ref().and_then(|f| f.device_name.as_ref()).map(ToString::to_string).unwrap_or_default();
    let until = reply.expires.date().to_string();
    let sentence = format!(
        "Take this file to {}, or mail it to the vendor. Import the answer on that computer.",
        portal.address()
    );
    let lines = [
        ("For", vendor.as_str()),
        ("License", &serial),
        ("Computer", &name),
        ("Answer before", &until),
        ("", &sentence),
    ];
    write_file(FileKind::Request, &lines, &reply.request)
}

/// A receipt as a file.
pub(crate) fn receipt_file(reply: &OfflineReceiptReply) -> String {
    let portal = Portal::of(&reply.vendor.server);
    let vendor = format!("{} ({})", text::name(&reply.vendor.name, ""), reply.vendor.id);
    let serial = reply.license.serial.to_string();
    let product = text::name(&reply.license.product_name, reply.license.product.as_str());
    let sentence =
        format!("Take this file to {}, or mail it to the vendor: it frees the seat.", portal.address());
    let lines = [("For", vendor.as_str()), ("License", &serial), ("Product", &product), ("", &sentence)];
    write_file(FileKind::Receipt, &lines, &reply.request)
}

/// What came of an import, a line each: a word for `Say.imported`, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// A stable word.
    pub(crate) word: &'static str,
    /// A name, a number or the daemon's sentence.
    pub(crate) about: String,
    /// What to do next, in the daemon's words.
    pub(crate) next: String,
}

impl Taken {
    fn new(word: &'static str, about: impl Into<String>) -> Self {
        Self { word, about: about.into(), next: String::new() }
    }

    /// A license that is active now.
    pub(crate) fn license(license: &License, changed: bool) -> Self {
        let name = text::name(&license.product_name, license.product.as_str());
        Self::new(if changed { "activated" } else { "already" }, name)
    }
}

/// Imports whatever of `bytes` is for this computer.
pub(crate) fn import(desk: &mut dyn Desk, bytes: &[u8]) -> Answer<Vec<Taken>> {
    let contents = offline::read(bytes).map_err(|error| Trouble::new("not_ours", error.to_string()))?;
    let machines = desk.machines()?;
    let sorted = Sorted::of(std::slice::from_ref(&contents), |id| {
        machines.iter().any(|machine| machine.machine_id == id)
    });
    let refused = |refusal: &Refusal| Taken {
        word: "refused",
        about: refusal.code.title().to_owned(),
        next: text::sentence(refusal.detail.as_deref().unwrap_or_default()),
    };
    let mut taken: Vec<Taken> = sorted.refusals.iter().map(refused).collect();
    let mut items = Vec::new();
    for answers in sorted.calls() {
        items.extend(desk.offline_import(answers)?);
    }
    for item in items {
        if let Some(license) = &item.license {
            taken.push(Taken::license(license, item.changed));
        }
        if item.receipts > 0 {
            taken.push(Taken::new("receipts", item.receipts.to_string()));
        }
        if item.code.is_some() {
            taken.push(Taken {
                word: "refused",
                about: text::sentence(item.message.as_deref().unwrap_or_default()),
                next: text::sentence(item.advice.as_deref().unwrap_or_default()),
            });
        }
    }
    for damaged in &contents.damaged {
        taken.push(Taken::new("damaged", text::sentence(&damaged.damage.to_string())));
    }
    if contents.cut_off {
        taken.push(Taken::new("cut_off", ""));
    }
    if sorted.others > 0 {
        if taken.is_empty() {
            return Err(Trouble::new("not_for_this_machine", "none of the answers is for this computer"));
        }
        taken.push(Taken::new("others", sorted.others.to_string()));
    }
    if taken.is_empty() {
        let code = if sorted.requests > 0 { "not_an_offline_answer" } else { "nothing_new" };
        return Err(Trouble::new(code, "nothing in this file concerns this computer"));
    }
    Ok(taken)
}

/// A group of a typed code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) text: String,
    /// 0 not finished, 1 good, 2 wrong.
    pub(crate) mark: i32,
}

/// A code as far as it is typed: its groups, and whether it is whole.
pub(crate) fn typed(text: &str) -> (Vec<Group>, bool) {
    let words = text.lines().flat_map(split_groups).take(GROUPS + 8);
    let groups: Vec<Group> = words
        .enumerate()
        .map(|(at, word)| {
            let shown: String = word.chars().take(8).collect::<String>().to_uppercase();
            let mark = if word.chars().count() < GROUP_LEN {
                0
            } else if at < GROUPS && check_group(at + 1, &word).is_ok() {
                1
            } else {
                2
            };
            Group { text: text::line(&shown, 8), mark }
        })
        .collect();
    let whole = TypedCode::parse(text).is_ok();
    (groups, whole)
}
