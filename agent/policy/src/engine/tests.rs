use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use tollgate_llm::Operation;
use tollgate_workload::{Caller, Pod};

use super::*;
use crate::{
    Actual, Amount, Ask, Budget, Count, Field, Limit, Measure, Mode, OnExhausted, Quota, Refused, Reservation,
    Selector, Spec, Subject, Unit, Unpriced, What, Window,
};

mod groups;
mod overshoot;
mod property;
mod waiting;

/// 2026-11-23T12:00:00Z, a Monday.
const NOON: i64 = 1_795_435_200;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn caller(user: &str) -> Caller {
    Caller {
        program: "python3".into(),
        executable: None,
        user: user.into(),
        uid: 1000,
        pid: 4711,
        cgroup: Some(format!("/system.slice/{user}.service").into()),
        unit: None,
        system_unit: None,
        container: None,
        pod: None,
    }
}

fn subject(caller: &Caller) -> Subject<'_> {
    Subject {
        caller,
        credential: None,
        provider: "openai",
        region: None,
        host: "api.openai.com",
        operation: Operation::Chat,
        model: Some("gpt-5"),
        stream: false,
        max_output_tokens: None,
        end_user: None,
        user_agent: None,
    }
}

fn budget(name: &str, amount: Amount) -> Budget {
    Budget {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        amount,
        window: Window { unit: Unit::Day, zone: TimeZone::UTC },
        soft: Vec::new(),
        on_exhausted: OnExhausted::Finish,
        unpriced: Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn limit(name: &str, measure: Measure, amount: u64) -> Limit {
    Limit {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        measure,
        amount,
        period: Duration::from_mins(1),
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn policy(budgets: Vec<Budget>, limits: Vec<Limit>) -> Policy {
    Policy::new(Spec { budgets, limits, ..Spec::default() })
}

fn engine(budgets: Vec<Budget>, limits: Vec<Limit>) -> Engine {
    Engine::new(policy(budgets, limits))
}

fn dollars(sum: &str) -> Decimal {
    sum.parse().unwrap()
}

fn money(sum: &str) -> Amount {
    Amount::Money(dollars(sum))
}

fn costs(sum: &str) -> Ask {
    Ask { input: 10, output: 10, cost: Some(dollars(sum)), input_cost: None, stream: false }
}

fn tokens(input: u64, output: u64) -> Ask {
    Ask { input, output, cost: None, input_cost: None, stream: false }
}

fn spent(sum: &str) -> Actual {
    Actual { input: Some(10), output: Some(10), cost: Some(dollars(sum)), is_billable: true }
}

fn used(input: u64, output: u64) -> Actual {
    Actual { input: Some(input), output: Some(output), cost: None, is_billable: true }
}

/// A call that is admitted or refused at once.
fn call(engine: &Engine, subject: &Subject<'_>, ask: Ask, second: i64) -> Result<Reservation, Refused> {
    let (_, decided) = engine.decide(subject, at(second));
    match pin!(decided?.reserve(subject, &ask)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

/// Spent and set aside of the one group there is.
fn state(engine: &Engine, second: i64) -> (Decimal, Decimal) {
    let states = engine.budgets(10, at(second));
    assert!(states.len() <= 1, "{states:?}");
    states.first().map_or((Decimal::ZERO, Decimal::ZERO), |state| (state.spent, state.reserved))
}

#[test]
fn a_call_reserves_the_most_it_may_cost_and_is_charged_what_it_did() {
    let engine = engine(vec![budget("b", money("10"))], vec![]);
    let alice = caller("alice");
    let reservation = call(&engine, &subject(&alice), costs("4"), NOON).unwrap();
    assert_eq!(state(&engine, NOON), (dollars("0"), dollars("4")));
    let charge =
        Charge { budget: "b".into(), group: "".into(), window: NOON - 12 * 3600, counts: None, amount: dollars("4") };
    assert_eq!(reservation.charges(), std::slice::from_ref(&charge));
    let (charges, notices) = reservation.settle(&spent("1.5"));
    assert_eq!(charges, [Charge { amount: dollars("1.5"), ..charge }]);
    assert_eq!(notices, []);
    assert_eq!(state(&engine, NOON), (dollars("1.5"), dollars("0")));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_refused_that_could_overdraw_a_budget_together_with_those_on_their_way() {
    let mut month = budget("month", money("10"));
    month.window = Window { unit: Unit::Month, zone: TimeZone::get("Europe/Berlin").unwrap() };
    month.contact = Some("finance@example.com".into());
    month.message = Some("Talk to us early.".into());
    let engine = engine(vec![month], vec![]);
    let alice = caller("alice");
    call(&engine, &subject(&alice), costs("6"), NOON).unwrap().settle(&spent("6"));
    let second = call(&engine, &subject(&alice), costs("3"), NOON).unwrap();

    let refused = call(&engine, &subject(&alice), costs("2"), NOON).unwrap_err();
    assert_eq!((refused.what, &*refused.name, refused.status), (What::Budget, "month", StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(
        refused.message,
        "Budget \"month\" has no room for this call while others are on their way: it allows $10 a month. Try again shortly. \
         It resets at 2026-12-01T00:00:00+01:00 (Europe/Berlin). Talk to us early. Ask finance@example.com."
    );
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));

    let refused = call(&engine, &subject(&alice), costs("5"), NOON).unwrap_err();
    assert_eq!(
        refused.message,
        "Budget \"month\" has no room for this call: it allows $10 a month. It resets at 2026-12-01T00:00:00+01:00 \
         (Europe/Berlin). Talk to us early. Ask finance@example.com."
    );
    // From Monday noon to the first at midnight in Berlin: seven days and eleven hours.
    assert_eq!(refused.retry_after, Some(Duration::from_hours(7 * 24 + 11)));

    let refused = call(&engine, &subject(&alice), costs("11"), NOON).unwrap_err();
    assert!(refused.message.starts_with("Budget \"month\" can never let this call pass"), "{}", refused.message);
    assert_eq!(refused.retry_after, None);

    second.settle(&spent("0"));
    call(&engine, &subject(&alice), costs("4"), NOON).unwrap().settle(&spent("4"));
}

#[test]
fn a_call_takes_from_all_its_budgets_and_limits_or_from_none() {
    let mut small = budget("small", Amount::Tokens(100, Count::Total));
    small.per = vec![Field::User];
    let limits = vec![limit("rpm", Measure::Requests, 10), limit("at-once", Measure::Concurrent, 10)];
    let engine = engine(vec![budget("all", Amount::Tokens(1000, Count::Total)), small], limits);
    let (alice, bob) = (caller("alice"), caller("bob"));
    call(&engine, &subject(&alice), tokens(50, 40), NOON).unwrap().settle(&used(50, 40));
    for _ in 0..20 {
        let refused = call(&engine, &subject(&alice), tokens(10, 10), NOON).unwrap_err();
        assert_eq!(&*refused.name, "small");
        assert!(refused.message.contains("100 tokens a day for user=alice"), "{}", refused.message);
    }
    // Those that were refused used up nothing of what is shared.
    for _ in 0..9 {
        call(&engine, &subject(&bob), tokens(5, 5), NOON).unwrap().settle(&used(5, 5));
    }
    assert_eq!(&*call(&engine, &subject(&bob), tokens(5, 5), NOON).unwrap_err().name, "rpm");
}

#[test]
fn what_a_provider_does_not_charge_for_gives_all_back() {
    let limits = vec![limit("tpm", Measure::Tokens(Count::Total), 100)];
    let engine = engine(vec![budget("b", money("10"))], limits);
    let alice = caller("alice");
    let ask = Ask { input: 50, output: 50, ..costs("10") };
    for _ in 0..10 {
        let reservation = call(&engine, &subject(&alice), ask, NOON).unwrap();
        let (charges, _) = reservation.settle(&Actual { is_billable: false, ..spent("10") });
        assert_eq!(charges[0].amount, dollars("0"));
    }
    assert_eq!(state(&engine, NOON), (dollars("0"), dollars("0")));
}

#[test]
fn a_call_whose_client_left_costs_what_is_known_and_its_input_at_least() {
    let engine = engine(vec![budget("b", money("100"))], vec![]);
    let alice = caller("alice");
    let ask = Ask { input: 1000, output: 500, cost: Some(dollars("12")), input_cost: Some(dollars("2")), stream: true };
    let nothing = Actual { is_billable: true, ..Actual::default() };
    let charged = |actual: Actual| {
        let reservation = call(&engine, &subject(&alice), ask, NOON).unwrap();
        reservation.settle(&actual).0[0].amount
    };
    assert_eq!(charged(nothing), dollars("2"));
    assert_eq!(charged(Actual { output: Some(50), ..nothing }), dollars("3"));
    assert_eq!(charged(Actual { input: Some(500), output: Some(100), ..nothing }), dollars("3"));
    assert_eq!(charged(Actual { cost: Some(dollars("7")), ..nothing }), dollars("7"));
    assert_eq!(charged(Actual { is_billable: false, ..nothing }), dollars("0"));
}

#[test]
fn a_reservation_that_is_dropped_stays_spent_and_gives_its_place_back() {
    let engine = engine(vec![budget("b", money("10"))], vec![limit("one", Measure::Concurrent, 1)]);
    let alice = caller("alice");
    let reservation = call(&engine, &subject(&alice), costs("4"), NOON).unwrap();
    assert_eq!(&*call(&engine, &subject(&alice), costs("4"), NOON).unwrap_err().name, "one");
    drop(reservation);
    assert_eq!(state(&engine, NOON), (dollars("4"), dollars("0")));
    drop(call(&engine, &subject(&alice), costs("4"), NOON).unwrap());
    assert_eq!(&*call(&engine, &subject(&alice), costs("4"), NOON).unwrap_err().name, "b");
}

#[test]
fn a_place_that_is_left_early_is_given_back_once() {
    let engine = engine(vec![budget("b", money("10"))], vec![limit("two", Measure::Concurrent, 2)]);
    let alice = caller("alice");
    let call = || call(&engine, &subject(&alice), costs("1"), NOON);
    let (mut first, second) = (call().unwrap(), call().unwrap());
    call().unwrap_err();
    first.leave();
    first.leave();
    let third = call().unwrap();
    first.settle(&spent("0.5"));
    call().unwrap_err();
    assert_eq!(state(&engine, NOON), (dollars("0.5"), dollars("2")));
    drop((second, third));
}

#[test]
fn calls_without_a_price_are_allowed_refused_or_charged_by_assumed_rates() {
    let alice = caller("alice");
    let with = |unpriced, mode| {
        let mut budget = budget("b", money("10"));
        (budget.unpriced, budget.mode) = (unpriced, mode);
        engine(vec![budget], vec![])
    };
    let allow = with(Unpriced::Allow, Mode::Enforce);
    let reservation = call(&allow, &subject(&alice), tokens(1000, 1000), NOON).unwrap();
    assert_eq!(reservation.settle(&used(1000, 1000)).0[0].amount, dollars("0"));

    let deny = with(Unpriced::Deny, Mode::Enforce);
    let refused = call(&deny, &subject(&alice), tokens(1000, 1000), NOON).unwrap_err();
    assert_eq!((refused.status, refused.retry_after), (StatusCode::FORBIDDEN, None));
    assert!(refused.message.contains("price is not known"), "{}", refused.message);

    let observe = with(Unpriced::Deny, Mode::Observe);
    let mut reservation = call(&observe, &subject(&alice), tokens(1000, 1000), NOON).unwrap();
    let observed = Notice::Refused { what: What::Budget, name: "b".into(), mode: Mode::Observe };
    assert_eq!(reservation.take_notices(), [observed]);

    let assume = with(Unpriced::Assume { input: dollars("5"), output: dollars("25") }, Mode::Enforce);
    let reservation = call(&assume, &subject(&alice), tokens(1_000_000, 100_000), NOON).unwrap();
    assert_eq!(reservation.charges()[0].amount, dollars("7.5"));
    assert_eq!(reservation.settle(&used(500_000, 1000)).0[0].amount, dollars("2.525"));
}

#[test]
fn each_threshold_is_told_once_and_not_again_after_a_restart() {
    let mut budget = budget("b", money("10"));
    budget.soft = vec![50, 80];
    let percents = |engine: &Engine, sum: &str| -> Vec<u8> {
        let (alice, actual) = (caller("alice"), spent(sum));
        let (_, notices) = call(engine, &subject(&alice), costs(sum), NOON).unwrap().settle(&actual);
        let percents = notices.into_iter().map(|notice| match notice {
            Notice::Spent { percent, .. } => percent,
            other => panic!("{other:?}"),
        });
        percents.collect()
    };
    let before = engine(vec![budget.clone()], vec![]);
    assert!(percents(&before, "4.99").is_empty());
    assert_eq!(percents(&before, "0.01"), [50]);
    assert!(percents(&before, "1").is_empty());
    // A restart.
    let after = engine(vec![budget], vec![]);
    let charge =
        |sum: &str, window| Charge { budget: "b".into(), group: "".into(), window, counts: None, amount: dollars(sum) };
    let today = NOON - 12 * 3600;
    let unknown = Charge { budget: "c".into(), ..charge("9", today) };
    after.restore_at([charge("4", today), charge("2", today), charge("9", today - 86_400), unknown], at(NOON));
    assert_eq!(state(&after, NOON), (dollars("6"), dollars("0")));
    assert!(percents(&after, "1.9").is_empty());
    assert_eq!(percents(&after, "2.1"), [80, 100]);
}

#[test]
fn a_restart_takes_no_tokens_for_dollars_where_a_budget_has_come_to_count_something_else() {
    let today = NOON - 12 * 3600;
    let charge = |counts, amount: &str| Charge {
        budget: "b".into(),
        group: "".into(),
        window: today,
        counts,
        amount: dollars(amount),
    };
    let charges = || [charge(Some(Count::Total), "9000000"), charge(Some(Count::Output), "70"), charge(None, "4")];
    for (amount, expected) in [
        (money("10"), "4"),
        (Amount::Tokens(10_000_000, Count::Total), "9000000"),
        (Amount::Tokens(100, Count::Output), "70"),
    ] {
        let engine = engine(vec![budget("b", amount)], vec![]);
        engine.restore_at(charges(), at(NOON));
        assert_eq!(state(&engine, NOON), (dollars(expected), dollars("0")));
    }
}

#[test]
fn a_threshold_that_a_dropped_call_passed_is_told_by_the_next() {
    let mut budget = budget("b", money("10"));
    budget.soft = vec![50];
    let engine = engine(vec![budget], vec![]);
    let alice = caller("alice");
    drop(call(&engine, &subject(&alice), costs("6"), NOON).unwrap());
    let (_, notices) = call(&engine, &subject(&alice), costs("1"), NOON).unwrap().settle(&spent("1"));
    assert!(matches!(notices[..], [Notice::Spent { percent: 50, .. }]), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_uses_more_than_it_reserved_takes_it_from_the_others_and_is_cut_where_that_is_wanted() {
    let alice = caller("alice");
    let with = |on_exhausted, mode| {
        let mut budget = budget("b", money("10"));
        (budget.on_exhausted, budget.mode) = (on_exhausted, mode);
        engine(vec![budget], vec![])
    };
    let cut = with(OnExhausted::Cut, Mode::Enforce);
    let mut stream = call(&cut, &subject(&alice), costs("4"), NOON).unwrap();
    stream.used(&spent("3")).unwrap();
    assert_eq!(state(&cut, NOON).1, dollars("4"));
    stream.used(&spent("7")).unwrap();
    assert_eq!(state(&cut, NOON).1, dollars("7"));
    let other = call(&cut, &subject(&alice), costs("3"), NOON).unwrap();
    let refused = stream.used(&spent("7.5")).unwrap_err();
    assert!(refused.message.starts_with("Budget \"b\" is spent, and this answer ends here: it allows $10 a day."));
    assert_eq!(refused.retry_after, Some(Duration::from_hours(12)));
    let (charges, notices) = stream.settle(&spent("7.5"));
    assert_eq!(charges[0].amount, dollars("7.5"));
    assert_eq!(notices, [Notice::Cut { budget: "b".into() }]);
    other.settle(&spent("3"));
    assert_eq!(state(&cut, NOON), (dollars("10.5"), dollars("0")));

    for (on_exhausted, mode) in [(OnExhausted::Finish, Mode::Enforce), (OnExhausted::Cut, Mode::Observe)] {
        let engine = with(on_exhausted, mode);
        let mut stream = call(&engine, &subject(&alice), costs("4"), NOON).unwrap();
        stream.used(&spent("12")).unwrap();
        stream.settle(&spent("12"));
        assert_eq!(state(&engine, NOON).0, dollars("12"));
    }
}

#[test]
fn a_new_window_begins_with_nothing_spent_and_a_call_is_charged_in_the_one_it_began_in() {
    let mut day = budget("b", money("10"));
    day.window.zone = TimeZone::get("Asia/Kathmandu").unwrap();
    let engine = engine(vec![day], vec![]);
    let alice = caller("alice");
    // Midnight there is 18:15 in UTC.
    let midnight = NOON + 6 * 3600 + 900;
    let late = call(&engine, &subject(&alice), costs("9"), midnight - 1).unwrap();
    assert_eq!(late.charges()[0].window, midnight - 86_400);
    let next = call(&engine, &subject(&alice), costs("8"), midnight).unwrap();
    assert_eq!(next.charges()[0].window, midnight);
    assert_eq!(late.settle(&spent("9")).0[0].window, midnight - 86_400);
    assert_eq!(state(&engine, midnight), (dollars("0"), dollars("8")));
    next.settle(&spent("8"));
}

#[test]
fn a_clock_that_goes_back_opens_no_fresh_window() {
    let engine = engine(vec![budget("b", money("10"))], vec![]);
    let alice = caller("alice");
    call(&engine, &subject(&alice), costs("9"), NOON).unwrap().settle(&spent("9"));
    // Into yesterday, back into today, and months back: what was spent stays.
    for second in [NOON - 86_400, NOON, NOON - 90 * 86_400, NOON - 90 * 86_400] {
        assert_eq!(&*call(&engine, &subject(&alice), costs("2"), second).unwrap_err().name, "b", "{second}");
    }
    // Then days go on from there.
    call(&engine, &subject(&alice), costs("2"), NOON - 89 * 86_400).unwrap().settle(&spent("2"));
    assert_eq!(state(&engine, NOON - 89 * 86_400).0, dollars("2"));
}

#[test]
fn what_was_spent_is_known_where_the_clock_is_set_only_after_the_start() {
    let engine = engine(vec![budget("b", money("10"))], vec![]);
    let alice = caller("alice");
    let charge = |window| Charge { budget: "b".into(), group: "".into(), window, counts: None, amount: dollars("9") };
    let today = NOON - 12 * 3600;
    engine.restore_at([charge(today), charge(today - 86_400), charge(today + 86_400)], at(0));
    call(&engine, &subject(&alice), costs("2"), 0).unwrap().settle(&spent("2"));
    for second in [NOON, NOON + 86_400] {
        assert_eq!(state(&engine, second).0, dollars("9"));
        assert_eq!(&*call(&engine, &subject(&alice), costs("2"), second).unwrap_err().name, "b");
    }
    call(&engine, &subject(&alice), costs("2"), NOON + 2 * 86_400).unwrap().settle(&spent("2"));
}

#[test]
fn a_new_policy_keeps_what_was_spent_under_the_same_names_and_what_is_on_its_way() {
    let old = budget("b", money("10"));
    let requests = limit("rpm", Measure::Requests, 2);
    let engine = engine(vec![old.clone()], vec![requests.clone()]);
    let alice = caller("alice");
    let on_its_way = call(&engine, &subject(&alice), costs("6"), NOON).unwrap();

    let larger = Budget { amount: money("20"), soft: vec![50], on_exhausted: OnExhausted::Cut, ..old.clone() };
    engine.replace(policy(vec![budget("other", money("1000")), larger], vec![requests.clone()]));
    call(&engine, &subject(&alice), costs("13"), NOON).unwrap().settle(&spent("13"));
    assert_eq!(&*call(&engine, &subject(&alice), costs("0.1"), NOON).unwrap_err().name, "rpm");
    on_its_way.settle(&spent("5"));
    let states = engine.budgets(10, at(NOON));
    assert_eq!((&*states[0].name, states[0].spent, states[0].reserved), ("b", dollars("18"), dollars("0")));

    // Left out for a while, it is still known; counted in other windows, it begins anew.
    engine.replace(policy(vec![], vec![]));
    assert_eq!(engine.budgets(10, at(NOON)), []);
    engine.replace(policy(vec![old.clone()], vec![]));
    assert_eq!(state(&engine, NOON).0, dollars("18"));
    let week = Window { unit: Unit::Week, zone: TimeZone::UTC };
    engine.replace(policy(vec![Budget { window: week, ..old }], vec![]));
    assert_eq!(state(&engine, NOON), (dollars("0"), dollars("0")));
}

#[test]
fn two_budgets_of_one_name_do_not_stand_in_each_others_way() {
    let engine = engine(vec![budget("b", money("10")), budget("b", money("5"))], vec![]);
    let alice = caller("alice");
    call(&engine, &subject(&alice), costs("5"), NOON).unwrap().settle(&spent("5"));
    assert_eq!(&*call(&engine, &subject(&alice), costs("1"), NOON).unwrap_err().name, "b");
}

#[test]
fn observed_budgets_and_limits_refuse_nothing_and_tell_each_time() {
    let mut observed = budget("b", money("1"));
    observed.mode = Mode::Observe;
    let mut rate = limit("rpm", Measure::Requests, 2);
    rate.mode = Mode::Observe;
    let engine = engine(vec![observed], vec![rate]);
    let alice = caller("alice");
    let told = |what, name: &str| Notice::Refused { what, name: name.into(), mode: Mode::Observe };
    let mut calls = Vec::new();
    for _ in 0..4 {
        let mut reservation = call(&engine, &subject(&alice), costs("0.75"), NOON).unwrap();
        calls.push(reservation.take_notices());
        reservation.settle(&spent("0.75"));
    }
    let (budget, limit) = (told(What::Budget, "b"), told(What::Limit, "rpm"));
    assert_eq!(calls, [vec![], vec![budget.clone()], vec![budget.clone(), limit.clone()], vec![budget, limit]]);
    // What was really spent is counted.
    assert_eq!(state(&engine, NOON).0, dollars("3"));
}

#[test]
fn what_is_observed_is_told_with_a_refusal_by_something_else() {
    let mut unpriced = budget("observed", money("1"));
    (unpriced.mode, unpriced.unpriced) = (Mode::Observe, Unpriced::Deny);
    let engine = engine(vec![unpriced], vec![limit("none", Measure::Requests, 0)]);
    let refused = call(&engine, &subject(&caller("alice")), tokens(1, 1), NOON).unwrap_err();
    assert_eq!((&*refused.name, refused.retry_after), ("none", None));
    assert_eq!(refused.notices, [Notice::Refused { what: What::Budget, name: "observed".into(), mode: Mode::Observe }]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_refills_smoothly_and_says_exactly_when_to_come_again() {
    let engine = engine(vec![], vec![limit("rpm", Measure::Requests, 60)]);
    let alice = caller("alice");
    let call = || call(&engine, &subject(&alice), tokens(1, 1), NOON);
    for _ in 0..60 {
        call().unwrap().settle(&used(1, 1));
    }
    let refused = call().unwrap_err();
    assert_eq!((refused.what, refused.retry_after), (What::Limit, Some(Duration::from_secs(1))));
    let quota = Quota { is_tokens: false, limit: 60, remaining: 0, reset: Duration::from_mins(1) };
    assert_eq!(refused.quota, Some(quota));
    assert_eq!(refused.message, "Limit \"rpm\" is reached: it allows 60 requests a minute. Try again in 1 second.");
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(call().unwrap_err().retry_after, Some(Duration::from_millis(1)));
    tokio::time::advance(Duration::from_millis(1)).await;
    call().unwrap().settle(&used(1, 1));
    call().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn tokens_that_were_not_used_come_back_and_those_used_beyond_are_owed() {
    let engine = engine(vec![], vec![limit("tpm", Measure::Tokens(Count::Total), 600)]);
    let alice = caller("alice");
    let call = |input, output| call(&engine, &subject(&alice), tokens(input, output), NOON);
    let first = call(100, 500).unwrap();
    assert_eq!(call(1, 0).unwrap_err().retry_after, Some(Duration::from_millis(100)));
    first.settle(&used(100, 50));
    let second = call(400, 50).unwrap();
    // Much later it gives back, and the bucket holds no more than it holds.
    tokio::time::advance(Duration::from_mins(10)).await;
    second.settle(&used(0, 0));
    let third = call(600, 0).unwrap();
    call(1, 0).unwrap_err();
    third.settle(&used(900, 0));
    // 300 are owed, at ten a second.
    assert_eq!(call(10, 0).unwrap_err().retry_after, Some(Duration::from_secs(31)));
    let refused = call(600, 1).unwrap_err();
    assert_eq!(refused.retry_after, None);
    assert_eq!(
        refused.message,
        "Limit \"tpm\" can never let this call pass: it needs more than there is in all, 600 tokens a minute. Ask for a smaller \
         largest answer (such as max_tokens), or send less."
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_changes_keeps_what_was_used_of_it() {
    let rate = |amount| limit("rpm", Measure::Requests, amount);
    let engine = engine(vec![], vec![rate(10)]);
    let alice = caller("alice");
    let calls = || std::iter::from_fn(|| call(&engine, &subject(&alice), tokens(1, 1), NOON).ok()).take(100).count();
    for _ in 0..4 {
        call(&engine, &subject(&alice), tokens(1, 1), NOON).unwrap().settle(&used(1, 1));
    }
    engine.replace(policy(vec![], vec![rate(20)]));
    assert_eq!(calls(), 16);
    engine.replace(policy(vec![], vec![rate(30)]));
    assert_eq!(calls(), 10);
}

#[test]
fn streams_are_counted_apart_from_other_calls() {
    let engine = engine(vec![], vec![limit("streams", Measure::Streams, 1)]);
    let alice = caller("alice");
    let stream = Ask { stream: true, ..tokens(1, 1) };
    let first = call(&engine, &subject(&alice), stream, NOON).unwrap();
    let refused = call(&engine, &subject(&alice), stream, NOON).unwrap_err();
    assert_eq!(
        refused.message,
        "Limit \"streams\" is reached: it allows 1 streams at a time. Try again when a call has ended."
    );
    assert_eq!((refused.retry_after, refused.quota), (Some(Duration::from_secs(1)), None));
    call(&engine, &subject(&alice), tokens(1, 1), NOON).unwrap().settle(&used(1, 1));
    first.settle(&used(1, 1));
    call(&engine, &subject(&alice), stream, NOON).unwrap().settle(&used(1, 1));
}

#[test]
fn numbers_beyond_all_measure_neither_overflow_nor_pass() {
    let limits = vec![limit("tpm", Measure::Tokens(Count::Total), u64::MAX), limit("n", Measure::Concurrent, u64::MAX)];
    let budgets = vec![budget("b", Amount::Money(Decimal::MAX)), budget("t", Amount::Tokens(u64::MAX, Count::Total))];
    let engine = engine(budgets, limits);
    let alice = caller("alice");
    let huge = Ask {
        input: u64::MAX,
        output: u64::MAX,
        cost: Some(Decimal::MAX),
        input_cost: Some(Decimal::MAX),
        stream: true,
    };
    call(&engine, &subject(&alice), huge, NOON).unwrap_err();
    let mut reservation = call(&engine, &subject(&alice), tokens(1, 1), NOON).unwrap();
    let actual = Actual { input: Some(u64::MAX), output: Some(u64::MAX), cost: Some(Decimal::MAX), is_billable: true };
    reservation.used(&actual).unwrap();
    reservation.settle(&actual);
    call(&engine, &subject(&alice), tokens(1, 1), NOON).unwrap_err();
}

fn _reservations_are_send(reservation: &(Reservation,), engine: &'static Engine) -> impl Send {
    fn is_send(_: &(impl Send + Sync)) {}
    is_send(reservation);
    async move {
        let alice = caller("alice");
        let (_, decided) = engine.decide(&subject(&alice), at(NOON));
        decided.unwrap().reserve(&subject(&alice), &tokens(1, 1)).await.is_ok()
    }
}
