use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::spend::line::LONGEST;

fn waiting(mut limit: Limit, seconds: u64) -> Limit {
    limit.wait = Some(Duration::from_secs(seconds));
    limit
}

/// A call that waits in a task of its own.
fn spawn(engine: &Arc<Engine>, user: &str, ask: Ask) -> JoinHandle<Result<Reservation, Refused>> {
    let (engine, alice) = (Arc::clone(engine), caller(user));
    tokio::spawn(async move {
        let (_, decided) = engine.decide(&subject(&alice), at(NOON));
        decided?.reserve(&subject(&alice), &ask).await
    })
}

/// Lets all tasks go on as far as they can without time passing.
async fn settle_down() {
    for _ in 0..50 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_a_rate_has_refilled() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("rpm", Measure::Requests, 60), 5)]));
    let began = Instant::now();
    let calls: Vec<_> = (0..65).map(|_| spawn(&engine, "alice", tokens(1, 1))).collect();
    for call in calls {
        call.await.unwrap().unwrap().settle(&used(1, 1));
    }
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_no_longer_than_it_may_and_says_so() {
    let limits =
        vec![waiting(limit("few", Measure::Concurrent, 1), 3), waiting(limit("rpm", Measure::Requests, 100), 9)];
    let engine = Arc::new(engine(vec![], limits));
    let first = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap();
    let began = Instant::now();
    let refused = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(&*refused.name, "few");
    assert!(refused.message.ends_with("Try again when a call has ended. This call has waited 3 seconds already."));
    first.settle(&used(1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_nothing_of_a_limit_stands_in_no_line() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("out", Measure::Tokens(Count::Output), 60), 60)]));
    spawn(&engine, "alice", tokens(5, 60)).await.unwrap().unwrap().settle(&used(5, 60));
    let waits = spawn(&engine, "alice", tokens(5, 30));
    settle_down().await;
    call(&engine, &subject(&caller("alice")), tokens(500, 0), NOON).unwrap().settle(&used(500, 0));
    waits.await.unwrap().unwrap().settle(&used(5, 30));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_budget_refuses_does_not_wait() {
    let limits = vec![waiting(limit("few", Measure::Concurrent, 1), 3)];
    let engine = Arc::new(engine(vec![budget("b", money("10"))], limits));
    let first = spawn(&engine, "alice", costs("5")).await.unwrap().unwrap();
    assert_eq!(&*call(&engine, &subject(&caller("alice")), costs("6"), NOON).unwrap_err().name, "b");
    first.settle(&spent("5"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_counted() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("one", Measure::Concurrent, 1), 1000)]));
    let first = spawn(&engine, "zoe", tokens(1, 1)).await.unwrap().unwrap();
    let second = spawn(&engine, "alice", tokens(1, 1));
    settle_down().await;
    // Other tests may have some, too.
    assert!(engine.waiting() >= 1);
    first.settle(&used(1, 1));
    second.await.unwrap().unwrap().settle(&used(1, 1));
}

#[tokio::test(start_paused = true)]
async fn workloads_take_turns_and_within_one_the_first_comes_first() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("one", Measure::Concurrent, 1), 1000)]));
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = spawn(&engine, "zoe", tokens(1, 1)).await.unwrap().unwrap();
    let mut calls = Vec::new();
    // One workload comes with six calls before two others come with two.
    for user in ["a", "a", "a", "a", "a", "a", "b", "b", "c", "c"] {
        let (call, order) = (spawn(&engine, user, tokens(1, 1)), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let reservation = call.await.unwrap().unwrap();
            order.lock().push(user);
            sleep(Duration::from_secs(1)).await;
            reservation.settle(&used(1, 1));
        }));
        settle_down().await;
    }
    first.settle(&used(1, 1));
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*order.lock(), ["a", "b", "c", "a", "b", "c", "a", "a", "a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_the_line_at_once() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("one", Measure::Concurrent, 1), 1000)]));
    let first = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap();
    let gone: Vec<_> = (0..10).map(|_| spawn(&engine, "alice", tokens(1, 1))).collect();
    settle_down().await;
    let last = spawn(&engine, "alice", tokens(1, 1));
    settle_down().await;
    // The first of them is dropped when it has been called already, the others before.
    first.settle(&used(1, 1));
    for call in gone {
        call.abort();
    }
    last.await.unwrap().unwrap().settle(&used(1, 1));
    call(&engine, &subject(&caller("bob")), tokens(1, 1), NOON).unwrap().settle(&used(1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("tpm", Measure::Tokens(Count::Total), 600), 60)]));
    spawn(&engine, "alice", tokens(600, 0)).await.unwrap().unwrap().settle(&used(600, 0));
    let large = spawn(&engine, "alice", tokens(300, 0));
    settle_down().await;
    let began = Instant::now();
    let small: Vec<_> = (0..20).map(|_| spawn(&engine, "bob", tokens(10, 0))).collect();
    settle_down().await;
    advance(Duration::from_secs(29)).await;
    settle_down().await;
    // There would be room for all the small ones by now, and then none for the large one for long.
    assert!(small.iter().all(|call| !call.is_finished()));
    large.await.unwrap().unwrap().settle(&used(300, 0));
    assert_eq!(began.elapsed().as_secs(), 30);
    for call in small {
        call.await.unwrap().unwrap().settle(&used(10, 0));
    }
    assert_eq!(began.elapsed().as_secs(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_will_be_refused_in_the_end_holds_nobody_up() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("tpm", Measure::Tokens(Count::Total), 600), 10)]));
    let holder = spawn(&engine, "alice", tokens(0, 600)).await.unwrap().unwrap();
    // It needs half a minute, and has ten seconds.
    let large = spawn(&engine, "alice", tokens(300, 0));
    settle_down().await;
    let began = Instant::now();
    spawn(&engine, "bob", tokens(50, 0)).await.unwrap().unwrap().settle(&used(50, 0));
    assert_eq!(began.elapsed().as_secs(), 5);
    spawn(&engine, "alice", tokens(20, 0)).await.unwrap().unwrap().settle(&used(20, 0));
    assert_eq!(began.elapsed().as_secs(), 7);
    let refused = large.await.unwrap().unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(27)));
    // One that can never pass does not wait at all.
    assert_eq!(spawn(&engine, "alice", tokens(601, 0)).await.unwrap().unwrap_err().retry_after, None);
    assert_eq!(began.elapsed().as_secs(), 10);
    holder.settle(&used(0, 600));
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_goes_to_those_who_wait() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("tpm", Measure::Tokens(Count::Total), 600), 10)]));
    let holder = spawn(&engine, "alice", tokens(0, 600)).await.unwrap().unwrap();
    let large = spawn(&engine, "alice", tokens(300, 0));
    let small = spawn(&engine, "bob", tokens(60, 0));
    settle_down().await;
    let began = Instant::now();
    holder.settle(&used(0, 250));
    large.await.unwrap().unwrap().settle(&used(300, 0));
    assert_eq!(began.elapsed().as_secs(), 0);
    // Of the 350 there were, 50 are left.
    small.await.unwrap().unwrap().settle(&used(60, 0));
    assert_eq!(began.elapsed().as_secs(), 1);
}

/// A hundred calls that wait, and how often they are polled.
async fn hundred(engine: &Arc<Engine>) -> (Vec<JoinHandle<Reservation>>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let mut calls = Vec::new();
    for _ in 0..100 {
        let (engine, polls, alice) = (Arc::clone(engine), Arc::clone(&polls), caller("alice"));
        calls.push(tokio::spawn(async move {
            let (_, decided) = engine.decide(&subject(&alice), at(NOON));
            let (subject, ask) = (subject(&alice), tokens(1, 1));
            let mut reserve = pin!(decided.unwrap().reserve(&subject, &ask));
            std::future::poll_fn(|context| {
                polls.fetch_add(1, Ordering::Relaxed);
                reserve.as_mut().poll(context)
            })
            .await
            .unwrap()
        }));
    }
    settle_down().await;
    polls.store(0, Ordering::Relaxed);
    (calls, polls)
}

#[tokio::test(start_paused = true)]
async fn room_for_one_wakes_one() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("one", Measure::Concurrent, 1), 1000)]));
    let mut reservation = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap();
    let (calls, polls) = hundred(&engine).await;
    for call in calls {
        reservation.settle(&used(1, 1));
        reservation = call.await.unwrap();
    }
    // Each is woken for its turn, and perhaps once before because somebody in front of it has left.
    let polls = polls.load(Ordering::Relaxed);
    assert!((100..=200).contains(&polls), "{polls}");
    reservation.settle(&used(1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_refills_for_one_wakes_one() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("rpm", Measure::Requests, 1), 6000)]));
    spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap().settle(&used(1, 1));
    let (calls, polls) = hundred(&engine).await;
    for call in calls {
        call.await.unwrap().settle(&used(1, 1));
    }
    let polls = polls.load(Ordering::Relaxed);
    assert!((100..=300).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_line_has_an_end_and_one_caller_cannot_fill_it() {
    let engine = Arc::new(engine(vec![], vec![waiting(limit("one", Measure::Concurrent, 1), 1000)]));
    let first = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap();
    let mut calls: Vec<_> = (0..LONGEST).map(|_| spawn(&engine, "alice", tokens(1, 1))).collect();
    settle_down().await;
    let refused = spawn(&engine, "alice", tokens(1, 1)).await.unwrap().unwrap_err();
    assert!(refused.message.contains("too many calls wait for it"), "{}", refused.message);
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    // Somebody else takes the place of the last.
    let other = spawn(&engine, "bob", tokens(1, 1));
    settle_down().await;
    let last = calls.pop().unwrap();
    assert!(last.await.unwrap().unwrap_err().message.contains("too many calls wait for it"));
    first.settle(&used(1, 1));
    calls.remove(0).await.unwrap().unwrap().settle(&used(1, 1));
    other.await.unwrap().unwrap().settle(&used(1, 1));
    calls.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_several_limits_one_after_the_other() {
    let limits = vec![
        waiting(limit("one", Measure::Concurrent, 1), 100),
        waiting(limit("tpm", Measure::Tokens(Count::Total), 600), 100),
    ];
    let engine = Arc::new(engine(vec![], limits));
    let first = spawn(&engine, "alice", tokens(600, 0)).await.unwrap().unwrap();
    let began = Instant::now();
    let second = spawn(&engine, "alice", tokens(100, 0));
    let third = spawn(&engine, "bob", tokens(100, 0));
    sleep(Duration::from_secs(2)).await;
    first.settle(&used(600, 0));
    second.await.unwrap().unwrap().settle(&used(100, 0));
    assert_eq!(began.elapsed().as_secs(), 10);
    third.await.unwrap().unwrap().settle(&used(100, 0));
    assert_eq!(began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_past_the_end_of_a_window_is_charged_in_the_next() {
    let engine =
        Arc::new(engine(vec![budget("b", money("10"))], vec![waiting(limit("one", Measure::Concurrent, 1), 90_000)]));
    let first = spawn(&engine, "alice", costs("10")).await.unwrap().unwrap();
    let alice = caller("alice");
    call(&engine, &subject(&alice), costs("10"), NOON).unwrap_err();
    let (_, decided) = engine.decide(&subject(&alice), at(NOON + 12 * 3600 - 1));
    // It asks for nothing, so that the budget of the old window does not refuse it.
    let (subject, ask) = (subject(&alice), costs("0"));
    let second = decided.unwrap().reserve(&subject, &ask);
    let (second, ()) = tokio::join!(second, async {
        sleep(Duration::from_secs(2)).await;
        first.settle(&spent("10"));
    });
    let second = second.unwrap();
    assert_eq!(second.charges()[0].window, NOON + 12 * 3600);
    second.settle(&spent("0"));
}

#[tokio::test(start_paused = true)]
async fn however_calls_come_and_go_the_line_moves() {
    let limits = vec![
        waiting(limit("few", Measure::Concurrent, 3), 50),
        waiting(limit("tpm", Measure::Tokens(Count::Total), 6000), 70),
        waiting(limit("rpm", Measure::Requests, 100), 60),
    ];
    let engine = Arc::new(engine(vec![], limits));
    let (served, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut calls = Vec::new();
    for number in 0..600_u64 {
        let user = ["a", "b", "c", "d"][usize::try_from(number % 7 % 4).unwrap()];
        let call = spawn(&engine, user, tokens(number * 37 % 900, number * 91 % 700));
        let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
        calls.push(tokio::spawn(async move {
            sleep(Duration::from_millis(number * 53 % 90_000)).await;
            if number % 5 == 0 {
                call.abort();
            }
            match call.await {
                Ok(Ok(reservation)) => {
                    sleep(Duration::from_millis(number * 71 % 900)).await;
                    served.fetch_add(1, Ordering::Relaxed);
                    if number % 3 == 0 {
                        drop(reservation);
                    } else {
                        reservation.settle(&used(number % 400, number % 300));
                    }
                }
                Ok(Err(_)) => {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {}
            }
        }));
        sleep(Duration::from_millis(20)).await;
    }
    for call in calls {
        call.await.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 30, "{served:?} {refused:?}");
    // Nothing is held any more, and nobody stands in the way.
    sleep(Duration::from_mins(5)).await;
    let all: Vec<_> =
        (0..3).map(|_| call(&engine, &subject(&caller("e")), tokens(1000, 1000), NOON).unwrap()).collect();
    drop(all);
}

/// One of those that are admitted at the same time.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_everybody_who_waits_is_served() {
    let mut rate = waiting(limit("tps", Measure::Tokens(Count::Total), 100_000), 3600);
    (rate.period, rate.per) = (Duration::from_millis(10), vec![Field::User]);
    let mut each = waiting(limit("each", Measure::Concurrent, 2), 3600);
    each.per = vec![Field::User];
    let few = waiting(limit("few", Measure::Concurrent, 5), 3600);
    let engine = Arc::new(engine(vec![budget("b", money("1000000"))], vec![rate, each, few]));
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..600_u64)
        .map(|number| {
            let (engine, at_once, most) = (Arc::clone(&engine), Arc::clone(&at_once), Arc::clone(&most));
            tokio::spawn(async move {
                let caller = caller(["a", "b", "c", "d"][usize::try_from(number % 4).unwrap()]);
                let (_, decided) = engine.decide(&subject(&caller), at(NOON));
                let reservation =
                    decided.unwrap().reserve(&subject(&caller), &tokens(number * 100, 10_000)).await.unwrap();
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Also where the task is aborted, and before the reservation goes.
                let inside = Inside(at_once);
                yield_now().await;
                drop(inside);
                reservation.settle(&used(number * 100, number * 20));
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        if number % 11 == 0 {
            call.abort();
            drop(call.await);
        } else {
            call.await.unwrap();
        }
    }
    assert!(most.load(Ordering::SeqCst) <= 5);
    for limit in &engine.plan().limits[1..] {
        limit.groups.each(|group, cell| assert!(cell.is_idle(0), "{group}"));
    }
}
