//! The demonstration: what Tollgate does, shown in a little internet on this machine in under a minute. `cargo xtask demo` builds and
//! starts it. Everything is real but the providers, which are stand-ins on documentation addresses: the kernel, the programs in it,
//! DNS, TLS, the clients. What is shown is read off the running things; nothing is canned.
#![forbid(unsafe_code)]

mod clients;
mod reading;
mod scenes;
mod screen;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tollgate_world::World;

use crate::clients::Clients;
use crate::screen::Screen;

/// The wait before each event of a stream: slow enough to be seen.
const PACE: Duration = Duration::from_millis(45);

fn main() -> ExitCode {
    let screen = Screen::new();
    match play(&screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.problem(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(screen: &Screen) -> Result<()> {
    let started = Instant::now();
    screen.title("Tollgate: an AI gateway that nobody has to call");
    screen.text(
        "A little internet is made on this machine: a client host, a name server, and stand-ins for LLM providers, in\n\
         network namespaces of their own. Nothing here reaches the real providers or touches this machine's own traffic.\n\
         The stand-ins speak the providers' wire formats exactly, and answer in words drawn by lot.",
    );
    let world = World::with_provider(|provider| provider.pace(PACE)).context("the little internet cannot be made")?;
    let clients = Clients::install(&world)?;

    screen.scene(1, "One command, metered");
    scenes::one_command(screen, &world, &clients)?;
    screen.scene(2, "A whole machine, metered");
    let agent = scenes::start_agent(screen, &world)?;
    scenes::whole_machine(screen, &world, &clients, &agent)?;
    screen.scene(3, "What is none of its business");
    scenes::other_site(screen, &world)?;
    screen.scene(4, "The agent dies; nobody else does");
    scenes::death(screen, &world, &clients, &agent)?;

    screen.title(&format!("That took {} seconds.", started.elapsed().as_secs()));
    screen.text(
        "On this machine, for real:  cargo xtask build --release && sudo target/release/tollgate exec -- YOUR COMMAND",
    );
    Ok(())
}
