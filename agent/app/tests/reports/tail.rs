use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::support::{Shelf, calls, ended, put_down, wait};

#[test]
fn a_line_says_who_called_what_and_what_came_of_it() {
    let told = Shelf::with(&calls()).told(&["tail", "--utc"]);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 9);
    assert_eq!(
        lines[0],
        "2026-11-01 10:00:00  alice  python3.13@app.service  openai gpt-5  1,200 in (1,000 cached), 340 out  $0.003775  1.2 s (first 250 ms)"
    );
    assert!(lines[3].contains("$1,234.5679 (estimated)"), "{}", lines[3]);
    assert!(lines[4].contains("price unknown"), "{}", lines[4]);
    assert!(lines[5].contains("(partial)") && lines[5].ends_with("200 client_gone"), "{}", lines[5]);
    assert!(lines[6].contains("no token count"), "{}", lines[6]);
    assert!(lines[7].ends_with("429 rate_limited"), "{}", lines[7]);
    assert!(lines[8].ends_with("403 policy"), "{}", lines[8]);
}

#[test]
fn a_line_names_the_team_and_the_rule_where_there_are_any() {
    let told = Shelf::with(&[put_down()]).told(&["tail", "--utc"]);
    assert!(told.contains("  alice [research]  python3.13@app.service  openai gpt-5  "), "{told}");
    assert!(told.ends_with("  1.2 s (first 250 ms)  by small\n"), "{told}");
}

#[test]
fn json_lines_are_those_of_the_log() {
    let records: Vec<_> = calls().into_iter().chain([put_down()]).collect();
    let told = Shelf::with(&records).told(&["tail", "--json", "--since", "2026-11-01"]);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let logged: Vec<Value> = records.iter().map(|record| serde_json::to_value(record).expect("it is JSON")).collect();
    assert_eq!(lines, logged);
}

#[test]
fn the_last_are_chosen_by_number_and_filter() {
    let shelf = Shelf::with(&calls());
    assert_eq!(shelf.told(&["tail", "-n", "2"]).lines().count(), 2);
    assert_eq!(shelf.told(&["tail", "-n", "1", "--provider", "anthropic"]).lines().count(), 1);
    assert_eq!(shelf.told(&["tail", "--since", "2026-11-02T11:00:00Z"]).lines().count(), 3);
}

#[test]
fn following_tells_each_call_as_it_ends() {
    let shelf = Shelf::new();
    let ledger = shelf.writer();
    wait("the ledger is made", || shelf.run(&["tail"]).status.success());
    let mut child = shelf.command(&["tail", "--follow", "--json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (sender, told) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let record = ended();
        ledger.settled(&record);
        ids.push(record.id.to_string());
        let line = told.recv_timeout(super::support::PATIENCE).expect("it is told");
        let line: Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!(line["id"], **ids.last().expect("it was pushed"));
    }
    child.kill().expect("it runs still");
    child.wait().expect("it ends");
    reading.join().expect("its output ends");
    assert_eq!(told.try_iter().count(), 0, "nothing is told twice");
}
