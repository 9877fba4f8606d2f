use super::*;

fn key(index: u32, wanted: Protocol) -> Key {
    let destination = SocketAddr::from((std::net::Ipv4Addr::from_bits(index), 443));
    Key { host: "api.openai.com".into(), destination, uid: 1000, plain: false, wanted }
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(Limits::default()))
}

const ANY: Need = Need { fresh: false, max_idle: None };

#[tokio::test]
async fn destinations_to_which_there_is_no_connection_are_not_remembered() {
    let pool = pool();
    for index in 0..1_000 {
        assert!(matches!(pool.way(&key(index, Protocol::Http1), ANY), Way::MakeOwn));
        let key = key(index, Protocol::Http2);
        let Way::Make(_maker, _joint) = pool.way(&key, ANY) else { panic!("nobody else makes it") };
        pool.disjoin(&key);
    }
    assert!(pool.state.lock().hosts.is_empty());
}

#[tokio::test]
async fn a_joint_attempt_whose_maker_is_gone_is_neither_waited_for_nor_remembered() {
    let (pool, key) = (pool(), key(1, Protocol::Http2));
    let Way::Make(maker, _joint) = pool.way(&key, ANY) else { panic!("nobody else makes it") };
    assert!(matches!(pool.way(&key, ANY), Way::Wait(_)));
    drop(maker);
    assert!(matches!(pool.way(&key, ANY), Way::Make(..)), "its maker is dropped right away");
    assert!(!pool.sweep());
    assert!(pool.state.lock().hosts.is_empty());
}

#[tokio::test]
async fn what_hosts_agreed_to_is_bounded() {
    let pool = pool();
    for index in 0..3 * HOSTS {
        let key = Key { host: index.to_string().into(), ..key(1, Protocol::Http2) };
        pool.state.lock().agree(&key, Protocol::Http1);
        assert!(matches!(pool.way(&key, ANY), Way::MakeOwn));
    }
    let state = pool.state.lock();
    assert!(state.agreed.len() <= HOSTS && state.hosts.is_empty());
}
