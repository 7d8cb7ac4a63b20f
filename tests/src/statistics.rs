//! A vendor whose plans list a title: it asks with a notice, and fifty installations take part. The calendar is the test's,
//! and so is everybody but the person that the test is about.

use std::time::{Duration, Instant};

use claviger_protocol::clock::{Clock as _, DAY, SystemClock, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::documents::Keyset;
use claviger_protocol::telemetry::voprf::{Blinder, TokenClient as _};
use claviger_protocol::telemetry::{
    PLAN_PATH, Plan, PlanBody, REPORT_PATH, REPORT_SCHEMA, TOKENS_PATH, TokensBody, UsageReport, Uses, Week,
};
use claviger_server::telemetry::{LEAST_INSTALLATIONS, Quarter};
use serde_json::{Value, json};

use crate::device::Device;
use crate::held::HeldClock;
use crate::http::Client;
use crate::machine::Machine;
use crate::process::PATIENCE;
use crate::world::{PRODUCT, Setting, World};

/// The version of [`PRODUCT`] that the vendor has released.
pub const VERSION: &str = "2.4.1";
const HOUR: i64 = 3_600;

/// The vendor.
#[derive(Debug)]
pub struct Statistics {
    /// Its server and its customers.
    pub world: World,
    /// The first week whose plan lists the title.
    pub first: Week,
    others: Vec<Device>,
}

/// What the vendor asks with.
#[must_use]
pub fn notice() -> Value {
    json!({
        "id": "usage-statistics",
        "controller": { "name": "Soluna GmbH", "address": "Street 1\nTown", "contact": "privacy@soluna.example" },
        "recipients": [],
        "retention_days": 730,
        "jurisdiction": "DE",
        "authority": { "name": "BfDI", "url": "https://authority.example" },
        "policy": { "url": "https://soluna.example/privacy", "version": "2026-01-01" },
        "texts": { "en": { "title": "May we count?", "text": "How often titles are used.\n\nWe learn that you take part." } },
    })
}

/// Waits until `what` gives something.
pub fn wait_for<T>(name: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = what() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "still waiting for {name}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl World {
    /// Signs the notice that people are asked with.
    pub fn ask_for_statistics(&self) {
        let path = self.path("notice.json");
        std::fs::write(&path, notice().to_string()).unwrap();
        let _said = self.server(&["notice", "add", path.to_str().unwrap()]).ok();
    }
}

impl Statistics {
    /// Ten days before [`Statistics::first`], when the plan about it is signed.
    #[must_use]
    pub fn begin(setting: Setting) -> Self {
        // Ahead of the system's clock by a quarter at least, and at the same place in a quarter every day.
        let first = Quarter::of(Week::of(SystemClock.now())).next().next().first();
        let begin = Some(first.plus(-5).start().plus(HOUR));
        let mut world = World::begin(&Setting { begin, ..setting });
        world.ask_for_statistics();
        let _said = world.server(&["telemetry", "release", "add", PRODUCT, "2.4.0", VERSION]).ok();
        world.start_server();
        let license = world.issue(60);
        let others: Vec<Device> =
            (0..LEAST_INSTALLATIONS).map(|n| Device::new(&world.vendor, &format!("studio {n}"))).collect();
        let week = first.plus(-4);
        world.clock().go_to(week.start().plus(HOUR));
        let mut http = world.http();
        for device in &others {
            let reply = http.send("activate", &device.activate(&license));
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
            let (request, _) = device.ask_for_tokens(week);
            let reply = http.post(TOKENS_PATH, &request);
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        }
        let statistics = Self { world, first, others };
        // While no plan lists a title, the next one is signed two weeks ahead.
        statistics.clock().go_to(first.start().plus(-14 * DAY + HOUR));
        wait_for("a plan with a title", || {
            statistics.plans().iter().any(|plan| !plan.titles.is_empty()).then_some(())
        });
        statistics.clock().go_to(first.start().plus(-10 * DAY));
        statistics
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &HeldClock {
        self.world.clock()
    }

    fn plans(&self) -> Vec<Plan> {
        let (anchor, keyset) = self.world.anchor();
        let keyset = Keyset::verify(&keyset, &anchor).unwrap();
        let body: PlanBody = serde_json::from_slice(&self.world.http().get(PLAN_PATH).body).unwrap();
        body.plans.iter().map(|text| Plan::verify(text, &keyset).unwrap()).collect()
    }

    /// Others fetch their tokens of a week, while it goes on or after it.
    #[must_use]
    pub fn others_fetch_tokens(&self, week: Week, count: usize) -> Vec<UsageReport> {
        let plans = self.plans();
        let key = plans.iter().find_map(|plan| plan.key(week)).unwrap();
        let mut http = self.world.http();
        let mut fetch = |device: &Device| {
            let (request, pending) = device.ask_for_tokens(week);
            let body: TokensBody = serde_json::from_slice(&http.post(TOKENS_PATH, &request).body).unwrap();
            let mut tokens = Blinder.finish(&pending, &body.elements, &body.proof, key).unwrap();
            UsageReport {
                schema: REPORT_SCHEMA,
                week,
                product_id: PRODUCT.parse().unwrap(),
                product_version: VERSION.parse().unwrap(),
                daw: Daw::Reaper,
                uses: Uses::From2To4,
                token: tokens.pop().unwrap(),
            }
        };
        self.others[..count].iter().map(&mut fetch).collect()
    }

    /// They report.
    pub fn others_report(&self, reports: &[UsageReport]) {
        let mut http = self.world.http();
        for report in reports {
            let reply = post_report(&mut http, &report.to_body());
            assert_eq!(reply, 204);
        }
    }

    /// What the vendor sees.
    #[must_use]
    pub fn report(&self) -> Value {
        self.world.server_json(&["telemetry", "report"])
    }
}

/// Sends a report as it is; the HTTP status.
pub fn post_report(http: &mut Client, body: &str) -> u16 {
    http.try_exchange("POST", REPORT_PATH, Some(body)).unwrap().status
}

/// A person's own requests, as the daemon tells of them: what it will send, and what it sent.
#[derive(Debug)]
pub struct Course<'a> {
    clock: &'a HeldClock,
    machine: &'a Machine,
    /// Every planned request that was ever shown.
    pub shown: Vec<Value>,
}

impl<'a> Course<'a> {
    /// The course of a person on this machine.
    #[must_use]
    pub fn of(machine: &'a Machine, clock: &'a HeldClock) -> Self {
        Self { clock, machine, shown: Vec::new() }
    }

    /// What is planned; at most once in [`Course::shown`].
    pub fn planned(&mut self) -> Vec<Value> {
        let preview = self.machine.json(&["privacy", "preview"]);
        let planned = preview["planned"].as_array().unwrap().clone();
        for plan in &planned {
            if !self.shown.contains(plan) {
                self.shown.push(plan.clone());
            }
        }
        planned
    }

    /// What was sent about statistics and answered, or cut off.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        let log = self.machine.json(&["privacy", "log"]);
        let all = log["sent"].as_array().unwrap().iter();
        all.filter(|entry| entry["basis"] == "consent" && !entry["outcome"].is_null()).cloned().collect()
    }

    /// What is sent next, and when.
    fn next(&mut self) -> Option<(Timestamp, Value)> {
        // A report waits for its token before it has bytes.
        let ready = |plan: &Value| plan["method"] == "GET" || !plan["body"].is_null();
        let planned = self.planned().into_iter().filter(ready);
        planned.map(|plan| (due(&plan), plan)).min_by_key(|(due, _)| *due)
    }

    /// Goes to where a request of this purpose is the next one, through all that comes before it. Gives its moment.
    pub fn go_before(&mut self, purpose: &str) -> Timestamp {
        loop {
            let (due, next) = self.next().expect("something is planned");
            if next["purpose"] == purpose {
                return due;
            }
            self.step(due);
        }
    }

    /// Goes through all that is planned until a moment, each thing when it is due.
    pub fn go_to(&mut self, until: Timestamp) {
        loop {
            match self.next() {
                Some((due, _)) if due <= until => self.step(due),
                _ if self.clock.now() >= until => return,
                _ => self.clock.go_to(Week::of(self.clock.now()).end().min(until)),
            }
        }
    }

    /// Goes to `moment`, or to the end of the week if that comes first, and waits until what is due then was sent.
    fn step(&mut self, moment: Timestamp) {
        let turn = Week::of(self.clock.now()).end();
        if turn < moment {
            self.clock.go_to(turn);
            return;
        }
        let ready = |plan: &&Value| plan["method"] == "GET" || !plan["body"].is_null();
        // In this order: what is sent meanwhile is not waited for.
        let before = self.sent().len();
        let awaited = self.planned().iter().filter(|plan| due(plan) == moment).filter(ready).count();
        if self.clock.now() < moment {
            self.clock.go_to(moment);
        }
        wait_for("what was due", || (self.sent().len() >= before + awaited).then_some(()));
    }
}

fn due(plan: &Value) -> Timestamp {
    Timestamp(plan["due"].as_i64().unwrap())
}
