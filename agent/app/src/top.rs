//! `tollgate top`: calls as they happen, on a terminal, or one frame of it for scripts.

mod board;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{Timestamp, Zoned};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use tollgate_ledger::Line;
use tollgate_ledger::query::{Cursor, Filter, Flight, QueryError, Reader};

use self::board::{Board, Order, View};
use self::screen::{Screen, plain};
use crate::cli::TopArgs;
use crate::exit::{Coded, USAGE};
use crate::{books, exit};

/// Bounds of what may be asked: a ledger is not to be read without a pause, nor an hour kept in memory.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(1);
const WINDOWS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// How long a signal may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// The size of `--once`'s frame where there is no terminal to fit.
const PAGE: (u16, u16) = (120, 200);

pub(crate) fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    for (option, value, bounds) in [("--interval", args.interval, INTERVALS), ("--window", args.window, WINDOWS)] {
        if !bounds.contains(&value) {
            let told = format!("{option}: {value:?} is not between {:?} and {:?}", bounds.start(), bounds.end());
            return Err(Coded::new(USAGE, told).into());
        }
    }
    let mut view = Live::open(args)?;
    if args.once {
        view.screen.keys = false;
        std::io::stdout().lock().write_all(view.page().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let told = "`tollgate top` draws on a terminal, and there is none; `tollgate top --once` prints one frame";
        return Err(Coded::new(USAGE, told).into());
    }
    // Blocked before the first thread, so that these arrive where they can be answered by putting the terminal right.
    let signals = quitting().context("signals cannot be awaited")?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
    let end = view.run(&mut terminal, &signals, args.interval);
    // Nothing more can be done for a terminal that is gone.
    ratatui::try_restore().ok();
    end?;
    Ok(ExitCode::SUCCESS)
}

fn quitting() -> nix::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The ledger, followed.
struct Live {
    reader: Reader,
    cursor: Cursor,
    board: Board,
    screen: Screen,
}

impl Live {
    fn open(args: &TopArgs) -> anyhow::Result<Self> {
        let reader = books::open(&args.source)?;
        let since = Timestamp::now().checked_sub(args.window).ok();
        let mut cursor = Cursor::new(Filter::default());
        let mut board = Board::new(args.window);
        board.settle(&reader.ended_since(&mut cursor, since.unwrap_or(Timestamp::MIN)).map_err(books::told)?);
        board.fly(&reader.in_flight().map_err(books::told)?);
        let colour = exit::colour(std::io::stdout().is_terminal());
        let screen = Screen { view: View::Both, order: Order::Cost, paused: false, colour, keys: true, trouble: None };
        Ok(Self { reader, cursor, board, screen })
    }

    fn page(&self) -> String {
        let (columns, rows) = PAGE;
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        self.screen.draw(&self.board, &Zoned::now(), buffer.area, &mut buffer);
        plain(&buffer)
    }

    fn next(&mut self) -> Result<(Vec<Line<'static>>, Vec<Flight>), QueryError> {
        if self.reader.is_replaced() {
            self.reader.reopen()?;
            self.cursor.rewind();
        }
        Ok((self.reader.next(&mut self.cursor)?, self.reader.in_flight()?))
    }

    fn look(&mut self) {
        let looked = self.next();
        self.screen.trouble = match looked {
            Ok((lines, flights)) => {
                self.board.settle(&lines);
                self.board.fly(&flights);
                None
            }
            // The agent may be replacing the file; what is shown stays, and the next look may go well.
            Err(error) => Some(error.to_string()),
        };
        self.board.expire(Timestamp::now());
    }

    fn run(&mut self, terminal: &mut DefaultTerminal, signals: &SignalFd, interval: Duration) -> anyhow::Result<()> {
        let mut next = Instant::now() + interval;
        loop {
            terminal.draw(|frame| {
                let area = frame.area();
                self.screen.draw(&self.board, &Zoned::now(), area, frame.buffer_mut());
            })?;
            let mut patience = next.saturating_duration_since(Instant::now()).min(PATIENCE);
            while event::poll(std::mem::take(&mut patience))? {
                if let Event::Key(key) = event::read()?
                    && self.press(key)
                {
                    return Ok(());
                }
            }
            if signals.read_signal()?.is_some() {
                return Ok(());
            }
            if Instant::now() >= next {
                next = Instant::now() + interval;
                if !self.screen.paused {
                    self.look();
                }
            }
        }
    }

    /// Whether the key quits.
    fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let screen = &mut self.screen;
        match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') => screen.order = Order::Cost,
            KeyCode::Char('t') => screen.order = Order::Tokens,
            KeyCode::Char('n') => screen.order = Order::Calls,
            KeyCode::Char('e') => screen.order = Order::Errors,
            KeyCode::Char('f') => screen.order = Order::InFlight,
            KeyCode::Char('l') => screen.order = Order::FirstToken,
            KeyCode::Char('m') => screen.order = Order::Name,
            KeyCode::Char('w') => {
                screen.view = if screen.view == View::Workloads { View::Models } else { View::Workloads }
            }
            KeyCode::Char('b') => screen.view = View::Both,
            KeyCode::Char('p' | ' ') => screen.paused = !screen.paused,
            _ => {}
        }
        false
    }
}
