//! The linking game with the daemon's own moments: two hundred installations whose real schedulers draw when tokens are
//! fetched and reports sent, against someone who sees every moment, knows who fetched when, and which titles each has.
//! (What can be computed from tokens is the game of `server/tests/linking.rs`.)
//!
//! Reports of computers that are always on stay at chance. Those of ones that are on for some hours of each day are guessed
//! at most twice as often: that somebody keeps early or late hours is known from the request for tokens. One that is on for an hour a
//! week of its own is found out, because there is nothing else to be random in: docs/privacy.md says so, and here it shows that the
//! attackers can win.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

#[path = "common/statistics.rs"]
mod statistics;

use std::collections::BTreeSet;

use claviger_daemon::consent::{InForce, Ledger, Seen};
use claviger_daemon::telemetry::{Dice, Kind, Task};
use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::ids::{Nonce, ProductId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::{
    BATCH, Notice, NoticeReference, Plan, PlanTitle, PlanWeek, TokenKey, Week, closes,
};
use statistics::{Chance, Numbered, notice, numbered, numbered_body};

const INSTALLATIONS: usize = 200;
const TITLES: u64 = 12;
const HOUR: i64 = 3_600;
const WEEK: i64 = 7 * DAY;

/// When a computer is on: from `begin` seconds into each period on, for `length` seconds.
#[derive(Clone, Copy)]
struct Habit {
    period: i64,
    begin: i64,
    length: i64,
}

impl Habit {
    /// The first moment from `at` on at which it is on.
    fn on_from(self, at: Timestamp) -> Timestamp {
        let into = (at.0 - self.begin).rem_euclid(self.period);
        if into < self.length { at } else { at.plus(self.period - into) }
    }
}

/// What the other side saw.
struct World {
    active: Vec<BTreeSet<ProductId>>,
    /// When each installation fetched the week's tokens; long before everything where it did not in time.
    fetched: Vec<i64>,
    /// When a report came, about which title; and the truth, which no attacker looks at.
    arrivals: Vec<(i64, ProductId, usize)>,
}

fn week() -> Week {
    "2027-W03".parse().unwrap()
}

fn title(number: u64) -> ProductId {
    format!("com.example.title{number}").parse().unwrap()
}

fn plan() -> Plan {
    let key = TokenKey([9; 32]);
    let weeks = (-4..9).map(|n| week().plus(n)).map(|week| PlanWeek { week, key });
    Plan {
        iss: "com.example".parse().unwrap(),
        iat: Timestamp(0),
        weeks: weeks.collect(),
        titles: (0..TITLES).map(|n| PlanTitle { product: title(n), versions: vec![] }).collect(),
        daws: vec![Daw::Reaper],
    }
}

fn play(seed: u64, habit: impl Fn(&mut Chance) -> Habit) -> World {
    let notice = notice(1, 1);
    let mut world = World { active: Vec::new(), fetched: Vec::new(), arrivals: Vec::new() };
    let mut dice = Chance(seed);
    for who in 0..INSTALLATIONS {
        let mut active = BTreeSet::from([title(dice.below(TITLES))]);
        while active.len() < 8 && dice.below(5) > 0 {
            active.insert(title(dice.below(TITLES)));
        }
        let habit = habit(&mut dice);
        let mut fetched: Option<i64> = None;
        live(&notice, habit, &active, &mut dice, |at, kind| match kind {
            Kind::Tokens(of) if *of == week() => fetched = Some(at),
            Kind::Report(of, product) if *of == week() => world.arrivals.push((at, product.clone(), who)),
            _ => {}
        });
        world.active.push(active);
        world.fetched.push(fetched.unwrap_or(i64::MIN / 4));
    }
    world.arrivals.sort();
    world
}

/// One installation, from two weeks before the week until it closes.
fn live(
    notice: &Notice,
    habit: Habit,
    active: &BTreeSet<ProductId>,
    dice: &mut Chance,
    mut seen: impl FnMut(i64, &Kind),
) {
    let sha = Sha256::of(b"notice");
    let in_force = InForce { notice, sha256: sha };
    let (language, text) = notice.text("en");
    let shown = Seen { reference: NoticeReference::new(notice, sha, language), shown: text.hash() };
    let mut ledger =
        Ledger::new("com.example".parse().unwrap(), Nonce([1; 16]), Nonce([2; 16]), Nonce([3; 16]));
    let spread = |dice: &mut Chance, within: i64| i64::try_from(dice.below(within.unsigned_abs())).unwrap();
    let mut now = habit.on_from(week().start().plus(-2 * WEEK + spread(dice, 3 * DAY)));
    // Whoever is on once a week makes music then.
    let used =
        habit.on_from(week().start().plus(if habit.period == WEEK { 0 } else { spread(dice, 6 * DAY) }));
    let mut counted = false;
    ledger.grant(now, in_force, &shown, None).unwrap();
    while now < closes(week()) {
        let mut proof = ledger.consented(now, Some(in_force), None).unwrap();
        if !counted && used <= now && Week::of(now) == week() {
            counted = true;
            for product in active {
                proof.count(product, "1.0".parse().unwrap(), Daw::Reaper);
            }
        }
        proof.advance(dice);
        match proof.next_task() {
            Some(Task::Ask(of)) => {
                let pending = (0..BATCH as u64).map(numbered).collect();
                proof.asked(of, "batch".to_owned(), pending);
                continue;
            }
            Some(Task::Send(outgoing)) => {
                seen(now.0, outgoing.kind());
                match outgoing.kind() {
                    Kind::Notice => {}
                    Kind::Plan => proof.take_plans(vec![plan()], dice).unwrap(),
                    Kind::Tokens(of) => proof.take_tokens(*of, &numbered_body(), &Numbered, dice).unwrap(),
                    Kind::Report(of, product) => proof.reported(*of, product),
                }
                continue;
            }
            None => {}
        }
        let next = proof.next_deadline().unwrap().max(now.plus(1));
        let next = if !counted && used > now { next.min(used) } else { next };
        now = habit.on_from(next);
    }
}

type Attack = fn(&World) -> Vec<Option<usize>>;

/// The one who fetched tokens last before the report came.
fn by_the_clock(world: &World) -> Vec<Option<usize>> {
    let guess = |(at, ..): &(i64, ProductId, usize)| {
        (0..INSTALLATIONS).filter(|who| world.fetched[*who] <= *at).max_by_key(|who| world.fetched[*who])
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one who fetched tokens at the same time of the week.
fn by_rhythm(world: &World) -> Vec<Option<usize>> {
    let guess = |(at, ..): &(i64, ProductId, usize)| {
        (0..INSTALLATIONS).min_by_key(|who| apart(world.fetched[*who], *at, WEEK))
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one who fetched tokens at the same time of the day, and has the title.
fn by_content_and_time_of_day(world: &World) -> Vec<Option<usize>> {
    let guess = |(at, product, _): &(i64, ProductId, usize)| {
        let fits = (0..INSTALLATIONS).filter(|who| world.active[*who].contains(product));
        fits.min_by_key(|who| apart(world.fetched[*who], *at, DAY))
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one who fetched tokens at the same time of the week, and has the title.
fn by_content_and_rhythm(world: &World) -> Vec<Option<usize>> {
    let guess = |(at, product, _): &(i64, ProductId, usize)| {
        let fits = (0..INSTALLATIONS).filter(|who| world.active[*who].contains(product));
        fits.min_by_key(|who| apart(world.fetched[*who], *at, WEEK))
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one whose titles fit and who fetched tokens last.
fn by_content_and_clock(world: &World) -> Vec<Option<usize>> {
    let guess = |(at, product, _): &(i64, ProductId, usize)| {
        let fits = (0..INSTALLATIONS).filter(|who| world.active[*who].contains(product));
        fits.filter(|who| world.fetched[*who] <= *at).max_by_key(|who| world.fetched[*who])
    };
    world.arrivals.iter().map(guess).collect()
}

/// How far two moments are apart in a rhythm.
fn apart(one: i64, other: i64, period: i64) -> i64 {
    let apart = (one - other).rem_euclid(period);
    apart.min(period - apart)
}

const ATTACKS: [(&str, Attack); 5] = [
    ("clock", by_the_clock),
    ("rhythm", by_rhythm),
    ("content and time of day", by_content_and_time_of_day),
    ("content and rhythm", by_content_and_rhythm),
    ("content and clock", by_content_and_clock),
];

/// Games of each kind, with other dice.
const GAMES: u64 = 5;

/// What each attacker gets, as a part of all reports; and what picking at random among those who have the title gets.
struct Outcome {
    right: [(f64, &'static str); ATTACKS.len()],
    chance: f64,
    reports: f64,
}

impl Outcome {
    fn of(habit: impl Fn(&mut Chance) -> Habit) -> Self {
        let mut outcome = Self { right: ATTACKS.map(|(name, _)| (0.0, name)), chance: 0.0, reports: 0.0 };
        for game in 0..GAMES {
            let world = play(20_261_126 + game, &habit);
            for (sum, (_, attack)) in outcome.right.iter_mut().zip(ATTACKS) {
                let guesses = attack(&world);
                let right =
                    guesses.iter().zip(&world.arrivals).filter(|(guess, (.., who))| **guess == Some(*who));
                sum.0 += right.count() as f64;
            }
            let having =
                |product| world.active.iter().filter(|active| active.contains(product)).count() as f64;
            outcome.chance += world.arrivals.iter().map(|(_, product, _)| 1.0 / having(product)).sum::<f64>();
            outcome.reports += world.arrivals.len() as f64;
        }
        outcome.right.iter_mut().for_each(|(sum, _)| *sum /= outcome.reports);
        outcome.chance /= outcome.reports;
        outcome
    }

    fn best(&self) -> (f64, &'static str) {
        self.right.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    fn text(&self) -> String {
        format!("{} reports, chance {:.4}, {:.4?}", self.reports, self.chance, self.right)
    }
}

#[test]
fn the_daemon_s_own_moments_lead_to_nobody() {
    let outcome = Outcome::of(|_| Habit { period: DAY, begin: 0, length: DAY });
    println!("always on: {}", outcome.text());
    assert!(outcome.reports > 3_000.0 && outcome.chance < 0.02);
    // Four standard deviations above the mean of rare hits are luck.
    let luck = outcome.chance + 4.0 * (outcome.chance / outcome.reports).sqrt();
    let (best, how) = outcome.best();
    assert!(best <= luck, "{best:.4} by {how}, chance is {:.4}", outcome.chance);
}

#[test]
fn hours_that_many_share_tell_little() {
    // On in the evening, as most are.
    let outcome = Outcome::of(|dice| Habit {
        period: DAY,
        begin: 17 * HOUR + i64::try_from(dice.below(3 * 3_600)).unwrap(),
        length: 4 * HOUR,
    });
    println!("evenings: {}", outcome.text());
    assert!(outcome.reports > 3_000.0);
    let (best, how) = outcome.best();
    assert!(best <= 2.0 * outcome.chance, "{best:.4} by {how}, chance is {:.4}", outcome.chance);
}

#[test]
fn an_hour_a_week_of_one_s_own_tells_who_it_is() {
    let outcome = Outcome::of(|dice| Habit {
        period: WEEK,
        begin: i64::try_from(dice.below(604_800)).unwrap(),
        length: HOUR,
    });
    println!("an hour a week: {}", outcome.text());
    let (best, how) = outcome.best();
    assert!(best > 0.5, "the attackers cannot win: {best:.4} by {how}, chance is {:.4}", outcome.chance);
}
