use proptest::collection::vec;
use proptest::prelude::*;

use super::cell::{Cell, Claim, Lack, take_all};
use super::line::{Arrival, Wake};
use super::meter::{Bound, Bucket, Gauge, Meter, Rate};
use crate::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    Take { need: u64 },
    Settle { call: usize, percent: u64 },
    Pass { time: u64 },
    Change { amount: u64, period: u64 },
}

fn steps(changes: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..60_u64).prop_map(|need| Step::Take { need }),
        3 => (0..20_usize, 0..=100_u64).prop_map(|(call, percent)| Step::Settle { call, percent }),
        3 => (0..3000_u64).prop_map(|time| Step::Pass { time }),
        changes => (1..80_u64, 1..2000_u64).prop_map(|(amount, period)| Step::Change { amount, period }),
    ];
    vec(step, 1..120)
}

/// Each left its line for that of the other, and with more of them behind it so did the next, for ever.
#[test]
fn of_those_in_front_of_two_lines_that_want_both_the_first_to_come_passes() {
    let both: Vec<_> = (0..2).map(|_| Arc::new(Cell::new(Meter::Gauge(Gauge::default())))).collect();
    let claim = |cell: &Arc<Cell>| Claim { cell: Arc::clone(cell), need: 1, bound: Bound::Most(1), lack: Lack::Refuse };
    let claims: Vec<_> = both.iter().map(claim).collect();
    take_all(&claims, u64::MAX, 0).unwrap();
    for (cell, order) in both.iter().zip(1..) {
        let arrival = Arrival { caller: order, order, need: 1, bound: Bound::Most(1), deadline: u64::MAX };
        cell.join(arrival, 0).unwrap().into_iter().for_each(Wake::wake);
    }
    for cell in &both {
        cell.settle(1, 0, 0).wake();
    }
    for order in [2, u64::MAX] {
        let blocked = take_all(&claims, order, 0).unwrap_err();
        assert!(blocked[0].claim == 0 && blocked[0].shortage.is_none(), "{order}: {blocked:?}");
    }
    assert!(take_all(&claims, 1, 0).is_ok());
}

proptest! {
    #[test]
    fn a_rate_lets_no_more_pass_than_its_amount_and_what_time_brings(
        steps in steps(0), amount in 1..100_u64, period in 1..5000_u64,
    ) {
        let rate = Rate { amount, period, generation: 0 };
        let (mut meter, bound) = (Meter::Bucket(Bucket::full(rate, 0)), Bound::Rate(rate));
        let (mut now, mut net, mut calls) = (0_u64, 0_i128, Vec::new());
        for step in steps {
            match step {
                Step::Take { need } => {
                    meter.refresh(now, bound);
                    let need = i128::from(need);
                    match meter.shortage(need, bound) {
                        None => {
                            meter.take(need);
                            net += need;
                            calls.push(need);
                        }
                        Some(shortage) => {
                            prop_assert_eq!(shortage.is_never, need > i128::from(amount));
                            let Some(room_in) = shortage.room_in else { continue };
                            // It is exact: one moment before there is no room.
                            meter.refresh(now + room_in - 1, bound);
                            prop_assert!(meter.shortage(need, bound).is_some());
                            now += room_in;
                            meter.refresh(now, bound);
                            prop_assert!(meter.shortage(need, bound).is_none());
                        }
                    }
                }
                Step::Settle { call, percent } if call < calls.len() => {
                    let taken = calls.swap_remove(call);
                    let used = taken * i128::from(percent) / 100;
                    meter.pass(now);
                    meter.settle(taken, used);
                    net -= taken - used;
                }
                Step::Pass { time } => now += time,
                Step::Settle { .. } | Step::Change { .. } => {}
            }
            let brought = i128::from(now) * i128::from(amount) / i128::from(period);
            prop_assert!(net <= i128::from(amount) + brought, "{} of {} and {}", net, amount, brought);
            // However much was given back, it holds no more than it holds.
            meter.pass(now);
            let more = i128::from(amount) + 1;
            prop_assert!(meter.shortage(more, bound).is_some_and(|shortage| shortage.is_never));
        }
    }

    #[test]
    fn a_rate_is_whole_again_when_it_said_whatever_was_used_and_changed(steps in steps(2)) {
        let mut rate = Rate { amount: 50, period: 1000, generation: 0 };
        let mut meter = Meter::Bucket(Bucket::full(rate, 0));
        let (mut now, mut calls) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Take { need } => {
                    meter.take(i128::from(need));
                    calls.push(i128::from(need));
                }
                Step::Settle { call, percent } if call < calls.len() => {
                    let taken = calls.swap_remove(call);
                    meter.settle(taken, taken * i128::from(percent) / 50);
                }
                Step::Pass { time } => now += time,
                Step::Change { amount, period } => {
                    rate = Rate { amount, period, generation: rate.generation + 1 };
                }
                Step::Settle { .. } => {}
            }
            meter.refresh(now, Bound::Rate(rate));
        }
        let all = i128::from(rate.amount);
        if let Some(shortage) = meter.shortage(all, Bound::Rate(rate)) {
            prop_assert_eq!(shortage.room_in, Some(shortage.whole_in));
            now += shortage.whole_in;
        }
        meter.pass(now);
        prop_assert!(meter.shortage(all, Bound::Rate(rate)).is_none());
        prop_assert!(meter.is_idle());
    }
}
