//! Random interleavings against a model that is as simple as can be.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Reserve { user: u8, input: u64, output: u64, price: Option<u8> },
    Used { call: usize, percent: u64 },
    Settle { call: usize, percent: u64, billable: bool },
    Leave { call: usize },
    Drop { call: usize },
    Pass { hours: i64 },
    Replace { day: u8, month: u8, calls: u64 },
    Restore { user: u8, tokens: u64, days: i64 },
}

fn steps(most_percent: u64) -> impl Strategy<Value = Vec<Step>> {
    let call = 0..20_usize;
    let step = prop_oneof![
        6 => (0..3_u8, 0..50_u64, 0..100_u64, proptest::option::weighted(0.8, 0..9_u8))
            .prop_map(|(user, input, output, price)| Step::Reserve { user, input, output, price }),
        2 => (call.clone(), 0..=most_percent).prop_map(|(call, percent)| Step::Used { call, percent }),
        3 => (call.clone(), 0..=most_percent, any::<bool>())
            .prop_map(|(call, percent, billable)| Step::Settle { call, percent, billable }),
        1 => call.clone().prop_map(|call| Step::Leave { call }),
        1 => call.prop_map(|call| Step::Drop { call }),
        1 => (-60..80_i64).prop_map(|hours| Step::Pass { hours }),
        1 => (1..9_u8, 1..9_u8, 1..9_u64).prop_map(|(day, month, calls)| Step::Replace { day, month, calls }),
        1 => (0..3_u8, 0..200_u64, -1..1_i64).prop_map(|(user, tokens, days)| Step::Restore { user, tokens, days }),
    ];
    vec(step, 1..80)
}

/// `day` is money for all, a day; `month` is tokens for each user, a month.
fn policy_of(day: u8, month: u8, calls: u64) -> Policy {
    let mut each = budget("month", Amount::Tokens(u64::from(month) * 100, Count::Total));
    each.per = vec![Field::User];
    each.window.unit = Unit::Month;
    policy(
        vec![budget("day", Amount::Money(u32::from(day).into())), each],
        vec![limit("calls", Measure::Concurrent, calls)],
    )
}

/// Spent and set aside, by budget, group and how often its window has changed.
type Sums = HashMap<Key, (Decimal, Decimal)>;

type Key = (&'static str, Option<u8>, u32);

/// The windows of one budget as the clock comes and goes.
#[derive(Debug, Default)]
struct Windows {
    present: Option<i64>,
    changes: u32,
}

impl Windows {
    /// Numbers of windows rise by one.
    fn at(&mut self, number: i64) -> u32 {
        match self.present {
            Some(present) if number > present => {
                self.changes += 1;
                self.present = Some(number);
            }
            Some(present) if number >= present - 1 => {}
            _ => self.present = Some(number),
        }
        self.changes
    }
}

struct OnItsWay {
    reservation: Reservation,
    ask: Ask,
    taken: Vec<(Key, Decimal)>,
}

#[derive(Default)]
struct Model {
    sums: Sums,
    days: Windows,
    months: Windows,
}

fn day(now: i64) -> i64 {
    now.div_euclid(86_400)
}

fn month(now: i64) -> i64 {
    let date = at(now).to_zoned(TimeZone::UTC).date();
    i64::from(date.year()) * 12 + i64::from(date.month())
}

impl Model {
    fn keys(&mut self, user: u8, now: i64) -> [Key; 2] {
        [("day", None, self.days.at(day(now))), ("month", Some(user), self.months.at(month(now)))]
    }

    fn sum(&mut self, key: Key) -> &mut (Decimal, Decimal) {
        self.sums.entry(key).or_default()
    }

    /// What was set aside becomes spent, as far as is said.
    fn settle(&mut self, call: &OnItsWay, used: [Decimal; 2]) {
        for ((key, taken), used) in call.taken.iter().zip(used) {
            let sum = self.sum(*key);
            *sum = (sum.0 + used, sum.1 - taken);
        }
    }
}

fn part(of: u64, percent: u64) -> u64 {
    of * percent / 100
}

fn actual(ask: &Ask, percent: u64, is_billable: bool) -> Actual {
    let cost = ask.cost.map(|cost| cost * Decimal::from(percent) / dollars("100"));
    Actual { input: Some(part(ask.input, percent)), output: Some(part(ask.output, percent)), cost, is_billable }
}

fn costs_and_tokens(actual: &Actual) -> [Decimal; 2] {
    [actual.cost.unwrap_or_default(), (actual.input.unwrap() + actual.output.unwrap()).into()]
}

/// Goes through the steps, and compares all there is to see after each.
fn run(steps: Vec<Step>, is_bounded: bool) {
    let (mut limits, mut now) = ((5_u8, 5_u8, 5_u64), NOON);
    let engine = Engine::new(policy_of(limits.0, limits.1, limits.2));
    let (mut model, mut calls): (Model, Vec<OnItsWay>) = Default::default();
    let mut lowered = false;
    for step in steps {
        match step {
            Step::Reserve { user, input, output, price } => {
                let cost = price.map(|price| Decimal::new(i64::from(price), 1));
                let ask = Ask { input, output, cost, input_cost: None, stream: false };
                let keys = model.keys(user, now);
                let needs = [cost.unwrap_or_default(), Decimal::from(input + output)];
                let most = [Decimal::from(limits.0), Decimal::from(u64::from(limits.1) * 100)];
                let has_room = keys.iter().zip(needs).zip(most).all(|((key, need), most)| {
                    let (spent, reserved) = *model.sum(*key);
                    need.is_zero() || spent + reserved + need <= most
                });
                let admits = has_room && calls.len() < usize::try_from(limits.2).unwrap();
                let caller = caller(&user.to_string());
                let result = call(&engine, &subject(&caller), ask, now);
                assert_eq!(result.is_ok(), admits, "{result:?}");
                if let Ok(reservation) = result {
                    let taken: Vec<_> = keys.into_iter().zip(needs).collect();
                    for (key, need) in &taken {
                        model.sum(*key).1 += need;
                    }
                    calls.push(OnItsWay { reservation, ask, taken });
                }
            }
            Step::Used { call, percent } if call < calls.len() => {
                let so_far = actual(&calls[call].ask, percent, true);
                calls[call].reservation.used(&so_far).unwrap();
                for (place, used) in costs_and_tokens(&so_far).into_iter().enumerate() {
                    let (key, taken) = &mut calls[call].taken[place];
                    // What had a price and has none costs as it was reserved; here all have the price they had.
                    let more = (used - *taken).max(Decimal::ZERO);
                    *taken += more;
                    model.sum(*key).1 += more;
                }
            }
            Step::Settle { call, percent, billable } if call < calls.len() => {
                let call = calls.swap_remove(call);
                let actual = actual(&call.ask, percent, billable);
                model.settle(&call, if billable { costs_and_tokens(&actual) } else { Default::default() });
                drop(call.reservation.settle(&actual));
            }
            Step::Leave { call } if call < calls.len() => {
                let call = calls.swap_remove(call);
                let (charges, _) = call.reservation.settle(&Actual { is_billable: true, ..Actual::default() });
                // The share of the input has a test of its own; here it is no more than was reserved, and the rest is given back.
                let used =
                    [charges.iter().find(|charge| &*charge.budget == "day").unwrap().amount, call.ask.input.into()];
                assert!(used[0] <= call.ask.cost.unwrap_or_default());
                let call = OnItsWay { reservation: Reservation::default(), ..call };
                model.settle(&call, used);
            }
            Step::Drop { call } if call < calls.len() => {
                let call = calls.swap_remove(call);
                let taken = [call.taken[0].1, call.taken[1].1];
                model.settle(&call, taken);
            }
            Step::Pass { hours } => now += hours * 3600,
            Step::Replace { day, month, calls } => {
                lowered |= day < limits.0 || month < limits.1;
                limits = (day, month, calls);
                engine.replace(policy_of(day, month, calls));
            }
            Step::Restore { user, tokens, days } => {
                let first = at(now).to_zoned(TimeZone::UTC).first_of_month().unwrap().start_of_day().unwrap();
                let window = first.timestamp().as_second() + days * 86_400;
                let group = format!("user={user}").into();
                let is_present = {
                    let changes = model.months.at(month(now));
                    (model.months.present == Some(month(now)) && days == 0).then_some(("month", Some(user), changes))
                };
                engine.restore_at(
                    [Charge {
                        budget: "month".into(),
                        group,
                        window,
                        counts: Some(Count::Total),
                        amount: tokens.into(),
                    }],
                    at(now),
                );
                if let Some(key) = is_present {
                    model.sum(key).0 += Decimal::from(tokens);
                    lowered = true;
                }
            }
            _ => {}
        }
        compare(&engine, &mut model, now, limits, is_bounded && !lowered);
    }
    for call in calls.drain(..) {
        model.settle(&call, Default::default());
        let (charges, _) = call.reservation.settle(&Actual::default());
        assert!(charges.iter().all(|charge| charge.amount.is_zero()));
    }
    compare(&engine, &mut model, now, limits, false);
    assert!(engine.budgets(100, at(now)).iter().all(|state| state.reserved.is_zero()));
}

/// The present windows of the engine are those of the model.
fn compare(engine: &Engine, model: &mut Model, now: i64, limits: (u8, u8, u64), is_bounded: bool) {
    let mut expected = Vec::new();
    for user in 0..3 {
        let keys = model.keys(user, now);
        for key in if user == 0 { &keys[..] } else { &keys[1..] } {
            let (spent, reserved) = *model.sum(*key);
            if !(spent.is_zero() && reserved.is_zero()) {
                let group = key.1.map(|user| format!("user={user}")).unwrap_or_default();
                expected.push((key.0.to_owned(), group, spent, reserved));
            }
            let most = if key.0 == "day" { Decimal::from(limits.0) } else { Decimal::from(u64::from(limits.1) * 100) };
            assert!(!is_bounded || spent + reserved <= most, "{key:?}");
        }
    }
    let states = engine.budgets(100, at(now)).into_iter();
    let mut states: Vec<_> =
        states.map(|state| (state.name.to_string(), state.group.to_string(), state.spent, state.reserved)).collect();
    states.sort();
    expected.sort();
    assert_eq!(states, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn budgets_hold_what_a_model_says_and_are_never_exceeded_where_calls_use_no_more_than_they_reserved(steps in steps(100)) {
        run(steps, true);
    }

    #[test]
    fn budgets_hold_what_a_model_says_where_calls_use_more_than_they_reserved(steps in steps(250)) {
        run(steps, false);
    }
}
