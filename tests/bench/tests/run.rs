//! The benchmark from its command line to its files, with what needs nothing installed.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tollgate_world::agent;

#[test]
fn a_run_measures_and_leaves_its_report() {
    let folder = tempfile::tempdir().expect("a folder for the results");
    let run = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--rounds=1", "--only=latency", "--contenders=direct,tollgate", "--out"])
        .arg(folder.path())
        .env("NO_COLOR", "1")
        // Named, it may be older than its sources: its figures are of no matter here.
        .env("TOLLGATE_BIN", agent::binary().expect("it is built with the tests"))
        .output()
        .expect("the benchmark can be started");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");

    let text = fs::read_to_string(folder.path().join("report.json")).expect("the results as JSON");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let row = |figure: &str, case: &str| {
        let rows = report["rows"].as_array().expect("rows");
        rows.iter()
            .find(|row| row["figure"] == figure && row["case"] == case)
            .unwrap_or_else(|| panic!("{figure}: {said}"))
    };
    for number in [0, 1] {
        let cell = &row("latency p50", "one client alone")["cells"][number];
        assert_eq!(cell["contender"], ["direct", "tollgate"][number], "{said}");
        assert_eq!(cell["count"], 1, "{said}");
        assert!(cell["median"].as_f64().is_some_and(|median| median > 0.0), "{said}");
        let failed = &row("failed requests", "latency, one client alone")["cells"][number];
        assert_eq!(failed["max"], 0.0, "{said}");
    }
    assert_eq!(row("added latency p50", "one client alone")["cells"][0]["contender"], "tollgate", "{said}");

    let markdown = fs::read_to_string(folder.path().join("report.md")).expect("the results as Markdown");
    assert!(markdown.contains("## latency p50") && markdown.contains("| direct |"), "{markdown}");
    assert!(folder.path().join("charts/latency-p50.svg").is_file(), "a chart of two bars");
    assert!(!said.contains('\x1b'), "no colours where they are refused");
}

#[test]
fn a_name_that_is_none_is_refused_with_those_there_are() {
    for (option, known) in [("--only=nonsense", "latency"), ("--contenders=nonsense", "haproxy")] {
        let run = Command::new(env!("CARGO_BIN_EXE_bench")).arg(option).output().expect("it can be started");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains("nonsense") && said.contains(known), "{said}");
    }
}
