//! Who is scheduled first: the processes of a run, before whatever else the machine does. Equally for all contenders.

use std::fs;

/// The session's group, which the scheduler weighs against other sessions (sched(7), autogroup).
const GROUP: &str = "/proc/self/autogroup";
/// First of all.
const FIRST: &str = "-20";

/// Words before a command that run it on this processor, first among the processes of its session.
pub fn words(cpu: usize) -> [String; 6] {
    ["nice", "-n", FIRST, "taskset", "-c", &cpu.to_string()].map(str::to_owned)
}

/// This session is first among all sessions until this is dropped.
pub(super) struct Session {
    before: Option<String>,
}

impl Session {
    pub(super) fn first() -> Self {
        // Where there are no such groups, `nice` alone is enough.
        let before = fs::read_to_string(GROUP).ok().and_then(|text| nice(&text).map(str::to_owned));
        let raised = before.is_some() && fs::write(GROUP, FIRST).is_ok();
        Self { before: before.filter(|_| raised) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        if let Err(error) = fs::write(GROUP, before) {
            eprintln!("cannot give this session its priority back: {error}; `echo {before} >{GROUP}` does");
        }
    }
}

/// The number in `/autogroup-25 nice 0`.
fn nice(text: &str) -> Option<&str> {
    text.trim().rsplit_once(" nice ").map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::nice;

    #[test]
    fn a_group_tells_its_nice_value() {
        assert_eq!(nice("/autogroup-25 nice 0\n"), Some("0"));
        assert_eq!(nice("/autogroup-25 nice -20\n"), Some("-20"));
        assert_eq!(nice(""), None);
    }
}
