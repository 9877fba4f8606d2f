use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;

use super::*;

/// Budgets inside each other: one for all, one for each of ten users, one for each host.
fn nested(all: &str, each: &str) -> Arc<Engine> {
    let (mut user, mut host) = (budget("user", money(each)), budget("host", money("1000")));
    user.per = vec![Field::User];
    host.per = vec![Field::Host];
    Arc::new(engine(vec![user, budget("all", money(all)), host], vec![limit("at-once", Measure::Concurrent, 1000)]))
}

/// Looks at the budgets all the time, until told to stop, and finds none exceeded.
fn watch(engine: &Arc<Engine>, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (engine, stop) = (Arc::clone(engine), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for state in engine.budgets(100, at(NOON)) {
                let Amount::Money(limit) = state.limit else { panic!("{state:?}") };
                assert!(state.spent + state.reserved <= limit, "{state:?}");
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_500_streams_at_once_a_budget_for_50_admits_50() {
    let engine = nested("5", "5");
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch(&engine, &stop);
    let barrier = Arc::new(Barrier::new(500));
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let (engine, barrier) = (Arc::clone(&engine), Arc::clone(&barrier));
            tokio::spawn(async move {
                let caller = caller(&format!("user{}", number % 10));
                let (subject, ask) = (subject(&caller), Ask { stream: true, ..costs("0.1") });
                barrier.wait().await;
                let (_, decided) = engine.decide(&subject, at(NOON));
                let reservation = decided.unwrap().reserve(&subject, &ask).await;
                // All streams are open at the same time.
                barrier.wait().await;
                reservation.map(|mut reservation| {
                    for part in 1..=10 {
                        reservation.used(&spent(&format!("0.{part:02}"))).unwrap();
                    }
                    reservation.settle(&spent("0.1"))
                })
            })
        })
        .collect();
    let mut admitted = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => admitted += 1,
            Err(refused) => assert_eq!(&*refused.name, "all"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    assert_eq!(admitted, 50);
    let states = engine.budgets(100, at(NOON));
    let all = states.iter().find(|state| &*state.name == "all").unwrap();
    assert_eq!((all.spent, all.reserved), (dollars("5"), dollars("0")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_is_refused_costs_no_other_its_place() {
    // Half of the users have nothing of their own left: what they try must not be in the way of the others.
    let engine = nested("5", "1");
    let mut charges = Vec::new();
    for user in 0..5 {
        let group = format!("user=user{user}").into();
        charges.push(Charge {
            budget: "user".into(),
            group,
            window: NOON - 12 * 3600,
            counts: None,
            amount: dollars("1"),
        });
    }
    engine.restore_at(charges, at(NOON));
    let barrier = Arc::new(Barrier::new(500));
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let (engine, barrier) = (Arc::clone(&engine), Arc::clone(&barrier));
            tokio::spawn(async move {
                let caller = caller(&format!("user{}", number % 10));
                let subject = subject(&caller);
                barrier.wait().await;
                let (_, decided) = engine.decide(&subject, at(NOON));
                decided.unwrap().reserve(&subject, &costs("0.1")).await
            })
        })
        .collect();
    let mut reservations = Vec::new();
    for call in calls {
        reservations.extend(call.await.unwrap());
    }
    // Five users with room for ten calls each.
    assert_eq!(reservations.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_use_less_than_they_reserved_never_exceed_a_budget_and_leave_nothing_set_aside() {
    let engine = nested("5", "2");
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch(&engine, &stop);
    let calls: Vec<_> = (0..500_u32)
        .map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                let caller = caller(&format!("user{}", number % 10));
                let subject = subject(&caller);
                for round in 0..10 {
                    let (_, decided) = engine.decide(&subject, at(NOON));
                    let Ok(reservation) = decided.unwrap().reserve(&subject, &costs("0.1")).await else { continue };
                    tokio::task::yield_now().await;
                    match (number + round) % 4 {
                        0 => drop(reservation),
                        1 => drop(reservation.settle(&Actual { is_billable: false, ..spent("0.1") })),
                        part => drop(reservation.settle(&spent(&format!("0.0{part}")))),
                    }
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    assert!(engine.budgets(100, at(NOON)).iter().all(|state| state.reserved.is_zero()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_is_exceeded_by_no_more_than_its_calls_used_beyond_what_they_reserved() {
    let engine = nested("5", "5");
    let barrier = Arc::new(Barrier::new(500));
    let calls: Vec<_> = (0..500_u32)
        .map(|number| {
            let (engine, barrier) = (Arc::clone(&engine), Arc::clone(&barrier));
            tokio::spawn(async move {
                let caller = caller(&format!("user{}", number % 10));
                let subject = subject(&caller);
                let (_, decided) = engine.decide(&subject, at(NOON));
                let reservation = decided.unwrap().reserve(&subject, &costs("0.1")).await;
                barrier.wait().await;
                let Ok(reservation) = reservation else { return Decimal::ZERO };
                let beyond = Decimal::from(number % 7) / dollars("100");
                let cost = Some(dollars("0.1") + beyond);
                drop(reservation.settle(&Actual { cost, ..spent("0") }));
                beyond
            })
        })
        .collect();
    let mut beyond = Decimal::ZERO;
    for call in calls {
        beyond += call.await.unwrap();
    }
    assert!(beyond > Decimal::ZERO);
    let states = engine.budgets(100, at(NOON));
    let all = states.iter().find(|state| &*state.name == "all").unwrap();
    assert_eq!(all.spent, dollars("5") + beyond);
    let alice = caller("alice");
    assert_eq!(&*call(&engine, &subject(&alice), costs("0.01"), NOON).unwrap_err().name, "all");
}
