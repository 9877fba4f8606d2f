//! The work whose instructions `cargo xtask bench --gate` counts: what a request costs the agent, without a clock. One case a
//! process, `gate CASE`; without a case, their names.
//!
//! Counting is by callgrind, between entering and leaving [`counted_by_the_gate`] on the thread that does. The work was done
//! before by then, so that what is made once (tables, connections, buffers) is there.
#![forbid(unsafe_code)]

mod exchange;
mod parser;
mod provider;

use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

/// A piece of work that can be repeated.
type Work = Box<dyn FnMut()>;

/// What a piece of work is called, and how it is made ready.
type Case = (&'static str, fn() -> Work);

/// How often it is done before it is counted.
const WARM_UP: usize = 3;

fn main() -> ExitCode {
    let cases: Vec<_> = parser::CASES.iter().chain(exchange::CASES).collect();
    let Some(asked) = std::env::args().nth(1) else {
        for (name, _) in &cases {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, prepare)) = cases.iter().find(|(name, _)| *name == asked) else {
        eprintln!("there is no case {asked}");
        return ExitCode::FAILURE;
    };
    // As in the agent: libraries that may also log without a subscriber (the `log` feature of tracing) write their spans out for it
    // otherwise, which the agent never pays for.
    tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::sink).init();
    let mut work = prepare();
    (0..WARM_UP).for_each(|_| work());
    counted_by_the_gate(&mut work);
    ExitCode::SUCCESS
}

/// The markers: callgrind knows this function by its name.
#[inline(never)]
fn counted_by_the_gate(work: &mut Work) {
    work();
    // Something after the call, which must not become a jump.
    std::hint::black_box(());
}
