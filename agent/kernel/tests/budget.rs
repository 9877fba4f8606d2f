//! How much work each program is for the kernel's verifier.

use std::time::Duration;

use tollgate_kernel::{Kernel, Options};

#[test]
fn programs_load_and_stay_within_the_verifiers_budget() {
    let kernel = Kernel::load(&Options { stale_after: Duration::from_secs(5), ..Options::default() })
        .unwrap_or_else(|e| panic!("{e}"));
    println!("{:#?}", kernel.verified_instructions());
}
