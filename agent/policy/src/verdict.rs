use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rust_decimal::Decimal;

use crate::{Count, Mode, Unit};

/// The most that a call may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// Input tokens, estimated.
    pub input: u64,
    /// Output tokens: the largest answer, over all choices.
    pub output: u64,
    /// US dollars for both; `None` where the price is not known.
    pub cost: Option<Decimal>,
    /// US dollars for the input alone, a part of `cost`: what a call that its client left costs at least.
    pub input_cost: Option<Decimal>,
    /// Whether it is a stream.
    pub stream: bool,
}

/// What a call has used in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Actual {
    /// Input tokens, cached ones included; `None` where nothing is known.
    pub input: Option<u64>,
    /// Output tokens, reasoning included; `None` where nothing is known.
    pub output: Option<u64>,
    /// US dollars, where tokens and price are known.
    pub cost: Option<Decimal>,
    /// Whether the provider may charge for it. What it does not charge for gives all back.
    pub is_billable: bool,
}

/// What a budget was charged for one call, as the ledger keeps it. While the call is on its way that is what was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which budget.
    pub budget: Arc<str>,
    /// Whose share of it, as `user=alice,team=search`; empty where all share it.
    pub group: Arc<str>,
    /// When its window began, in seconds of Unix time.
    pub window: i64,
    /// Which tokens are counted; `None` for US dollars. A budget may come to count something else under its old name.
    pub counts: Option<Count>,
    /// US dollars or tokens, whichever the budget counts.
    pub amount: Decimal,
}

/// What refused, or would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A rule, or the default.
    Rule,
    /// A budget.
    Budget,
    /// A limit.
    Limit,
}

impl What {
    /// One word for metrics and the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Budget => "budget",
            Self::Limit => "limit",
        }
    }
}

/// Why a call is refused, ready to be told to its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What refused it.
    pub what: What,
    /// Its name; `default` where no rule matched.
    pub name: Arc<str>,
    /// 403 of a rule, 429 of a budget or limit, 400 where the request must say something, 413 or 503 where it cannot be read.
    pub status: StatusCode,
    /// Which one, why, when it resets and whom to ask. It holds nothing of anybody else's.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For `x-ratelimit-*`.
    pub quota: Option<Quota>,
    /// What else is worth telling: what observed rules, budgets and limits would have done before. The refusal itself is not among
    /// them.
    pub notices: Vec<Notice>,
}

/// How much there is of something that refills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Whether it is tokens rather than requests.
    pub is_tokens: bool,
    /// How much in all.
    pub limit: u64,
    /// How much is left.
    pub remaining: u64,
    /// When it is whole again.
    pub reset: Duration,
}

/// Something worth an entry in the audit, a count and a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A call was refused, or with [`Mode::Observe`] would have been.
    Refused {
        /// What refused.
        what: What,
        /// Its name.
        name: Arc<str>,
        /// Whether it was.
        mode: Mode,
    },
    /// A request's largest answer was, or would have been, made smaller.
    Clamped {
        /// The rule.
        rule: Arc<str>,
        /// What the request asked for.
        from: Option<u64>,
        /// What it asks for now.
        to: u64,
        /// Whether it was.
        mode: Mode,
    },
    /// A part of a budget is spent.
    Spent {
        /// Which budget.
        budget: Arc<str>,
        /// Whose share of it.
        group: Arc<str>,
        /// How much of it, in per cent; 100 where nothing is left.
        percent: u8,
        /// Its window.
        window: Unit,
    },
    /// An answer was cut because a budget is spent.
    Cut {
        /// Which budget.
        budget: Arc<str>,
    },
}
