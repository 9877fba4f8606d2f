//! What a connection takes in memory by itself. Thousands are open at a time, and most of them wait.

use crate::support::{Rig, Site};

/// Of its future; a deeply branched one grows without anybody noticing. Debug builds have larger ones than releases.
const BOUND: usize = 5 * 1024;

#[tokio::test]
async fn a_connection_that_is_served_is_a_small_future() {
    let rig = Rig::new(&Site::new().await);
    let (io, _client) = tokio::io::duplex(1);
    let serving = rig.http.serve(io, rig.connection(false), rig.watch.clone());
    assert!(size_of_val(&serving) <= BOUND, "{} bytes", size_of_val(&serving));
}
