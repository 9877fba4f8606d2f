use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// Whether the agent does its work. It is ready when nothing that registered is still pending.
///
/// Clones share their state. The idea is that of ztunnel's `readiness.rs`: a task's guard is its promise, and dropping it,
/// also by a panic's unwinding, keeps it from being pending for ever.
#[derive(Debug, Clone, Default)]
pub struct Health {
    tasks: Arc<Mutex<Tasks>>,
}

#[derive(Debug, Default)]
struct Tasks {
    next: u64,
    pending: Vec<(u64, &'static str, Instant)>,
}

/// Something that has to happen before the agent is ready. Drop it when it has happened.
#[derive(Debug)]
#[must_use = "dropping it says that the task is done"]
pub struct Pending {
    tasks: Arc<Mutex<Tasks>>,
    id: u64,
}

impl Health {
    /// Nothing is pending yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent is not ready before the guard is dropped. `name` is shown to operators. Also used to
    /// become unready again: `draining`.
    pub fn register(&self, name: &'static str) -> Pending {
        let mut tasks = self.tasks.lock();
        let id = tasks.next;
        tasks.next += 1;
        tasks.pending.push((id, name, Instant::now()));
        Pending { tasks: Arc::clone(&self.tasks), id }
    }

    /// What is pending, in the order of registration; empty when the agent is ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.tasks.lock().pending.iter().map(|(_, name, _)| *name).collect()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut tasks = self.tasks.lock();
        let Some(at) = tasks.pending.iter().position(|(id, ..)| *id == self.id) else { return };
        let (_, name, since) = tasks.pending.remove(at);
        let left: Vec<_> = tasks.pending.iter().map(|(_, name, _)| *name).collect();
        drop(tasks);
        tracing::debug!(task = name, elapsed = ?since.elapsed(), pending = ?left, "done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_guard_is_dropped_and_unready_again_by_a_new_one() {
        let health = Health::new();
        assert!(health.pending().is_empty());
        let first = health.register("programs");
        let second = health.clone().register("listeners");
        let third = health.register("programs");
        assert_eq!(health.pending(), ["programs", "listeners", "programs"]);
        drop(first);
        assert_eq!(health.pending(), ["listeners", "programs"]);
        drop((second, third));
        assert!(health.pending().is_empty());
        let _draining = health.register("draining");
        assert_eq!(health.pending(), ["draining"]);
    }

    #[test]
    fn a_task_that_panics_does_not_stay_pending() {
        let health = Health::new();
        let pending = health.register("task");
        let task = std::thread::spawn(move || {
            let _pending = pending;
            panic!("meant for this test");
        });
        assert!(task.join().is_err());
        assert!(health.pending().is_empty());
    }
}
