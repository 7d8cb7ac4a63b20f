//! Offline documents as people carry them: requests with sentences for whoever opens the file, answers of every make.

use claviger_protocol::ids::MachineId;
use claviger_protocol::ipc::{License, OfflineReceiptReply, OfflineRequestReply};
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::code::{GROUP_LEN, GROUPS, TypedCode, check_group, split_groups};
use claviger_protocol::offline::{self, AnswerFor, BlockKind, FileKind, Portal, Refusal, RequestFrom};

use crate::desk::{Answer, Desk, Trouble};
use crate::text;

/// Most bytes of answers in one call to the daemon.
const CALL: usize = 200_000;

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
    let is_ours = |id: MachineId| machines.iter().any(|machine| machine.machine_id == id);
    let mut taken = Vec::new();
    let (mut ours, mut others, mut requests) = (Vec::new(), 0, 0);
    let alone = contents.blocks.len() == 1;
    for block in &contents.blocks {
        match block.kind {
            BlockKind::Request | BlockKind::Receipt => requests += 1,
            BlockKind::Refusal => {
                let refusal = Refusal::from_text(&block.text).filter(|refusal| is_ours(refusal.machine_id));
                taken.extend(refusal.map(|refusal| Taken {
                    word: "refused",
                    about: refusal.code.title().to_owned(),
                    next: text::sentence(refusal.detail.as_deref().unwrap_or_default()),
                }));
            }
            BlockKind::Response => {
                let whose = AnswerFor::read(&block.text);
                // The only answer goes to the daemon whatever it says: it knows best why it cannot be taken.
                if !alone && whose.is_ok_and(|whose| whose.machine_id.is_some_and(|id| !is_ours(id))) {
                    others += 1;
                } else {
                    ours.push(block.text.clone());
                }
            }
        }
    }
    for item in hand_over(desk, ours)? {
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
    if others > 0 {
        if taken.is_empty() {
            return Err(Trouble::new("not_for_this_machine", "none of the answers is for this computer"));
        }
        taken.push(Taken::new("others", others.to_string()));
    }
    if taken.is_empty() {
        let code = if requests > 0 { "not_an_offline_answer" } else { "nothing_new" };
        return Err(Trouble::new(code, "nothing in this file concerns this computer"));
    }
    Ok(taken)
}

fn hand_over(desk: &mut dyn Desk, answers: Vec<String>) -> Answer<Vec<claviger_protocol::ipc::OfflineItem>> {
    let mut items = Vec::new();
    let (mut call, mut bytes): (Vec<String>, usize) = (Vec::new(), 0);
    for answer in answers {
        if !call.is_empty() && (bytes + answer.len() > CALL || call.len() == 200) {
            items.extend(desk.offline_import(std::mem::take(&mut call))?);
            bytes = 0;
        }
        bytes += answer.len() + 3;
        call.push(answer);
    }
    if !call.is_empty() {
        items.extend(desk.offline_import(call)?);
    }
    Ok(items)
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
