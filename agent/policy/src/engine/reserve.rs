use std::future::poll_fn;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep_until;
use tollgate_workload::Caller;

use super::plan::Plan;
use super::refusal::{self, Full};
use super::reservation::{Held, Of, Reservation};
use super::{Admission, Decided, Moment};
use crate::group::group;
use crate::spend::amount;
use crate::spend::book::{BudgetBook, LimitBook, Period};
use crate::spend::cell::{Blocked, Cell, Claim, Lack, take_all};
use crate::spend::clock::{Clock, nanoseconds};
use crate::spend::line::{Arrival, Standing, Wake};
use crate::spend::meter::Bound;
use crate::{Ask, Budget, Charge, Limit, Measure, Mode, Named, Notice, Refused, Subject, What};

impl Decided {
    /// Sets aside what the call may use, in every budget and limit that it is of, or in none.
    ///
    /// Where all that refuses is limits with a `wait`, it waits for room as long as the shortest of them says: in turn with other
    /// callers, and in order of arrival within one. Dropped, it has taken nothing and waits no more. Waiting needs tokio's timer.
    pub async fn reserve(self, subject: &Subject<'_>, ask: &Ask) -> Result<Reservation, Refused> {
        let Admission { plan, matching, when } = self.admission;
        if matching.budgets.is_empty() && matching.limits.is_empty() {
            return Ok(Reservation::default());
        }
        let mut attempt = Box::new(Attempt::new(plan, when, *ask));
        attempt.claim_budgets(&matching.budgets, subject, &self.named)?;
        attempt.claim_limits(&matching.limits, subject, &self.named);
        loop {
            match attempt.take() {
                Ok(lacking) => return Ok(attempt.reserved(&lacking)),
                Err(blocked) => attempt.wait(&blocked, subject.caller).await?,
            }
        }
    }
}

/// A call that wants something of some cells.
struct Attempt {
    plan: Arc<Plan>,
    when: Moment,
    ask: Ask,
    /// In the order of their cells, with their sources beside them.
    claims: Vec<Claim>,
    sources: Vec<Source>,
    notices: Vec<Notice>,
    line: Option<InLine>,
}

/// Where a claim comes from.
struct Source {
    /// Place in the policy's list.
    at: usize,
    group: Arc<str>,
    of: Origin,
}

enum Origin {
    Budget(Arc<Period>),
    Limit,
}

/// Of those who wait.
struct InLine {
    /// When it began to, by the clock that never goes back.
    since: u64,
    /// Its place in the order of arrival.
    order: u64,
    caller: u64,
    place: Option<Place>,
}

/// A place in a cell's line, which is left when this is dropped.
struct Place {
    cell: Arc<Cell>,
    order: u64,
    served: bool,
    clock: Clock,
}

impl Drop for Place {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        self.cell.leave(self.order, self.served, self.clock.now()).wake();
    }
}

static ARRIVALS: AtomicU64 = AtomicU64::new(0);

/// Calls that stand in a line, for the metrics. Of all engines: a process has one, but in tests.
static WAITING: AtomicU64 = AtomicU64::new(0);

/// Calls that wait for room.
pub(super) fn waiting() -> u64 {
    WAITING.load(Ordering::Relaxed)
}

/// The order of one who is in no line.
const NOBODY: u64 = u64::MAX;

impl Attempt {
    fn new(plan: Arc<Plan>, when: Moment, ask: Ask) -> Self {
        Self { plan, when, ask, claims: Vec::new(), sources: Vec::new(), notices: Vec::new(), line: None }
    }

    fn budget(&self, at: usize) -> &Budget {
        &self.plan.policy.spec().budgets[at]
    }

    fn limit(&self, at: usize) -> &Limit {
        &self.plan.policy.spec().limits[at]
    }

    fn contact(&self) -> Option<&str> {
        self.plan.policy.spec().contact.as_deref()
    }

    fn claim_budgets(&mut self, matching: &[u32], subject: &Subject<'_>, named: &Named) -> Result<(), Refused> {
        let (wall, monotonic) = self.when.now(self.plan.clock);
        for at in matching.iter().map(|at| *at as usize) {
            let budget = &self.plan.policy.spec().budgets[at];
            let is_enforced = budget.mode == Mode::Enforce;
            let need = amount::asked(budget.amount, budget.unpriced, &self.ask);
            if need.is_none() {
                if is_enforced {
                    return Err(self.refused(refusal::of_unpriced(budget, self.contact())));
                }
                self.notices.push(observed(What::Budget, &budget.name));
            }
            let period = self.plan.budgets[at].period(wall.as_second());
            let (group, cell) = period.groups.cell(&group(&budget.per, subject, named), BudgetBook::meter, monotonic);
            let bound = Bound::Most(amount::limit(budget.amount));
            let lack = if is_enforced { Lack::Refuse } else { Lack::Overdraw };
            self.claims.push(Claim { cell, need: need.unwrap_or(0), bound, lack });
            self.sources.push(Source { at, group, of: Origin::Budget(period) });
        }
        Ok(())
    }

    fn claim_limits(&mut self, matching: &[u32], subject: &Subject<'_>, named: &Named) {
        let now = self.plan.clock.now();
        for at in matching.iter().map(|at| *at as usize) {
            let limit = &self.plan.policy.spec().limits[at];
            let need = match limit.measure {
                Measure::Requests | Measure::Concurrent => 1,
                Measure::Streams => i128::from(self.ask.stream),
                Measure::Tokens(count) => amount::tokens(count, self.ask.input, self.ask.output),
            };
            if need == 0 && limit.measure == Measure::Streams {
                continue;
            }
            let rate = self.plan.rate(limit);
            let bound = match limit.measure {
                Measure::Requests | Measure::Tokens(_) => Bound::Rate(rate),
                Measure::Concurrent | Measure::Streams => Bound::Most(i128::from(limit.amount)),
            };
            let new = || LimitBook::meter(limit, rate, now);
            let (group, cell) = self.plan.limits[at].groups.cell(&group(&limit.per, subject, named), new, now);
            let lack = if limit.mode == Mode::Enforce { Lack::Refuse } else { Lack::Skip };
            self.claims.push(Claim { cell, need, bound, lack });
            self.sources.push(Source { at, group, of: Origin::Limit });
        }
        self.sort();
    }

    /// Puts claims in the order of their cells.
    fn sort(&mut self) {
        if self.claims.is_sorted_by_key(|claim| claim.cell.id()) {
            return;
        }
        let mut both: Vec<_> = self.claims.drain(..).zip(self.sources.drain(..)).collect();
        both.sort_unstable_by_key(|(claim, _)| claim.cell.id());
        (self.claims, self.sources) = both.into_iter().unzip();
    }

    /// Takes everything, or says what is in the way.
    fn take(&mut self) -> Result<Vec<usize>, Vec<Blocked>> {
        let (order, now) = (self.line.as_ref().map_or(NOBODY, |line| line.order), self.plan.clock.now());
        if self.line.is_some() {
            self.renew();
        }
        take_all(&self.claims, order, now)
    }

    /// A window may end while a call waits: it is charged in the next.
    fn renew(&mut self) {
        let (wall, monotonic) = self.when.now(self.plan.clock);
        let mut is_new = false;
        for (claim, source) in self.claims.iter_mut().zip(&mut self.sources) {
            if let Origin::Budget(period) = &mut source.of
                && wall.as_second() >= period.bounds.end
            {
                *period = self.plan.budgets[source.at].period(wall.as_second());
                (source.group, claim.cell) = period.groups.cell(&source.group, BudgetBook::meter, monotonic);
                is_new = true;
            }
        }
        if is_new {
            self.sort();
        }
    }

    /// Everything was taken, but for what is observed and lacking.
    fn reserved(mut self, lacking: &[usize]) -> Reservation {
        if let Some(place) = self.line.take().and_then(|line| line.place) {
            // Said before it is left, as that gives the next one the turn.
            drop(Place::served(place));
        }
        let (mut held, mut charges) = (Vec::with_capacity(self.claims.len()), Vec::new());
        let spec = self.plan.policy.spec();
        for (place, (claim, source)) in self.claims.drain(..).zip(self.sources.drain(..)).enumerate() {
            let is_lacking = lacking.contains(&place);
            let of = match source.of {
                Origin::Budget(period) => {
                    let budget = &spec.budgets[source.at];
                    if is_lacking {
                        self.notices.push(observed(What::Budget, &budget.name));
                    }
                    let amount = amount::decimal(claim.need, budget.amount);
                    let (name, window) = (Arc::clone(&budget.name), period.bounds.start);
                    let counts = budget.amount.counts();
                    charges.push(Charge { budget: name, group: source.group, window, counts, amount });
                    Of::Budget { at: source.at, charge: charges.len() - 1, bounds: period.bounds }
                }
                Origin::Limit if is_lacking => {
                    self.notices.push(observed(What::Limit, &spec.limits[source.at].name));
                    continue;
                }
                Origin::Limit => match spec.limits[source.at].measure {
                    Measure::Requests => continue,
                    Measure::Tokens(count) => Of::Tokens(count),
                    Measure::Concurrent | Measure::Streams => Of::Place,
                },
            };
            held.push(Held { cell: claim.cell, taken: claim.need, of });
        }
        let plan = Some(Arc::clone(&self.plan));
        Reservation { plan, held, charges, notices: self.notices, ask: self.ask, when: self.when }
    }

    /// Waits until it may try again. The error is what refuses it.
    async fn wait(&mut self, blocked: &[Blocked], caller: &Caller) -> Result<(), Refused> {
        let clock = self.plan.clock;
        let now = clock.now();
        let since = self.line.as_ref().map_or(now, |line| line.since);
        let Some(deadline) = self.deadline(blocked, since, now) else {
            return Err(self.refuse(blocked, since, now, false));
        };
        let Some(first) = self.stand_in(blocked, deadline, since, now, caller) else {
            return Err(self.refuse(blocked, since, now, true));
        };
        // Only who is in front watches the time, so that what refills wakes one. The others are woken when it is their turn.
        let room_in = first.shortage.filter(|_| first.is_in_front).and_then(|shortage| shortage.room_in);
        let until = room_in.map_or(deadline, |room_in| now.saturating_add(room_in).min(deadline));
        let Some(place) = self.line.as_ref().and_then(|line| line.place.as_ref()) else { return Ok(()) };
        let mut timer = pin!(sleep_until(clock.instant(until)));
        let is_out = poll_fn(|context| match place.cell.stand(place.order, context.waker()) {
            Standing::Called => Poll::Ready(false),
            Standing::Out => Poll::Ready(true),
            Standing::Waiting => timer.as_mut().poll(context).map(|()| false),
        });
        if is_out.await { Err(self.refuse(blocked, since, clock.now(), true)) } else { Ok(()) }
    }

    /// Until when it may wait for all that is in the way; `None` where something does not let it, or not any more.
    fn deadline(&self, blocked: &[Blocked], since: u64, now: u64) -> Option<u64> {
        let deadlines = blocked.iter().map(|blocked| match &self.sources[blocked.claim] {
            Source { of: Origin::Budget(_), .. } => None,
            Source { at, .. } => {
                let wait = self.limit(*at).wait?;
                let is_never = blocked.shortage.is_some_and(|shortage| shortage.is_never);
                Some(since.saturating_add(nanoseconds(wait))).filter(|deadline| *deadline > now && !is_never)
            }
        });
        deadlines.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Stands in the line of something that is in the way, and stays if it does already. Gives what it waits for; `None` where the
    /// line is too long.
    fn stand_in(
        &mut self,
        blocked: &[Blocked],
        deadline: u64,
        since: u64,
        now: u64,
        caller: &Caller,
    ) -> Option<Blocked> {
        let clock = self.plan.clock;
        let line = self.line.get_or_insert_with(|| InLine {
            since,
            order: ARRIVALS.fetch_add(1, Ordering::Relaxed),
            caller: who(caller),
            place: None,
        });
        let is_at = |place: &Place, blocked: &Blocked| self.claims[blocked.claim].cell.id() == place.cell.id();
        if let Some(place) = &line.place
            && let Some(blocked) = blocked.iter().find(|blocked| is_at(place, blocked))
        {
            return Some(*blocked);
        }
        line.place = None;
        let first = *blocked.first()?;
        let Claim { cell, need, bound, .. } = &self.claims[first.claim];
        let arrival = Arrival { caller: line.caller, order: line.order, need: *need, bound: *bound, deadline };
        let wakes = cell.join(arrival, now).ok()?;
        WAITING.fetch_add(1, Ordering::Relaxed);
        line.place = Some(Place { cell: Arc::clone(cell), order: line.order, served: false, clock });
        wakes.into_iter().for_each(Wake::wake);
        Some(first)
    }

    /// The refusal of what is in the way the longest, with the time after which nothing is that is now.
    fn refuse(&mut self, blocked: &[Blocked], since: u64, now: u64, is_line_full: bool) -> Refused {
        let (wall, _) = self.when.now(self.plan.clock);
        let contact = self.contact();
        let waited = Duration::from_nanos(now.saturating_sub(since));
        let refusals = blocked.iter().map(|blocked| {
            let Source { at, group, of } = &self.sources[blocked.claim];
            match (of, blocked.shortage) {
                (Origin::Budget(period), Some(shortage)) => {
                    refusal::of_budget(self.budget(*at), group, shortage, period.bounds, wall, contact)
                }
                (_, shortage) => {
                    let full = if is_line_full { Full::Line } else { Full::Room(shortage) };
                    refusal::of_limit(self.limit(*at), group, full, waited, contact)
                }
            }
        });
        // What never has room comes last, and what is first in the policy before what is as long.
        let longest = refusals.reduce(|a, b| {
            let time = |refused: &Refused| refused.retry_after.unwrap_or(Duration::MAX);
            if time(&b) > time(&a) { b } else { a }
        });
        let longest = longest.expect("nothing is refused without a claim in the way");
        self.refused(longest)
    }

    fn refused(&self, refused: Refused) -> Refused {
        Refused { notices: self.notices.clone(), ..refused }
    }
}

impl Place {
    fn served(mut self) -> Self {
        self.served = true;
        self
    }
}

fn observed(what: What, name: &Arc<str>) -> Notice {
    Notice::Refused { what, name: Arc::clone(name), mode: Mode::Observe }
}

/// Turns go round workloads: control group, else unit, else program and user.
fn who(caller: &Caller) -> u64 {
    // With a secret, because users name control groups: nobody may come into another's turn.
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut hasher = SECRET.build_hasher();
    match (&caller.cgroup, &caller.unit) {
        (Some(cgroup), _) => cgroup.hash(&mut hasher),
        (None, Some(unit)) => unit.hash(&mut hasher),
        (None, None) => (&caller.program, caller.uid).hash(&mut hasher),
    }
    hasher.finish()
}
