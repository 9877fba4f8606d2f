//! From an exchange that has ended to its record: what the provider did not tell is estimated, and then priced, and then
//! charged to budgets, and then the observer is told.
//!
//! Counting tokens takes milliseconds, so it is done by a thread of its own, which nobody waits for but the drain. When that
//! has too much to do, the count is a rougher one, made at once. A record is never lost over it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rust_decimal::Decimal;
use tollgate_ledger::{Outcome, Record};
use tollgate_llm::price::Pointers;
use tollgate_llm::{
    Asked, Operation, Pointed, PriceStatus, Prices, Sample, Tokenizers, Untold, Usage, UsageSource, estimate_roughly,
};
use tollgate_policy::{Actual, Reservation};

use crate::drain;
use crate::observe::{Observer, PolicyEvent};

/// How many exchanges may wait to be counted. Each holds some kilobytes of text.
const QUEUE: usize = 512;

/// How long the vocabularies stay in memory when nothing needs them.
const IDLE: Duration = Duration::from_mins(5);

/// Completes records and hands them to an observer. Dropped, it first completes what it has.
pub(crate) struct Settler {
    observer: Arc<dyn Observer>,
    prices: RwLock<Option<Arc<Prices>>>,
    /// Begun when it is first needed: most exchanges need no estimate.
    counter: Mutex<Option<Counter>>,
}

struct Counter {
    queue: SyncSender<Uncounted>,
    thread: JoinHandle<()>,
}

impl Settler {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, prices: RwLock::default(), counter: Mutex::default() }
    }

    /// What else to read from a provider's answers. Only the operator's prices ask for it, so the bundled ones need not be there yet.
    pub(crate) fn pointers(&self, provider: &str) -> Option<Arc<Pointers>> {
        self.prices.read().as_ref()?.pointers(provider).cloned()
    }

    /// The prices to settle at; the bundled ones, unless [`Self::use_prices`] was told of others first.
    pub(crate) fn prices(&self) -> Arc<Prices> {
        if let Some(prices) = &*self.prices.read() {
            return Arc::clone(prices);
        }
        Arc::clone(self.prices.write().get_or_insert_with(|| Arc::new(Prices::bundled())))
    }

    pub(crate) fn use_prices(&self, prices: Arc<Prices>) {
        self.prices.write().get_or_insert(prices);
    }

    pub(crate) fn replace_prices(&self, prices: Arc<Prices>) {
        *self.prices.write() = Some(prices);
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// Settles an exchange whose usage is told as far as it ever will be.
    pub(crate) fn settle(&self, record: Record, bill: Bill) {
        finish(&self.prices(), &*self.observer, record, bill);
    }

    /// Settles one of which something is `untold`, after estimating it. `asked` is what the model was given to read.
    pub(crate) fn estimate(&self, record: Record, bill: Bill, untold: Untold, asked: Sample, drain: drain::Watch) {
        let is_stopping = record.outcome == Outcome::Stopped;
        let uncounted = Uncounted {
            parts: Some((record, bill, untold, asked)),
            prices: self.prices(),
            observer: Arc::clone(&self.observer),
            _drain: drain,
        };
        // Dropped where it cannot be queued, it is counted roughly. The same where there is no time left.
        if !is_stopping && let Some(queue) = self.queue() {
            drop(queue.try_send(uncounted));
        }
    }

    fn queue(&self) -> Option<SyncSender<Uncounted>> {
        let mut counter = self.counter.lock();
        if counter.is_none() {
            let (queue, uncounted) = sync_channel(QUEUE);
            let thread = Builder::new().name("estimates".to_owned()).spawn(move || count(&uncounted)).ok()?;
            *counter = Some(Counter { queue, thread });
        }
        counter.as_ref().map(|counter| counter.queue.clone())
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        let Some(Counter { queue, thread }) = self.counter.get_mut().take() else { return };
        drop(queue);
        // It ends with the queue. It is this thread itself where an observer held the last reference.
        if thread.thread().id() != std::thread::current().id() {
            drop(thread.join());
        }
    }
}

fn count(queue: &Receiver<Uncounted>) {
    let mut tokenizers = Tokenizers::default();
    loop {
        match queue.recv_timeout(IDLE) {
            Ok(mut uncounted) => {
                let counting = || uncounted.settle(|model, sample| tokenizers.estimate(model, sample));
                // Should there be a text on which counting panics, it is counted roughly when it is dropped here, and the next as ever.
                if catch_unwind(AssertUnwindSafe(counting)).is_err() {
                    tokenizers = Tokenizers::default();
                }
            }
            Err(RecvTimeoutError::Timeout) => tokenizers = Tokenizers::default(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A record whose usage is yet to be estimated.
struct Uncounted {
    parts: Option<(Record, Bill, Untold, Sample)>,
    prices: Arc<Prices>,
    observer: Arc<dyn Observer>,
    /// The drain waits for it.
    _drain: drain::Watch,
}

impl Uncounted {
    fn settle(&mut self, count: impl FnMut(Option<&str>, &Sample) -> u64) {
        let Some((record, _, untold, asked)) = &mut self.parts else { return };
        complete(record, untold, asked, count);
        let Some((record, bill, ..)) = self.parts.take() else { return };
        finish(&self.prices, &*self.observer, record, bill);
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.settle(|_, sample| estimate_roughly(sample));
    }
}

/// Fills in what was not told. What was told stays, and an estimate is never below it.
fn complete(record: &mut Record, untold: &Untold, asked: &Sample, mut count: impl FnMut(Option<&str>, &Sample) -> u64) {
    let model = record.response_model.as_deref().or(record.request_model.as_deref());
    let mut of = |is_untold: bool, sample| if is_untold { count(model, sample) } else { 0 };
    let (input, output) = (of(untold.input, asked), of(untold.output, &untold.text));
    let told = record.usage.unwrap_or_default();
    let usage = Usage { input: told.input.max(input), output: told.output.max(output), ..told };
    if usage != told {
        record.usage = Some(usage);
        record.usage_source = UsageSource::Estimated;
    }
}

/// What matters to the price of an answer alone, and to those whom it is charged to.
#[derive(Debug, Default)]
pub(crate) struct Bill {
    /// What the provider says it charges, in US dollars.
    pub(crate) cost: Option<Decimal>,
    /// The numbers that the operator's prices ask for.
    pub(crate) pointed: Pointed,
    /// What the policy has set aside for it.
    pub(crate) reserved: Option<Reserved>,
}

/// What was set aside for a call, in the hands of whoever settles it.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    /// All of the request was sent: a provider may charge for it, though nobody has waited for the answer.
    pub(crate) is_sent: bool,
}

/// Prices a record of which all is known that will be, settles with those whom it is charged to, and hands it to the observer.
fn finish(prices: &Prices, observer: &dyn Observer, mut record: Record, mut bill: Bill) {
    price(prices, &mut record, &bill);
    if let Some(Reserved { reservation, is_sent }) = bill.reserved.take() {
        let (charges, notices) = reservation.settle(&actual(&record, is_sent));
        record.charges = charges;
        for notice in &notices {
            observer.policy(&PolicyEvent::of(&record, notice));
        }
    }
    observer.settled(record);
}

/// What a call has used in the end, as budgets see it.
fn actual(record: &Record, is_sent: bool) -> Actual {
    let is_charged = !matches!(record.operation, Operation::Other | Operation::CountTokens | Operation::Session);
    let nobody_waited = matches!(record.outcome, Outcome::ClientGone | Outcome::Stopped) && record.status.is_none();
    Actual {
        input: record.usage.map(|usage| usage.input),
        output: record.usage.map(|usage| usage.output),
        cost: record.cost,
        is_billable: record.is_billable() || (is_charged && is_sent && nobody_waited),
    }
}

/// Looks up what a record's usage costs.
fn price(prices: &Prices, record: &mut Record, bill: &Bill) {
    let Some(usage) = &record.usage else {
        // Some tell the price of what they do not count.
        if let Some(cost) = bill.cost.filter(|cost| !cost.is_sign_negative()) {
            (record.cost, record.price_status) = (Some(cost), Some(PriceStatus::Told));
        }
        return;
    };
    let price = prices.price(&Asked {
        provider: &record.provider,
        region: record.region.as_deref(),
        response_model: record.response_model.as_deref(),
        request_model: record.request_model.as_deref(),
        usage,
        pointed: Some(&bill.pointed),
        told: bill.cost,
        at: record.started,
    });
    match price {
        Ok(price) => {
            (record.cost, record.price_from, record.price_status) =
                (Some(price.cost), Some(price.from), Some(price.status));
        }
        Err(reason) => {
            tracing::debug!(provider = %record.provider, model = record.model().map(|model| &**model), %reason, "not priced");
            record.price_status = Some(reason.status());
        }
    }
}

#[cfg(test)]
mod tests;
