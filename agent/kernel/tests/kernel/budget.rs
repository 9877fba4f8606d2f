//! How much work each program is for the kernel's verifier.

use tollgate_kernel::{OnFailure, Options};

use crate::lab::load;

/// What kernels accept is a million; other versions need up to half as much again as this one.
const BUDGET: u32 = 400_000;

#[test]
fn programs_stay_within_the_verifiers_budget() {
    // With everything switched on: what is off is not verified.
    let options =
        Options { on_failure: OnFailure::Closed, block_quic: true, agent_cgroup: Some(1), ..Options::default() };
    let verified = load(&options).verified_instructions();
    assert_eq!(verified.len(), 9, "{verified:?}");
    for (program, instructions) in verified {
        println!("{program:>13} {instructions:>7}");
        assert!((1..BUDGET).contains(&instructions), "{program}: {instructions}");
    }
}
