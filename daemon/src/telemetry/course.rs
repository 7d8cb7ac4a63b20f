//! The course of a week: when its tokens are fetched, when each of its reports is sent, and when what is left of it is
//! dropped. Every moment is drawn on its own, so that no two of them tell that they come from one computer.

use std::collections::BTreeMap;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::ids::ProductId;
use claviger_protocol::telemetry::voprf::{Pending, TokenClient, TokenError};
use claviger_protocol::telemetry::{
    Plan, QUIET_DAYS, REPORT_SCHEMA, TokensBody, UsageReport, Uses, Week, closes,
};

use super::Dice;
use super::gathered::{Asked, Cell, Gathered, Gathering, Queued};
use super::outgoing::{Kind, Outgoing};
use crate::consent::Consented;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const WEEK: i64 = 7 * DAY;
/// What was due this long ago was missed (the computer was off, or offline): it gets a new moment, so that waking up does
/// not send everything at once.
const MISSED: i64 = HOUR / 6;
/// The new moment is within this time: long enough that it does not tell when the computer was switched on, and short
/// enough that one which is never on for long sends something some day.
const SOON: i64 = 6 * HOUR;
/// What failed is tried again within this time.
const AGAIN: i64 = DAY;

/// Something that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Send this.
    Send(Outgoing),
    /// Draw and sign a batch for this week, then look again.
    Ask(Week),
}

/// Why a task did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFailure {
    /// Nobody answered, or the server cannot at the moment: later.
    Later,
    /// It will never be taken: dropped.
    Never,
}

impl Consented<'_> {
    /// Brings the course up to date: drops what is closed, draws moments, makes reports of weeks that are over. Says
    /// whether anything changed.
    pub fn advance(&mut self, dice: &mut dyn Dice) -> bool {
        let (now, quiet_until) = (self.now(), self.since().plus(QUIET_DAYS * DAY));
        let (gathered, pins) = self.gathered();
        let before = gathered.clone();
        gathered.weeks.retain(|week, _| now < closes(*week));
        gathered.plans.retain(|plan| plan.weeks.last().is_some_and(|last| now < closes(last.week)));
        pins.0.retain(|week, _| now < closes(*week).plus(WEEK));
        // Everyone who agreed fetches a batch in every week, whether a title was used or not.
        gathered.weeks.entry(Week::of(now)).or_default();
        let plan_due =
            gathered.plan_due.get_or_insert_with(|| ahead(dice, now, quiet_until, quiet_until.plus(HOUR)));
        redraw(plan_due, now, dice);
        let Gathered { plans, weeks, .. } = gathered;
        for (week, gathering) in weeks {
            let Some(plan) = plans.iter().find(|plan| plan.key(*week).is_some()) else { continue };
            gathering.advance(*week, plan, now, quiet_until, dice);
        }
        *gathered != before
    }

    /// The next moment at which something is to be done.
    pub fn next_deadline(&mut self) -> Option<Timestamp> {
        let now = self.now();
        let (gathered, _) = self.gathered();
        let of_weeks = gathered.weeks.values().flat_map(Gathering::deadlines);
        // When the week turns, the next one's moments are drawn.
        let turn = Week::of(now).end();
        gathered.plan_due.into_iter().chain(of_weeks).chain([turn]).min()
    }

    /// What is due, one thing at a time; [`Consented::advance`] goes first. A batch is drawn as soon as its moment is, so
    /// that its bytes can be seen before they are sent.
    pub fn next_task(&mut self) -> Option<Task> {
        let now = self.now();
        let quiet = now < self.since().plus(QUIET_DAYS * DAY);
        let (gathered, _) = self.gathered();
        let undrawn = gathered.weeks.iter().find(|(_, g)| g.tokens_due().is_some() && g.asked.is_none());
        if let Some((week, _)) = undrawn {
            return Some(Task::Ask(*week));
        }
        if quiet {
            return None;
        }
        if gathered.plan_due.is_some_and(|due| due <= now) {
            return Some(Task::Send(Outgoing::plan(self)));
        }
        let tokens = gathered.weeks.iter().find(|(_, g)| g.tokens_due().is_some_and(|due| due <= now));
        if let Some((week, Some(asked))) = tokens.map(|(week, g)| (*week, g.asked.as_ref())) {
            let body = asked.request.clone();
            return Some(Task::Send(Outgoing::tokens(self, week, body)));
        }
        let ready = gathered.weeks.values().filter_map(|g| g.queue.as_ref()).flatten();
        let due = ready.filter(|q| q.body.is_some() && q.due <= now).min_by_key(|q| q.due);
        let body = due.and_then(|q| q.body.clone())?;
        // The queue holds only what was made here; anything else in it is not sent.
        let report = UsageReport::from_body(body.as_bytes()).ok()?;
        Some(Task::Send(Outgoing::report(self, &report)))
    }

    /// The question whether the notice has changed, which goes along with the plan.
    #[must_use]
    pub fn ask_for_notice(&self) -> Outgoing {
        Outgoing::notice(self)
    }

    /// A batch for this week was drawn and signed: the exact request is kept until its answer has come.
    pub fn asked(&mut self, week: Week, request: String, pending: Vec<Pending>) {
        let (gathered, _) = self.gathered();
        if let Some(gathering) = gathered.weeks.get_mut(&week) {
            gathering.asked = Some(Asked { request, pending });
        }
    }

    /// The batch has come.
    ///
    /// # Errors
    /// [`TokenError`]: it was not made with the week's key. Nothing of it is used.
    pub fn take_tokens(
        &mut self,
        week: Week,
        body: &TokensBody,
        client: &dyn TokenClient,
        dice: &mut dyn Dice,
    ) -> Result<(), TokenError> {
        let (gathered, pins) = self.gathered();
        let key = pins.0.get(&week).copied().ok_or(TokenError::Key)?;
        let gathering = gathered.weeks.get_mut(&week).ok_or(TokenError::Count)?;
        let asked = gathering.asked.as_ref().ok_or(TokenError::Count)?;
        let tokens = client.finish(&asked.pending, &body.elements, &body.proof, &key)?;
        gathering.tokens = tokens;
        gathering.asked = None;
        gathering.fetched = true;
        self.advance(dice);
        Ok(())
    }

    /// Plans have come, verified. One that gives a known week another key is refused, and so are all that came with it.
    ///
    /// # Errors
    /// The week with two keys.
    pub fn take_plans(&mut self, plans: Vec<Plan>, dice: &mut dyn Dice) -> Result<(), Week> {
        let now = self.now();
        let (gathered, pins) = self.gathered();
        let mut next = pins.0.clone();
        for week in plans.iter().flat_map(|plan| &plan.weeks) {
            if *next.entry(week.week).or_insert(week.key) != week.key {
                return Err(week.week);
            }
        }
        pins.0 = next;
        gathered.plans = plans;
        // Next in another week, at another moment of it.
        gathered.plan_due = Some(draw(dice, now.plus(WEEK - DAY), now.plus(WEEK + DAY)));
        self.advance(dice);
        Ok(())
    }

    /// Something could not be done.
    pub fn failed(&mut self, kind: &Kind, failure: TaskFailure, dice: &mut dyn Dice) {
        let now = self.now();
        let (gathered, _) = self.gathered();
        let again = draw(dice, now.plus(HOUR), now.plus(HOUR + AGAIN));
        match kind {
            Kind::Notice => {}
            Kind::Plan => {
                // A vendor without statistics is asked again next week.
                let pause = if failure == TaskFailure::Never { WEEK - DAY } else { 0 };
                gathered.plan_due = Some(again.plus(pause));
            }
            Kind::Tokens(week) => {
                if let Some(gathering) = gathered.weeks.get_mut(week) {
                    if failure == TaskFailure::Never {
                        gathering.asked = None;
                        gathering.fetched = true;
                    } else {
                        gathering.tokens_due = Some(again);
                    }
                }
            }
            Kind::Report(week, product) => match failure {
                TaskFailure::Never => self.reported(*week, product),
                TaskFailure::Later => {
                    let queue = gathered.weeks.get_mut(week).and_then(|g| g.queue.as_mut());
                    if let Some(queued) = queue.and_then(|q| q.iter_mut().find(|q| q.product == *product)) {
                        queued.due = again;
                    }
                }
            },
        }
    }

    /// A report was taken: what was counted for it is forgotten, and so are the tokens once none of them is needed.
    pub fn reported(&mut self, week: Week, product: &ProductId) {
        let (gathered, _) = self.gathered();
        if let Some(gathering) = gathered.weeks.get_mut(&week) {
            gathering.cells.retain(|c| c.product != *product);
            if let Some(queue) = &mut gathering.queue {
                queue.retain(|q| q.product != *product);
            }
        }
    }
}

impl Gathering {
    fn tokens_due(&self) -> Option<Timestamp> {
        self.tokens_due.filter(|_| !self.fetched)
    }

    fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let reports = self.queue.iter().flatten().filter(|q| q.body.is_some()).map(|q| q.due);
        self.tokens_due().into_iter().chain(reports)
    }

    fn advance(
        &mut self,
        week: Week,
        plan: &Plan,
        now: Timestamp,
        quiet_until: Timestamp,
        dice: &mut dyn Dice,
    ) {
        if !self.fetched {
            let begin = week.start().max(quiet_until.plus(2 * HOUR));
            let due = self
                .tokens_due
                .get_or_insert_with(|| ahead(dice, now, begin, week.end().max(begin.plus(DAY))));
            redraw(due, now, dice);
        }
        if now < week.end() {
            return;
        }
        let cells = &self.cells;
        let queue = self.queue.get_or_insert_with(|| {
            let begin = week.end().max(quiet_until);
            let end = week.plus(1).end().max(quiet_until.plus(DAY));
            let mut titles: Vec<&ProductId> = cells.iter().map(|c| &c.product).collect();
            titles.sort();
            titles.dedup();
            titles.retain(|product| plan.title(product).is_some());
            let queued = titles.into_iter().map(|p| Queued {
                product: p.clone(),
                due: ahead(dice, now, begin, end),
                body: None,
            });
            queued.collect()
        });
        for queued in &mut *queue {
            if queued.body.is_none()
                && let Some(token) = self.tokens.pop()
                && let Some(report) = report_of(week, &queued.product, cells, plan, token)
            {
                queued.body = Some(report.to_body());
                // Tokens that came late must not be followed by their report at once, and there is an hour to see it before.
                if queued.due <= now.plus(HOUR) {
                    queued.due = draw(dice, now.plus(HOUR), now.plus(HOUR + SOON));
                }
            }
            redraw(&mut queued.due, now, dice);
        }
        // What no title needs is discarded.
        if self.fetched && queue.iter().all(|q| q.body.is_some()) {
            self.tokens.clear();
            self.cells.clear();
        }
    }
}

/// The report of a title: how often it was used in all, and the version and DAW that it was used with most.
fn report_of(
    week: Week,
    product: &ProductId,
    cells: &[Cell],
    plan: &Plan,
    token: claviger_protocol::telemetry::Token,
) -> Option<UsageReport> {
    let of_title = || cells.iter().filter(|c| c.product == *product);
    let uses = Uses::of(of_title().fold(0, |sum, c| sum.saturating_add(c.uses)))?;
    let mut versions = BTreeMap::new();
    let mut daws = BTreeMap::new();
    for cell in of_title() {
        *versions.entry(plan.version(product, &cell.version)).or_insert(0u64) += cell.uses;
        *daws.entry(plan.daw(cell.daw)).or_insert(0u64) += cell.uses;
    }
    Some(UsageReport {
        schema: REPORT_SCHEMA,
        week,
        product_id: product.clone(),
        product_version: most(versions)?,
        daw: most(daws)?,
        uses,
        token,
    })
}

fn most<K: Ord>(counts: BTreeMap<K, u64>) -> Option<K> {
    // Of several, the first: the same counts always make the same report.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(key, _)| key)
}

/// A moment from `begin` on, before `end`.
fn draw(dice: &mut dyn Dice, begin: Timestamp, end: Timestamp) -> Timestamp {
    let span = u64::try_from(end.0.saturating_sub(begin.0)).unwrap_or(0);
    begin.plus(i64::try_from(dice.below(span)).unwrap_or(0))
}

/// The same, in the part of that time which is still to come: what is planned can be seen before it is sent.
fn ahead(dice: &mut dyn Dice, now: Timestamp, begin: Timestamp, end: Timestamp) -> Timestamp {
    let begin = begin.max(now.plus(MINUTE));
    draw(dice, begin, end.max(begin.plus(SOON)))
}

fn redraw(due: &mut Timestamp, now: Timestamp, dice: &mut dyn Dice) {
    if due.plus(MISSED) < now {
        *due = ahead(dice, now, now, now);
    }
}
