//! What came back from vendors, as far as one computer is concerned.

use super::{AnswerFor, BlockKind, Contents, Refusal};
use crate::ids::MachineId;

/// Most bytes of answers in one call to the daemon, which has a bound of its own ([`crate::ipc::MAX_CALL_FRAME`]).
const MAX_CALL: usize = 200_000;
/// Most answers in one call.
const MAX_CALL_ANSWERS: usize = 200;

/// The contents of files, sorted for one computer.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// Answers for this computer, and those that do not say for which they are.
    pub ours: Vec<String>,
    /// How many answers are for others.
    pub others: usize,
    /// Requests of this computer that the vendor refused.
    pub refusals: Vec<Refusal>,
    /// How many requests and receipts there are: not what is imported.
    pub requests: usize,
    /// For which computer the only answer was made, as the file's sentences say.
    pub meant_for: Option<String>,
}

impl Sorted {
    /// Sorts what was read from files; `is_ours` knows this computer's machine ids, one a vendor.
    #[must_use]
    pub fn of(read: &[Contents], is_ours: impl Fn(MachineId) -> bool) -> Self {
        let mut sorted = Self::default();
        let alone = read.iter().map(|contents| contents.blocks.len()).sum::<usize>() == 1;
        for block in read.iter().flat_map(|contents| &contents.blocks) {
            match block.kind {
                BlockKind::Request | BlockKind::Receipt => sorted.requests += 1,
                BlockKind::Refusal => {
                    let refusal = Refusal::from_text(&block.text);
                    sorted.refusals.extend(refusal.filter(|refusal| is_ours(refusal.machine_id)));
                }
                BlockKind::Response => {
                    let whose = AnswerFor::read(&block.text);
                    let other = whose.is_ok_and(|whose| whose.machine_id.is_some_and(|id| !is_ours(id)));
                    // The only answer goes to the daemon whatever it says: it knows best why it cannot be taken.
                    if other && !alone {
                        sorted.others += 1;
                    } else {
                        sorted.meant_for = block.computer.clone().filter(|_| other);
                        sorted.ours.push(block.text.clone());
                    }
                }
            }
        }
        sorted
    }

    /// The answers for this computer, in parts that fit a call to the daemon.
    #[must_use]
    pub fn calls(&self) -> Vec<Vec<String>> {
        let mut calls: Vec<Vec<String>> = Vec::new();
        let mut bytes = 0;
        for answer in &self.ours {
            let full = bytes + answer.len() > MAX_CALL;
            match calls.last_mut().filter(|call| !full && call.len() < MAX_CALL_ANSWERS) {
                Some(call) => call.push(answer.clone()),
                None => {
                    bytes = 0;
                    calls.push(vec![answer.clone()]);
                }
            }
            // With its quotes and comma.
            bytes += answer.len() + 3;
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_bounded_and_nothing_is_lost() {
        let sorted = |lengths: &[usize]| Sorted {
            ours: lengths.iter().map(|length| "x".repeat(*length)).collect(),
            ..Sorted::default()
        };
        assert!(sorted(&[]).calls().is_empty());
        let parts = |lengths: &[usize]| sorted(lengths).calls().iter().map(Vec::len).collect::<Vec<_>>();
        // One that is longer than a call has one to itself: the daemon says what is wrong with it.
        assert_eq!(parts(&[MAX_CALL + 1, 10, MAX_CALL - 13, 1]), [1, 2, 1]);
        assert_eq!(parts(&[1; 401]), [200, 200, 1]);
    }
}
