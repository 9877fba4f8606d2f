//! UDP to port 443 of known addresses is refused where that is asked for, and only that.

use tollgate_kernel::{Options, cgroup::Scope};

use crate::lab::{Agent, Client, OTHER, OTHER6, PROVIDER, PROVIDER6, lab, patient};

fn block() -> Options {
    Options { block_quic: true, ..patient() }
}

/// Says what becomes of a datagram, connected and not.
fn script(address: &str, port: u16) -> String {
    format!(
        "
def attempt(send):
    try:
        send(socket.socket(V6 if ':' in '{address}' else V4, UDP)); say('sent')
    except OSError as error:
        say(os.strerror(error.errno))
attempt(lambda s: s.connect(('{address}', {port})))
attempt(lambda s: s.sendto(b'quic', ('{address}', {port})))"
    )
}

fn outcomes(scope: &Scope, address: &str, port: u16) -> [String; 2] {
    let mut client = Client::start(scope, &script(address, port));
    [client.line(), client.line()]
}

#[test]
fn datagrams_to_https_of_known_addresses_are_refused() {
    lab(|lab| {
        let agent = Agent::start(lab, &block());
        for address in [PROVIDER, PROVIDER6, &format!("::ffff:{PROVIDER}")] {
            assert_eq!(outcomes(&lab.scope, address, 443), ["Operation not permitted"; 2], "{address}");
        }
        assert_eq!(agent.count("quic_refused"), 6);
    });
}

#[test]
fn other_datagrams_are_sent() {
    lab(|lab| {
        let agent = Agent::start(lab, &block());
        for (address, port) in [(PROVIDER, 53), (PROVIDER6, 80), (OTHER, 443), (OTHER6, 443), ("127.0.0.1", 443)] {
            assert_eq!(outcomes(&lab.scope, address, port), ["sent"; 2], "{address} {port}");
        }
        assert_eq!(agent.count("quic_refused"), 0);
    });
}

#[test]
fn nothing_is_refused_unless_asked_for() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        for address in [PROVIDER, PROVIDER6] {
            assert_eq!(outcomes(&lab.scope, address, 443), ["sent"; 2]);
        }
        assert_eq!(agent.count("quic_refused"), 0);
    });
}

#[test]
fn the_agents_own_datagrams_are_sent() {
    lab(|lab| {
        let own = Scope::create(lab.scope.path(), "agent").expect("a child");
        let _agent = Agent::start(lab, &Options { agent_cgroup: Some(own.id()), ..block() });
        assert_eq!(outcomes(&own, PROVIDER, 443), ["sent"; 2]);
        assert_eq!(outcomes(&lab.scope, PROVIDER, 443), ["Operation not permitted"; 2]);
    });
}
