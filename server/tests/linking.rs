//! The linking game of PRIVACY.md: two hundred installations report for a week, against someone who holds every database,
//! log, transcript and key of the server. Matching reports to installations must stay at chance. In three worlds that
//! lack one protection each, the same attackers must win, or the game would prove nothing.
//!
//! Tokens, reports and what is kept of them are the real ones; moments are drawn by a seeded generator, so that the game
//! ends the same way every time.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;

use claviger_protocol::clock::DAY;
use claviger_protocol::telemetry::voprf::{Blinder, Issuer, Pending, TokenClient as _, TokenIssuer as _};
use claviger_protocol::telemetry::{Element, REPORT_SCHEMA, Token, UsageReport, Uses, Week};
use ring::digest;
use ring::rand::SystemRandom;
use voprf_ng::{Ristretto255, VoprfClient};

const INSTALLATIONS: usize = 200;
const TITLES: u64 = 12;
/// Titles of one installation, and tokens that it fetches: the same number for all.
const MOST_TITLES: usize = 8;
const WEEK: u64 = 7 * DAY as u64;

/// Which protections a world has.
#[derive(Clone, Copy)]
struct Rules {
    blinding: bool,
    delay: bool,
    one_title: bool,
}

const REAL: Rules = Rules { blinding: true, delay: true, one_title: true };

/// What the server saw when it gave tokens: here it knows who asks.
struct Issuance {
    at: u64,
    blinded: Vec<Element>,
    evaluated: Vec<Element>,
}

/// What the server saw when a report came.
struct Arrival {
    at: u64,
    titles: BTreeSet<u64>,
    token: Token,
    /// The truth, which no attacker looks at.
    sender: usize,
}

/// Everything that the other side holds. The key is among it: the attackers know how tokens come about.
struct World {
    /// From the database of licenses: the titles that an installation has active.
    active: Vec<BTreeSet<u64>>,
    issued: Vec<Issuance>,
    arrivals: Vec<Arrival>,
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Draws the scalar 1 for ever: whoever blinds with it, does not blind.
struct One;

impl rand_core::TryRng for One {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(1)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(1)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(0);
        out[0] = 1;
        Ok(())
    }
}
impl rand_core::TryCryptoRng for One {}

/// As `Blinder::blind`, without blinding.
fn unblinded(count: usize) -> Vec<Pending> {
    let rng = SystemRandom::new();
    let one = || {
        let mut bytes = [0u8; 96];
        ring::rand::SecureRandom::fill(&rng, &mut bytes[..32]).unwrap();
        let state = VoprfClient::<Ristretto255>::blind(&bytes[..32], &mut One).unwrap().state;
        bytes[32..].copy_from_slice(&state.serialize());
        Pending::try_from(String::from(Token(bytes))).unwrap()
    };
    std::iter::repeat_with(one).take(count).collect()
}

fn play(rules: Rules) -> World {
    let mut dice = Dice(20_261_123);
    let rng = SystemRandom::new();
    let key = Issuer::from_seed(&[42; 32], b"a week").unwrap();
    let mut world = World { active: Vec::new(), issued: Vec::new(), arrivals: Vec::new() };
    for sender in 0..INSTALLATIONS {
        let mut active = BTreeSet::from([dice.below(TITLES)]);
        while active.len() < MOST_TITLES && dice.below(5) > 0 {
            active.insert(dice.below(TITLES));
        }
        // Tokens: a full batch at a random moment of the week, or right before the reports.
        let fetched = if rules.delay { dice.below(WEEK) } else { WEEK + dice.below(WEEK) };
        let pending =
            if rules.blinding { Blinder.blind(MOST_TITLES, &rng).unwrap() } else { unblinded(MOST_TITLES) };
        let blinded: Vec<Element> = pending.iter().map(Pending::blinded).collect();
        let (evaluated, proof) = key.evaluate(&blinded, &rng).unwrap();
        let mut tokens = Blinder.finish(&pending, &evaluated, &proof, &key.public()).unwrap();
        world.issued.push(Issuance { at: fetched, blinded, evaluated });

        // Reports: each title by itself, at a moment of its own in the week after.
        let mut moment = |nth: u64| {
            if rules.delay { WEEK + dice.below(WEEK) } else { fetched + 2 * nth + dice.below(2) }
        };
        let reports: Vec<BTreeSet<u64>> = if rules.one_title {
            active.iter().map(|title| BTreeSet::from([*title])).collect()
        } else {
            vec![active.clone()]
        };
        for (nth, titles) in reports.into_iter().enumerate() {
            let token = tokens.pop().unwrap();
            world.arrivals.push(Arrival { at: moment(nth as u64), titles, token, sender });
        }
        world.active.push(active);
    }
    // The server sees reports in the order in which they come.
    world.arrivals.sort_by_key(|arrival| arrival.at);
    assert!(world.arrivals.iter().all(|arrival| key.verify(&arrival.token)));
    world
}

/// Names a sender for each report, in their order.
type Attack = fn(&World) -> Vec<Option<usize>>;

/// Looks for the element behind a token: with the key, everything but the blind can be computed.
fn by_algebra(world: &World) -> Vec<Option<usize>> {
    let unblinded_output = |input: &[u8], element: &Element| {
        // RFC 9497, section 3.3.1: what Finalize hashes.
        let mut context = digest::Context::new(&digest::SHA512);
        for part in [&[0, 32][..], input, &[0, 32], &element.0, b"Finalize"] {
            context.update(part);
        }
        context.finish()
    };
    let guess = |arrival: &Arrival| {
        world.issued.iter().position(|issued| {
            let elements = issued.evaluated.iter().chain(&issued.blinded);
            elements.into_iter().any(|element| {
                unblinded_output(arrival.token.input(), element).as_ref() == arrival.token.output()
            })
        })
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one who fetched tokens last before the report came.
fn by_the_clock(world: &World) -> Vec<Option<usize>> {
    let guess = |arrival: &Arrival| {
        let before = world.issued.iter().enumerate().filter(|(_, issued)| issued.at <= arrival.at);
        before.max_by_key(|(_, issued)| issued.at).map(|(who, _)| who)
    };
    world.arrivals.iter().map(guess).collect()
}

/// The one who fetched tokens at the same time of the week: for whoever keeps a rhythm.
fn by_rhythm(world: &World) -> Vec<Option<usize>> {
    let guess = |arrival: &Arrival| {
        let apart = |issued: &Issuance| (issued.at % WEEK).abs_diff(arrival.at % WEEK);
        (0..world.issued.len()).min_by_key(|who| apart(&world.issued[*who]))
    };
    world.arrivals.iter().map(guess).collect()
}

/// The first fetch belongs to the first report, and so on.
fn by_rank(world: &World) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..world.issued.len()).collect();
    order.sort_by_key(|who| world.issued[*who].at);
    let reports = world.arrivals.len();
    (0..reports).map(|nth| order.get(nth * order.len() / reports).copied()).collect()
}

/// The one whose active titles fit best: exactly, or with the fewest others.
fn by_content(world: &World) -> Vec<Option<usize>> {
    let guess = |arrival: &Arrival| {
        let fits = (0..world.active.len()).filter(|who| world.active[*who].is_superset(&arrival.titles));
        fits.min_by_key(|who| world.active[*who].len())
    };
    world.arrivals.iter().map(guess).collect()
}

/// Among those whose titles fit, the one who fetched tokens last.
fn by_content_and_clock(world: &World) -> Vec<Option<usize>> {
    let guess = |arrival: &Arrival| {
        let fits = (0..world.active.len())
            .filter(|who| world.active[*who].is_superset(&arrival.titles))
            .filter(|who| world.issued[*who].at <= arrival.at);
        fits.max_by_key(|who| world.issued[*who].at)
    };
    world.arrivals.iter().map(guess).collect()
}

const ATTACKS: [(&str, Attack); 6] = [
    ("algebra", by_algebra),
    ("clock", by_the_clock),
    ("rhythm", by_rhythm),
    ("rank", by_rank),
    ("content", by_content),
    ("content and clock", by_content_and_clock),
];

fn right(world: &World, attack: Attack) -> f64 {
    let guesses = attack(world);
    let hits = guesses.iter().zip(&world.arrivals).filter(|(guess, a)| **guess == Some(a.sender)).count();
    hits as f64 / world.arrivals.len() as f64
}

/// What somebody gets who picks at random among those who have the title active: that a title is active is known anyway.
fn chance(world: &World) -> f64 {
    let of = |arrival: &Arrival| {
        let fits = world.active.iter().filter(|active| active.is_superset(&arrival.titles)).count();
        1.0 / fits as f64
    };
    world.arrivals.iter().map(of).sum::<f64>() / world.arrivals.len() as f64
}

/// The best that an attacker gets, and how.
fn best(world: &World) -> (f64, &'static str) {
    let all = ATTACKS.map(|(name, attack)| (right(world, attack), name));
    all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn nobody_can_tell_who_sent_a_report() {
    let world = play(REAL);
    let (reports, chance) = (world.arrivals.len() as f64, chance(&world));
    assert!(reports > 600.0 && chance < 0.02, "{reports} reports, chance {chance}");
    // Hits are rare and independent: four standard deviations above their mean are luck in one game of 30,000.
    let luck = chance + 4.0 * (chance / reports).sqrt();
    for (name, attack) in ATTACKS {
        let right = right(&world, attack);
        assert!(right <= luck, "by {name}: {right:.4} of the reports, chance is {chance:.4}");
    }
    assert!(right(&world, by_algebra) == 0.0, "no element that the server saw leads to a token");
}

#[test]
fn without_blinding_the_attacker_wins() {
    let (right, how) = best(&play(Rules { blinding: false, ..REAL }));
    assert!(right == 1.0 && how == "algebra", "{right} by {how}");
}

#[test]
fn without_delay_the_attacker_wins() {
    let (right, how) = best(&play(Rules { delay: false, ..REAL }));
    assert!(right > 0.9 && how.contains("clock"), "{right} by {how}");
}

#[test]
fn with_several_titles_in_a_report_the_attacker_wins() {
    let (right, how) = best(&play(Rules { one_title: false, ..REAL }));
    assert!(right > 0.5 && how == "content", "{right} by {how}");
}

/// What is kept of a report is the same whoever sent it, and in no order.
#[test]
fn a_report_looks_the_same_from_everyone() {
    let report = |token: Token| UsageReport {
        schema: REPORT_SCHEMA,
        week: "2027-W01".parse::<Week>().unwrap(),
        product_id: "com.example.synth".parse().unwrap(),
        product_version: "1.0".parse().unwrap(),
        daw: "reaper".parse().unwrap(),
        uses: Uses::Once,
        token,
    };
    let (one, two) = (report(Token([1; 96])).to_body(), report(Token([2; 96])).to_body());
    assert_eq!(one.len(), two.len());
    let differ: Vec<usize> = (0..one.len()).filter(|at| one.as_bytes()[*at] != two.as_bytes()[*at]).collect();
    let token = one.find("\"token\":\"").unwrap() + "\"token\":\"".len();
    assert!(differ.iter().all(|at| (token..token + 128).contains(at)), "they differ in the token alone");
}
