//! A configuration file of any content, and a file of cases, is read or refused, never a panic, and a refusal says where and what.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_config::{Config, Error, Problem, parse_cases};

fn check(problems: &[Problem]) {
    for problem in problems {
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
}

fn refused(error: Error) {
    match error {
        Error::Invalid { problems, .. } => {
            assert!(!problems.is_empty());
            check(&problems);
        }
        Error::Read { .. } | Error::ReadPrices { .. } | Error::ReadCases { .. } => unreachable!("nothing is read"),
    }
}

fuzz_target!(|text: &str| {
    match Config::parse("fuzz", text) {
        Ok(config) => {
            check(&config.warnings);
            // Equal where the same was written.
            assert_eq!(Config::parse("again", text).expect("it was good"), config);
        }
        Err(error) => refused(error),
    }
    if let Err(error) = parse_cases("fuzz", text) {
        refused(error);
    }
});
