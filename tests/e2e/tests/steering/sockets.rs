//! All ways in which a program can connect.

use anyhow::Result;
use serde::Deserialize;
use tollgate_e2e::stage::Stage;
use tollgate_world::{CLIENT, OPENAI, World};

use crate::{GENEROUS, lines, python};

/// What one way showed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Told {
    way: String,
    peer: (String, u16),
    local: String,
    issuer: String,
    status: String,
}

fn ways(world: &World) -> Result<Vec<Told>> {
    lines(&python(world, include_str!("sockets.py")).run()?.success()?)
}

#[test]
fn each_is_steered_and_told_the_providers_address() -> Result<()> {
    let world = World::new()?;
    let direct = ways(&world)?;
    drop(world);
    let stage = Stage::new("")?;
    let steered = ways(&stage.world)?;
    let mut expected = 0;
    for (direct, steered) in direct.iter().zip(&steered) {
        let way = &steered.way;
        let address = match way.as_str() {
            way if way.contains("v6") => OPENAI.v6.to_string(),
            way if way.contains("mapped") => format!("::ffff:{}", OPENAI.v4),
            _ => OPENAI.v4.to_string(),
        };
        // The kernel does not call its getpeername hook for multipath sockets.
        if !way.starts_with("multipath") {
            assert_eq!(steered.peer, (address, 443), "{way}");
            assert_eq!(steered.peer, direct.peer, "{way}");
        }
        assert_eq!((direct.status.as_str(), steered.status.as_str()), ("200", "200"), "{way}");
        let left_alone = way.starts_with("device");
        assert_eq!(direct.issuer == steered.issuer, left_alone, "{way}: {} {}", direct.issuer, steered.issuer);
        expected += usize::from(!left_alone);
        // Of steered connections the local end is on the loopback, and that is the kernel's truth.
        if left_alone || way.starts_with("bound") {
            let own = if way.contains("v6") { CLIENT.v6.to_string() } else { CLIENT.v4.to_string() };
            assert_eq!((&direct.local, &steered.local), (&own, &own), "{way}");
        }
    }
    assert_eq!(direct.len(), steered.len());
    let line = format!(r#"tollgate_connections_total{{fate="intercepted",reason=""}} {expected}"#);
    stage.agent.metrics_when(GENEROUS, |page| page.lines().any(|it| it == line))?;
    Ok(())
}

/// The C library sorts addresses by what a connected datagram socket tells of the way to each (RFC 6724).
#[test]
fn addresses_are_sorted_as_without_an_agent() -> Result<()> {
    let stage = Stage::new("")?;
    let addresses = ["203.0.113.12", "2001:db8::11", "203.0.113.10", "2001:db8::10", "192.0.2.7", "2001:db8:ffff::1"];
    let addresses = addresses.map(|address| address.parse().expect("an address"));
    stage.world.dns().set("eu.api.openai.com", &addresses, 300);
    let script = "import json, socket, sys\n\
                  for flags in (0, socket.AI_ADDRCONFIG):\n\
                  \x20   for kind in (0, socket.SOCK_STREAM):\n\
                  \x20       for port in (443, 80, None):\n\
                  \x20           found = socket.getaddrinfo('eu.api.openai.com', port, type=kind, flags=flags)\n\
                  \x20           print(json.dumps([entry[4][0] for entry in found]))";
    let sorted =
        |program: tollgate_world::Program| lines::<Vec<String>>(&program.args(["-c", script]).run()?.success()?);
    let steered = || sorted(stage.world.client_command("/usr/bin/python3"));
    let direct = sorted(stage.world.agent_command("/usr/bin/python3"))?;
    assert_eq!(steered()?, direct, "as the addresses are learned");
    assert_eq!(steered()?, direct, "when they are known");
    assert_eq!(direct.len(), 12);
    assert!(direct.iter().all(|order| order.len() >= 6), "{direct:?}");
    Ok(())
}
