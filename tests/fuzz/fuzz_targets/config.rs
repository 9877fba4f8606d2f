//! A configuration file of any content is read or refused, never a panic, and a refusal says where and what.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_config::{Config, Error};

fuzz_target!(|text: &str| {
    match Config::parse("fuzz", text) {
        Ok(_) => {}
        Err(Error::Invalid { problems, .. }) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
            }
        }
        Err(Error::Read { .. } | Error::ReadPrices { .. }) => unreachable!("nothing is read"),
    }
});
