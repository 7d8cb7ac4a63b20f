//! The consent machine against a model of what people were promised, over random lives: grants, refusals, withdrawals,
//! new policies, vetoes, clocks that jump, crashes, weeks without a network. Whatever happens: no byte of statistics
//! without a consent that is current at that moment, and nothing recorded before a grant is ever sent.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

#[path = "common/statistics.rs"]
mod statistics;

use std::collections::{BTreeMap, BTreeSet};

use claviger_daemon::consent::{InForce, KEPT, Ledger, Seen, Veto};
use claviger_daemon::telemetry::{Dice as _, Kind, Outgoing, Task, TaskFailure};
use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::ids::{Nonce, ProductId, VendorId};
use claviger_protocol::ipc::ConsentState;
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::{
    BATCH, Notice, NoticeReference, Plan, PlanTitle, PlanWeek, Token, TokenKey, UsageReport, Uses, Week,
    closes,
};
use statistics::{Chance, Numbered, notice, numbered, numbered_body};

/// Lives in every run, and behind `--slow`.
const LIVES: u64 = 2_000;
const LIVES_SLOW: u64 = 100_000;
/// Events of one life.
const EVENTS: usize = 80;
const BEGIN: i64 = 1_800_000_000;

fn products() -> [ProductId; 3] {
    ["synth", "fx", "rare"].map(|name| format!("com.example.{name}").parse().unwrap())
}

/// One computer, one person, one vendor, and what is known to be true about them.
struct Life {
    chance: Chance,
    /// What would be on disk; written out when a crash makes it count.
    disk: Option<Ledger>,
    ledger: Ledger,
    clock: i64,
    high_water: i64,
    notice: Notice,
    veto: Option<Veto>,
    offline: bool,
    /// The question that is open: the notice it showed.
    open: Option<Seen>,
    // The model.
    /// The agreement in force: its number, since when, and the policy agreed to.
    agreed: Option<(u32, i64, u32)>,
    /// Since when is counted under it: later than the grant after a veto.
    counting_since: i64,
    refused: Option<(i64, u32)>,
    eras: u32,
    uses: BTreeMap<(u32, Week, ProductId), u64>,
    tokens_made: u64,
    spent: BTreeMap<Token, String>,
    policy: u32,
    pub sent: [u64; 4],
}

impl Life {
    fn new(seed: u64) -> Self {
        let vendor: VendorId = "com.example".parse().unwrap();
        let mut chance = Chance(seed);
        let begin = BEGIN + i64::try_from(chance.below(20 * 7 * 86_400)).unwrap();
        Self {
            chance,
            disk: None,
            ledger: Ledger::new(vendor, Nonce([1; 16]), Nonce([2; 16]), Nonce([3; 16])),
            clock: begin,
            high_water: begin,
            notice: notice(1, 1),
            veto: None,
            offline: false,
            open: None,
            agreed: None,
            counting_since: 0,
            refused: None,
            eras: 0,
            uses: BTreeMap::new(),
            tokens_made: 0,
            spent: BTreeMap::new(),
            policy: 1,
            sent: [0; 4],
        }
    }

    fn moment(&mut self) -> Timestamp {
        self.high_water = self.high_water.max(self.clock);
        Timestamp(self.high_water)
    }

    fn sha(&self) -> Sha256 {
        Sha256::of(self.notice.version.to_string().as_bytes())
    }

    fn seen(&self) -> Seen {
        let (language, text) = self.notice.text("en");
        Seen { reference: NoticeReference::new(&self.notice, self.sha(), language), shown: text.hash() }
    }

    /// What the promise says about this moment.
    fn settle_model(&mut self, now: i64) {
        let over = |since: i64, policy: u32, current: u32| now >= since + KEPT || policy != current;
        if self.agreed.is_some_and(|(_, since, policy)| over(since, policy, self.policy)) {
            self.agreed = None;
        }
        if self.refused.is_some_and(|(since, policy)| over(since, policy, self.policy)) {
            self.refused = None;
        }
    }

    fn era(&mut self) -> Option<u32> {
        let now = self.moment().0;
        self.settle_model(now);
        self.agreed.filter(|_| self.veto.is_none()).map(|(era, ..)| era)
    }

    fn store(&mut self) {
        self.disk = Some(self.ledger.clone());
    }

    /// What a process finds that begins after this one was killed.
    fn crash(&mut self) {
        if let Some(disk) = &self.disk {
            let text = serde_json::to_string(disk).unwrap();
            self.ledger = serde_json::from_str(&text).unwrap();
            assert!(self.ledger.is_whole());
        }
    }

    fn step(&mut self) {
        let now = self.moment();
        match self.chance.below(100) {
            // The notice is shown and the question asked; it may stay open while the world turns.
            0..=9 => {
                let (notice, seen) = (self.notice.clone(), self.seen());
                self.settle(now);
                self.ledger.request(now, &notice, &seen);
                self.store();
                self.open = Some(seen);
            }
            10..=17 => self.grant(now),
            18..=20 => {
                self.settle(now);
                let seen = self.open.take();
                let notice = self.notice.clone();
                let current = seen.filter(|s| s.reference.sha256 == self.sha());
                self.ledger.refuse(now, current.as_ref().map(|seen| (&notice, seen)));
                if self.agreed.take().is_none() && self.refused.is_none() {
                    // A refusal without a notice is about nothing that could change.
                    self.refused = Some((now.0, self.policy));
                }
                self.store();
                self.nothing_gathered();
            }
            21..=23 => {
                self.ledger.withdraw(now);
                self.agreed = None;
                self.store();
                self.nothing_gathered();
            }
            24..=25 => {
                // A corrected word, or a new policy.
                let changed = self.chance.below(2) == 1;
                self.policy += u32::from(changed);
                self.notice = notice(self.notice.version + 1, self.policy);
            }
            26..=27 => {
                self.veto = match self.chance.below(4) {
                    0 => Some(Veto::Policy),
                    1 => Some(Veto::DoNotTrack),
                    _ => None,
                };
                if self.veto.is_some() {
                    self.settle(now);
                    self.store();
                    self.nothing_gathered();
                    // What was counted under it until now is gone; what comes later begins anew.
                    self.uses.clear();
                    self.counting_since = i64::MAX;
                }
            }
            28..=29 => self.offline = !self.offline,
            30..=33 => {
                // Killed: what was stored is what there is. A change that was not stored never happened.
                self.crash();
                self.open = None;
            }
            34..=36 => self.clock -= i64::try_from(self.chance.below(40 * 86_400)).unwrap(),
            37..=55 => self.clock += i64::try_from(self.chance.below(3 * 86_400)).unwrap(),
            56..=60 => self.clock += i64::try_from(self.chance.below(12 * 86_400)).unwrap(),
            61 => self.clock += i64::try_from(self.chance.below(500 * 86_400)).unwrap(),
            62..=80 => self.use_title(now),
            _ => self.wake(),
        }
        self.check();
    }

    fn settle(&mut self, now: Timestamp) {
        let sha = self.sha();
        self.ledger.settle(now, Some(InForce { notice: &self.notice, sha256: sha }), self.veto);
    }

    fn grant(&mut self, now: Timestamp) {
        let Some(seen) = self.open.take() else { return };
        let era = self.era();
        let sha = self.sha();
        let in_force = InForce { notice: &self.notice, sha256: sha };
        let given = self.ledger.grant(now, in_force, &seen, self.veto);
        let may = self.veto.is_none() && seen.reference.sha256 == sha;
        assert_eq!(given.is_ok(), may, "{given:?}");
        if may {
            self.store();
            match era {
                // Renewed: it goes on.
                Some(era) => self.agreed = Some((era, now.0, self.policy)),
                None => {
                    self.eras += 1;
                    self.agreed = Some((self.eras, now.0, self.policy));
                    self.counting_since = now.0;
                }
            }
            if self.counting_since == i64::MAX {
                self.counting_since = now.0;
            }
            self.refused = None;
        }
    }

    /// Uses carry the number of the agreement they were made under, as their version; 0 for none.
    fn use_title(&mut self, now: Timestamp) {
        let product = products()[usize::try_from(self.chance.below(3)).unwrap()].clone();
        let era = self.era();
        let version = format!("1.0.{}", era.unwrap_or(0)).parse().unwrap();
        let sha = self.sha();
        let in_force = InForce { notice: &self.notice, sha256: sha };
        let proof = self.ledger.consented(now, Some(in_force), self.veto);
        assert_eq!(proof.is_some(), era.is_some(), "proof and promise differ");
        if let Some(mut proof) = proof {
            proof.count(&product, version, Daw::Reaper);
            *self.uses.entry((era.unwrap(), Week::of(now), product)).or_default() += 1;
            if self.counting_since == i64::MAX {
                self.counting_since = now.0;
            }
        }
        self.store();
    }

    /// The daemon looks at what is due, as its scheduler does.
    fn wake(&mut self) {
        for _ in 0..12 {
            let now = self.moment();
            let era = self.era();
            let sha = self.sha();
            let in_force = InForce { notice: &self.notice, sha256: sha };
            let Some(mut proof) = self.ledger.consented(now, Some(in_force), self.veto) else {
                assert_eq!(era, None, "no proof in spite of an agreement");
                self.store();
                self.nothing_gathered();
                return;
            };
            assert!(era.is_some(), "a proof without an agreement");
            if self.counting_since == i64::MAX {
                self.counting_since = now.0;
            }
            proof.advance(&mut self.chance);
            let deadline = proof.next_deadline().expect("who agreed is looked after");
            assert!(deadline <= Week::of(now).end(), "looked after every week");
            let asleep = deadline.0 - now.0;
            match proof.next_task() {
                None => {
                    self.store();
                    // The alarm rings, or the computer is switched off before it does.
                    if asleep <= 0 || self.chance.below(8) == 0 {
                        return;
                    }
                    self.clock = self.clock.max(now.0) + asleep;
                }
                Some(Task::Ask(week)) => {
                    let pending = (0..BATCH as u64).map(|n| numbered(self.tokens_made + n)).collect();
                    self.tokens_made += BATCH as u64;
                    proof.asked(week, format!("batch of {week}"), pending);
                    self.store();
                }
                Some(Task::Send(outgoing)) => {
                    self.store();
                    self.send(now, era.unwrap(), &outgoing);
                }
            }
        }
    }

    fn send(&mut self, now: Timestamp, era: u32, outgoing: &Outgoing) {
        assert!(now.0 >= self.counting_since + 7 * DAY, "sent within seven days of the grant");
        let fate = self.chance.below(10);
        // 0: the answer is lost on its way back; 1: refused for ever; 2: killed before the answer is stored.
        let failure = match (self.offline, fate) {
            (true, _) => Some(TaskFailure::Later),
            (false, 0) => Some(TaskFailure::Later),
            (false, 1) => Some(TaskFailure::Never),
            _ => None,
        };
        if !self.offline {
            self.receive(now, era, outgoing);
        }
        if fate == 2 {
            self.crash();
            // Not at once again: a loop of kills is no life.
            self.clock += 7_200;
            return;
        }
        let sha = self.sha();
        let in_force = InForce { notice: &self.notice, sha256: sha };
        let mut proof = self.ledger.consented(now, Some(in_force), self.veto).unwrap();
        match (failure, outgoing.kind()) {
            (Some(failure), kind) => proof.failed(kind, failure, &mut self.chance),
            (None, Kind::Notice) => {}
            (None, Kind::Plan) => {
                let plan = plan(Week::of(now));
                proof.take_plans(vec![plan], &mut self.chance).unwrap();
            }
            (None, Kind::Tokens(week)) => {
                proof.take_tokens(*week, &numbered_body(), &Numbered, &mut self.chance).unwrap();
            }
            (None, Kind::Report(week, product)) => proof.reported(*week, product),
        }
        self.store();
    }

    /// What the vendor sees, held against the promise.
    fn receive(&mut self, now: Timestamp, era: u32, outgoing: &Outgoing) {
        let kind = match outgoing.kind() {
            Kind::Notice => 0,
            Kind::Plan => 1,
            Kind::Tokens(_) => 2,
            Kind::Report(..) => 3,
        };
        self.sent[kind] += 1;
        let Kind::Report(week, product) = outgoing.kind() else { return };
        let body = outgoing.body().unwrap();
        let report = UsageReport::from_body(body.as_bytes()).unwrap();
        assert_eq!((report.week, &report.product_id), (*week, product));
        assert!(week.end() <= now && now < closes(*week), "{week} reported at {now}");
        assert_eq!(
            report.product_version.as_str(),
            format!("1.0.{era}"),
            "uses of another agreement were sent"
        );
        let uses = self.uses[&(era, *week, product.clone())];
        assert_eq!(Some(report.uses), Uses::of(uses));
        assert_ne!(product.as_str(), "com.example.rare", "a title that is not eligible");
        // One report a title and week: a repetition is the very same bytes.
        let before = self.spent.insert(report.token, body.to_owned());
        assert!(before.is_none_or(|bytes| bytes == body), "a token was spent on two reports");
        let same: BTreeSet<&String> = self
            .spent
            .values()
            .filter(|b| {
                let other = UsageReport::from_body(b.as_bytes()).unwrap();
                other.week == *week
                    && other.product_id == *product
                    && other.product_version == report.product_version
            })
            .collect();
        assert_eq!(same.len(), 1, "two reports about one title and week");
    }

    fn nothing_gathered(&self) {
        assert!(!self.ledger.has_gathered());
        let disk = serde_json::to_string(self.disk.as_ref().unwrap()).unwrap();
        for word in ["gathered", "cells", "tokens", "queue", "pending"] {
            assert!(!disk.contains(&format!("\"{word}\"")), "{word} is still on disk: {disk}");
        }
    }

    fn check(&mut self) {
        let now = self.moment().0;
        self.settle_model(now);
        let state = self.ledger.state();
        // What was gathered is there only in the state of an agreement.
        assert!(!self.ledger.has_gathered() || state == ConsentState::Given);
        if self.agreed.is_some() {
            assert_eq!(state, ConsentState::Given);
        }
    }
}

fn plan(week: Week) -> Plan {
    let versions = |_| (0..16).map(|era| format!("1.0.{era}").parse().unwrap()).collect();
    Plan {
        iss: "com.example".parse().unwrap(),
        iat: Timestamp(0),
        weeks: (-5..9).map(|n| week.plus(n)).map(|week| PlanWeek { week, key: TokenKey([9; 32]) }).collect(),
        titles: products()[..2]
            .iter()
            .map(|product| PlanTitle { product: product.clone(), versions: versions(product) })
            .collect(),
        daws: vec![Daw::Reaper],
    }
}

#[test]
fn whatever_happens_the_promise_holds() {
    let slow = std::env::var_os("CLAVIGER_TEST_SLOW").is_some();
    let lives = if slow { LIVES_SLOW } else { LIVES };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let (sent, eras) = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || live_all((first..lives).step_by(usize::try_from(threads).unwrap())))
            })
            .collect();
        let done = all.into_iter().map(|thread| thread.join().unwrap());
        done.fold(([0; 4], 0), |(mut sent, eras), (more, era)| {
            sent.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
            (sent, eras + era)
        })
    });
    // Lives in which nothing happens would prove nothing.
    println!("{lives} lives: {eras} agreements; plans {}, tokens {}, reports {}", sent[1], sent[2], sent[3]);
    assert!(eras > lives / 2 && sent[1] > lives / 2 && sent[2] > lives / 2 && sent[3] > lives / 10);
}

/// Lives through the lives of these seeds: what was sent in them, and how many agreements there were.
fn live_all(seeds: impl Iterator<Item = u64>) -> ([u64; 4], u64) {
    let (mut sent, mut eras) = ([0; 4], 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed);
            for _ in 0..EVENTS {
                life.step();
            }
            assert!(life.ledger.is_whole());
            (life.sent, life.eras)
        });
        let (one, era) = outcome.unwrap_or_else(|_| panic!("the life of seed {seed} broke the promise"));
        sent.iter_mut().zip(one).for_each(|(sum, n)| *sum += n);
        eras += u64::from(era);
    }
    (sent, eras)
}
