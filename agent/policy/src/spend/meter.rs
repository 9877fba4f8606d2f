//! What is counted, in whole numbers: exact, and without a clock of its own. Time is in nanoseconds of a clock that never goes
//! back; sums are in the smallest unit of what they count.

/// Why something has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// After how many nanoseconds there is room if nothing else happens; `None` where that cannot be told.
    pub(crate) room_in: Option<u64>,
    /// There will never be: more is asked for than there is in all.
    pub(crate) is_never: bool,
    /// There would be if what is on its way gave all back.
    pub(crate) is_set_aside: bool,
    /// How much is left.
    pub(crate) remaining: u64,
    /// After how many nanoseconds it is whole again.
    pub(crate) whole_in: u64,
}

/// A budget's: what was spent and what is set aside.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    spent: i128,
    reserved: i128,
    /// How much of `spent` somebody was told of.
    told: i128,
}

impl Sum {
    pub(crate) fn spent(&self) -> i128 {
        self.spent
    }

    pub(crate) fn reserved(&self) -> i128 {
        self.reserved
    }

    fn taken(&self) -> i128 {
        self.spent.saturating_add(self.reserved)
    }

    /// What costs nothing always has room.
    fn shortage(&self, need: i128, limit: i128) -> Option<Shortage> {
        if need == 0 || self.taken().saturating_add(need) <= limit {
            return None;
        }
        let is_set_aside = self.spent.saturating_add(need) <= limit;
        Some(Shortage { room_in: None, is_never: need > limit, is_set_aside, remaining: 0, whole_in: 0 })
    }

    fn reserve(&mut self, need: i128) {
        self.reserved = self.reserved.saturating_add(need);
    }

    /// Sets more aside, whether there is room or not. Says whether there was.
    pub(crate) fn grow(&mut self, by: i128, limit: i128) -> bool {
        self.reserve(by);
        self.taken() <= limit
    }

    /// What was set aside is spent as far as `actual` says. Gives from where to where `spent` rose since this last told.
    pub(crate) fn settle(&mut self, reserved: i128, actual: i128) -> (i128, i128) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(actual);
        (std::mem::replace(&mut self.told, self.spent), self.spent)
    }

    /// What was set aside is spent, and nobody listens.
    pub(crate) fn keep(&mut self, reserved: i128) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(reserved);
    }

    /// So much was spent before.
    pub(crate) fn restore(&mut self, amount: i128) {
        self.spent = self.spent.saturating_add(amount);
        self.told = self.told.saturating_add(amount);
    }
}

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// So many a period, and at most so many.
    pub(crate) amount: u64,
    /// In nanoseconds; at least one.
    pub(crate) period: u64,
    /// Which policy says so. A later one wins.
    pub(crate) generation: u64,
}

/// A rate's: it fills continuously up to its amount. What was used beyond it is a debt, which is filled up first.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// In parts of one, of which a period has as many as nanoseconds: so each nanosecond fills in `amount` of them, exactly.
    level: i128,
    at: u64,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: u64) -> Self {
        Self { rate, level: whole(rate), at: now }
    }

    /// Fills in what the time brought, and takes a new rate on: what was used stays used.
    fn refresh(&mut self, now: u64, rate: Rate) -> bool {
        self.refill(now);
        if rate.generation <= self.rate.generation {
            return false;
        }
        let used = whole(self.rate) - self.level;
        let (before, after) = (i128::from(self.rate.period), i128::from(rate.period));
        let used = (used / before).saturating_mul(after).saturating_add(used % before * after / before);
        self.rate = rate;
        self.level = whole(rate).saturating_sub(used);
        true
    }

    fn refill(&mut self, now: u64) {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.add(i128::from(passed).saturating_mul(i128::from(self.rate.amount)));
    }

    fn add(&mut self, parts: i128) {
        self.level = self.level.saturating_add(parts).min(whole(self.rate));
    }

    fn parts(&self, need: i128) -> i128 {
        need.saturating_mul(i128::from(self.rate.period))
    }

    /// How long it takes until so many parts are filled in, rounded up.
    fn time(&self, parts: i128) -> Option<u64> {
        let amount = i128::from(self.rate.amount);
        if parts <= 0 {
            return Some(0);
        }
        (amount > 0).then(|| u64::try_from((parts - 1) / amount + 1).unwrap_or(u64::MAX))
    }

    fn shortage(&self, need: i128) -> Option<Shortage> {
        let missing = self.parts(need).saturating_sub(self.level);
        if need == 0 || missing <= 0 {
            return None;
        }
        let is_never = need > i128::from(self.rate.amount);
        Some(Shortage {
            room_in: if is_never { None } else { self.time(missing) },
            is_never,
            is_set_aside: false,
            remaining: u64::try_from(self.level / i128::from(self.rate.period)).unwrap_or(0),
            whole_in: self.time(whole(self.rate).saturating_sub(self.level)).unwrap_or(0),
        })
    }

    /// Gives back what was not used, up to the brim; or takes what was used beyond.
    fn settle(&mut self, reserved: i128, actual: i128) {
        self.add(self.parts(reserved.saturating_sub(actual)));
    }
}

fn whole(rate: Rate) -> i128 {
    i128::from(rate.amount).saturating_mul(i128::from(rate.period))
}

/// Of things at once.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    held: u64,
}

impl Gauge {
    fn shortage(&self, need: i128, limit: i128) -> Option<Shortage> {
        if need == 0 || i128::from(self.held).saturating_add(need) <= limit {
            return None;
        }
        let remaining = u64::try_from(limit.saturating_sub(i128::from(self.held))).unwrap_or(0);
        Some(Shortage { room_in: None, is_never: need > limit, is_set_aside: true, remaining, whole_in: 0 })
    }
}

/// Any of them.
#[derive(Debug)]
pub(crate) enum Meter {
    /// Of a budget.
    Sum(Sum),
    /// Of a rate.
    Bucket(Bucket),
    /// Of things at once.
    Gauge(Gauge),
}

/// How much there is in all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Of a sum, or of things at once.
    Most(i128),
    /// Of a rate.
    Rate(Rate),
}

impl Meter {
    /// Takes note of the time, and of what a new policy says; whether there was such.
    pub(crate) fn refresh(&mut self, now: u64, bound: Bound) -> bool {
        match (self, bound) {
            (Self::Bucket(bucket), Bound::Rate(rate)) => bucket.refresh(now, rate),
            _ => false,
        }
    }

    /// Takes note of the time.
    pub(crate) fn pass(&mut self, now: u64) {
        if let Self::Bucket(bucket) = self {
            bucket.refill(now);
        }
    }

    /// Why there is no room, if there is none.
    pub(crate) fn shortage(&self, need: i128, bound: Bound) -> Option<Shortage> {
        match (self, bound) {
            (Self::Sum(sum), Bound::Most(limit)) => sum.shortage(need, limit),
            (Self::Gauge(gauge), Bound::Most(limit)) => gauge.shortage(need, limit),
            (Self::Bucket(bucket), _) => bucket.shortage(need),
            (Self::Sum(_) | Self::Gauge(_), Bound::Rate(_)) => None,
        }
    }

    /// Takes it, whether there is room or not.
    pub(crate) fn take(&mut self, need: i128) {
        match self {
            Self::Sum(sum) => sum.reserve(need),
            Self::Bucket(bucket) => bucket.level = bucket.level.saturating_sub(bucket.parts(need)),
            Self::Gauge(gauge) => gauge.held = gauge.held.saturating_add(u64::try_from(need).unwrap_or(0)),
        }
    }

    /// So much was taken, and so much used.
    pub(crate) fn settle(&mut self, taken: i128, used: i128) {
        match self {
            Self::Sum(sum) => {
                sum.settle(taken, used);
            }
            Self::Bucket(bucket) => bucket.settle(taken, used),
            Self::Gauge(gauge) => gauge.held = gauge.held.saturating_sub(u64::try_from(taken).unwrap_or(0)),
        }
    }

    /// Whether it is as if it were new.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Sum(sum) => sum.spent == 0 && sum.reserved == 0,
            Self::Bucket(bucket) => bucket.level == whole(bucket.rate),
            Self::Gauge(gauge) => gauge.held == 0,
        }
    }
}
