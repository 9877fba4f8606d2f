use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, write};
use parking_lot::Mutex;

use super::support::{Shelf, ended, opened, wait};

/// The command on a terminal of 80 columns and 24 rows.
struct Terminal {
    child: Child,
    master: OwnedFd,
    slave: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(shelf: &Shelf) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("it has settings");
        let end = || Stdio::from(pty.slave.try_clone().expect("it can be shared"));
        let child = shelf
            .command(&["top", "--interval", "100ms"])
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("it starts");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (output, into) = (pty.master.try_clone().expect("it can be shared"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let (mut output, mut bytes) = (File::from(output), [0; 4096]);
            while let Ok(number @ 1..) = output.read(&mut bytes) {
                into.lock().extend_from_slice(&bytes[..number]);
            }
        });
        Self { child, master: pty.master, slave: pty.slave, before, seen }
    }

    fn has_seen(&self, text: &str) -> bool {
        let seen = self.seen.lock();
        String::from_utf8_lossy(&seen).contains(text)
    }

    fn type_in(&self, keys: &[u8]) {
        write(&self.master, keys).expect("it takes keys");
    }

    /// That it ended well and left the terminal as it was.
    fn expect_clean(mut self) {
        let mut code = None;
        wait("it ends", || {
            code = self.child.try_wait().expect("it is ours");
            code.is_some()
        });
        assert_eq!(code.and_then(|status| status.code()), Some(0));
        assert_eq!(tcgetattr(&self.slave).expect("it has settings"), self.before, "modes of the terminal");
        for sequence in ["\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"] {
            wait("the screen is left and the cursor shown", || self.has_seen(sequence));
        }
    }
}

/// A shelf with one call that ended and one in flight, and the writer.
fn live() -> (Shelf, tollgate_ledger::store::Ledger) {
    let shelf = Shelf::new();
    let ledger = shelf.writer();
    ledger.settled(&ended());
    ledger.opened(&opened());
    wait("both are written", || {
        let output = shelf.run(&["top", "--once", "--window", "1h"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        told.contains("1 in flight") && told.contains("gpt-5")
    });
    (shelf, ledger)
}

#[test]
fn one_frame_tells_what_is_in_flight_and_what_ended() {
    let (shelf, _ledger) = live();
    let told = shelf.told(&["top", "--once", "--window", "1h"]);
    let row = |model: &str| {
        let line = told.lines().find(|line| line.contains(model)).unwrap_or_else(|| panic!("{told}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // 0.003775 dollars in an hour; 1,200 and 340 tokens in 3,600 seconds.
    assert_eq!(
        row("gpt-5"),
        ["python3.13@app.service", "gpt-5", "0", "1", "0.3", "0.1", "$0.00", "250ms", "250ms", "0"]
    );
    assert_eq!(row("claude-opus"), ["claude", "claude-opus-4-5", "1", "0", "0", "0", "$0.00", "-", "-", "0"]);
    assert!(!told.contains('\x1b'), "{told}");
}

#[test]
fn it_shows_calls_follows_the_ledger_and_quits_on_q() {
    let (shelf, ledger) = live();
    let terminal = Terminal::start(&shelf);
    wait("a call in flight is shown", || terminal.has_seen("claude-opus-4-5") && terminal.has_seen("1 in flight"));
    let mut late = ended();
    late.request_model = Some("ZZZZZZZZ".into());
    ledger.settled(&late);
    wait("a call that ends is shown", || terminal.has_seen("ZZZZZZZZ"));
    terminal.type_in(b"w");
    terminal.type_in(b"ebmtcnfl");
    terminal.type_in(b"p");
    wait("keys are heard", || terminal.has_seen("paused"));
    terminal.type_in(b"q");
    terminal.expect_clean();
}

#[test]
fn it_fits_the_terminal_when_that_changes() {
    let (shelf, _ledger) = live();
    let terminal = Terminal::start(&shelf);
    wait("it is drawn", || terminal.has_seen("claude-opus-4-5") && terminal.has_seen("sort:"));
    for (columns, rows) in [("120", "40"), ("20", "5"), ("1", "1"), ("80", "24")] {
        let from = terminal.seen.lock().len();
        let slave = Stdio::from(terminal.slave.try_clone().expect("it can be shared"));
        let resized = Command::new("stty").args(["cols", columns, "rows", rows]).stdin(slave).status();
        assert!(resized.expect("stty is there").success());
        // The terminal is not the child's own, so that the kernel does not tell it.
        kill(Pid::from_raw(terminal.child.id().cast_signed()), Signal::SIGWINCH).expect("it lives");
        wait("it is drawn anew", || terminal.seen.lock().len() > from);
    }
    terminal.type_in(&[3]);
    terminal.expect_clean();
}

#[test]
fn it_leaves_the_terminal_clean_when_it_is_told_to_end() {
    let (shelf, _ledger) = live();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let terminal = Terminal::start(&shelf);
        wait("it is drawn", || terminal.has_seen("claude-opus-4-5"));
        kill(Pid::from_raw(terminal.child.id().cast_signed()), signal).expect("it lives");
        terminal.expect_clean();
    }
}
