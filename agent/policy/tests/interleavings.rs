//! The locks and the line under every interleaving of two or three threads that loom can find. The files are the crate's own, with
//! loom's locks in the place of its locks.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes_without_reason)]

#[path = "../src/spend/cell.rs"]
mod cell;
#[path = "../src/spend/line.rs"]
mod line;
#[path = "../src/spend/meter.rs"]
mod meter;

/// What `src/sync.rs` is in the crate.
mod sync {
    pub(crate) use loom::sync::Arc;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a panic fails the test anyhow")
        }
    }
}

use std::future::poll_fn;
use std::task::Poll;

use cell::{Cell, Claim, Lack, take_all};
use line::{Arrival, Standing};
use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use meter::{Bound, Bucket, Gauge, Meter, Rate, Sum};
use sync::Arc;

const NOBODY: u64 = u64::MAX;

fn model(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    // More changes of thread than a defect needs that anybody has found in such code; without a bound it takes hours.
    builder.preemption_bound = Some(3);
    builder.check(test);
}

fn sum() -> Arc<Cell> {
    Arc::new(Cell::new(Meter::Sum(Sum::default())))
}

fn claim(cell: &Arc<Cell>, need: i128, most: i128) -> Claim {
    Claim { cell: Arc::clone(cell), need, bound: Bound::Most(most), lack: Lack::Refuse }
}

fn taken(cell: &Cell) -> i128 {
    cell.sum(|sum| sum.spent() + sum.reserved()).expect("it is a sum")
}

/// What a call does that may wait: as `Attempt` does, without time.
fn take_or_wait(claims: &[Claim], order: u64) {
    let mut joined: Option<Arc<Cell>> = None;
    while let Err(blocked) = take_all(claims, order, 0) {
        if let Some(cell) = &joined
            && !blocked.iter().any(|blocked| claims[blocked.claim].cell.id() == cell.id())
        {
            cell.leave(order, false, 0).wake();
            joined = None;
        }
        let cell = joined.get_or_insert_with(|| {
            let Claim { cell, need, bound, .. } = &claims[blocked[0].claim];
            let arrival = Arrival { caller: order, order, need: *need, bound: *bound, deadline: u64::MAX };
            cell.join(arrival, 0).expect("the line is short").into_iter().for_each(line::Wake::wake);
            Arc::clone(cell)
        });
        block_on(poll_fn(|context| match cell.stand(order, context.waker()) {
            Standing::Called => Poll::Ready(()),
            Standing::Waiting => Poll::Pending,
            Standing::Out => panic!("nobody turned it away"),
        }));
    }
    if let Some(cell) = joined {
        cell.leave(order, true, 0).wake();
    }
}

#[test]
fn two_calls_for_the_last_room_of_two_budgets_never_both_get_it_nor_wait_for_each_others_locks() {
    model(|| {
        let (a, b) = (sum(), sum());
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let claims = [claim(&a, 2, 3), claim(&b, 1, 3)];
                thread::spawn(move || {
                    let is_admitted = take_all(&claims, NOBODY, 0).is_ok();
                    assert!(taken(&claims[0].cell) <= 3);
                    is_admitted
                })
            })
            .collect();
        let admitted = calls.into_iter().map(|call| call.join().unwrap()).filter(|is| *is).count();
        assert_eq!((admitted, taken(&a), taken(&b)), (1, 2, 1));
    });
}

#[test]
fn a_call_that_is_refused_is_never_in_the_way_of_another() {
    model(|| {
        let (a, b) = (sum(), sum());
        let claims = [claim(&a, 1, 1), claim(&b, 2, 1)];
        let refused = thread::spawn(move || assert!(take_all(&claims, NOBODY, 0).is_err()));
        assert!(take_all(&[claim(&a, 1, 1)], NOBODY, 0).is_ok());
        refused.join().unwrap();
        assert_eq!((taken(&a), taken(&b)), (1, 0));
    });
}

#[test]
fn what_is_given_back_can_be_taken_once() {
    model(|| {
        let a = sum();
        assert!(take_all(&[claim(&a, 3, 3)], NOBODY, 0).is_ok());
        let settling = Arc::clone(&a);
        let settled = thread::spawn(move || settling.sum(|sum| sum.settle(3, 1)));
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let claims = [claim(&a, 2, 3)];
                thread::spawn(move || take_all(&claims, NOBODY, 0).is_ok())
            })
            .collect();
        settled.join().unwrap();
        let late = take_all(&[claim(&a, 2, 3)], NOBODY, 0).is_ok();
        let admitted = calls.into_iter().map(|call| call.join().unwrap()).filter(|is| *is).count() + usize::from(late);
        assert_eq!((admitted, taken(&a)), (1, 3));
    });
}

#[test]
fn room_that_comes_while_a_call_goes_to_wait_wakes_it() {
    model(|| {
        let gauge = Arc::new(Cell::new(Meter::Gauge(Gauge::default())));
        take_or_wait(&[claim(&gauge, 1, 1)], 0);
        let calls: Vec<_> = (1..3)
            .map(|order| {
                let gauge = Arc::clone(&gauge);
                thread::spawn(move || {
                    take_or_wait(&[claim(&gauge, 1, 1)], order);
                    gauge.settle(1, 0, 0).wake();
                })
            })
            .collect();
        gauge.settle(1, 0, 0).wake();
        for call in calls {
            call.join().unwrap();
        }
        assert!(gauge.is_idle(0));
    });
}

#[test]
fn tokens_that_are_given_back_wake_whom_they_are_enough_for() {
    model(|| {
        let rate = Rate { amount: 10, period: 1, generation: 0 };
        let bucket = Arc::new(Cell::new(Meter::Bucket(Bucket::full(rate, 0))));
        let claim = |need| Claim { cell: Arc::clone(&bucket), need, bound: Bound::Rate(rate), lack: Lack::Refuse };
        assert!(take_all(&[claim(10)], NOBODY, 0).is_ok());
        let waiting = [claim(7)];
        let call = thread::spawn(move || take_or_wait(&waiting, 0));
        bucket.settle(5, 1, 0).wake();
        bucket.settle(5, 2, 0).wake();
        call.join().unwrap();
        assert_eq!(take_all(&[claim(1)], NOBODY, 0).unwrap_err().len(), 1);
    });
}

#[test]
fn a_call_that_leaves_when_it_is_its_turn_passes_the_turn_on() {
    model(|| {
        let gauge = Arc::new(Cell::new(Meter::Gauge(Gauge::default())));
        take_or_wait(&[claim(&gauge, 1, 1)], 0);
        let arrival = Arrival { caller: 1, order: 1, need: 1, bound: Bound::Most(1), deadline: u64::MAX };
        gauge.join(arrival, 0).expect("the line is short").into_iter().for_each(line::Wake::wake);
        let leaving = Arc::clone(&gauge);
        let leaves = thread::spawn(move || leaving.leave(1, false, 0).wake());
        let waiting = [claim(&gauge, 1, 1)];
        let waits = thread::spawn(move || take_or_wait(&waiting, 2));
        gauge.settle(1, 0, 0).wake();
        leaves.join().unwrap();
        waits.join().unwrap();
        assert!(take_all(&[claim(&gauge, 1, 1)], NOBODY, 0).is_err());
        gauge.settle(1, 0, 0).wake();
        assert!(gauge.is_idle(0));
    });
}

#[test]
fn calls_that_wait_for_two_limits_both_get_them_in_the_end() {
    model(|| {
        let gauges: Vec<_> = (0..2).map(|_| Arc::new(Cell::new(Meter::Gauge(Gauge::default())))).collect();
        let calls: Vec<_> = (0..2)
            .map(|order| {
                let claims = [claim(&gauges[0], 1, 1), claim(&gauges[1], 1, 1)];
                thread::spawn(move || {
                    take_or_wait(&claims, order);
                    for claim in claims {
                        claim.cell.settle(1, 0, 0).wake();
                    }
                })
            })
            .collect();
        for call in calls {
            call.join().unwrap();
        }
        assert!(gauges.iter().all(|gauge| gauge.is_idle(0)));
    });
}
