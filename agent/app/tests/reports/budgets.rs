use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use tollgate_ledger::Charge;
use tollgate_policy::Count;

use super::support::{Shelf, chat};

const CONFIG: &str = "
admin: { listen: off }
policy:
  budgets:
    - { name: people, per: user, limit: $20, window: month }
    - { name: all, limit: 10M tokens, window: month }
    - { name: new, limit: $1, window: month }
";

#[test]
fn what_is_spent_is_told_by_the_ledger_where_no_agent_runs() {
    let month = Timestamp::now().to_zoned(TimeZone::UTC).first_of_month().and_then(|day| day.start_of_day());
    let window = month.expect("a month").timestamp().as_second();
    let charge = |budget: &str, group: &str, window, amount: &str| {
        let amount: Decimal = amount.parse().expect("a number");
        let counts = (budget == "all").then_some(Count::Total);
        Charge { budget: budget.into(), group: group.into(), window, counts, amount }
    };
    let mut record = chat("2026-11-20T10:00:00Z");
    record.charges = vec![
        charge("people", "user=alice", window, "19.999999"),
        charge("people", "user=bob", window, "0.5"),
        charge("people", "user=carol", window - 40 * 86_400, "20"),
        charge("all", "", window, "1500"),
        charge("forgotten", "", window, "3"),
    ];
    let shelf = Shelf::with(&[record]);
    std::fs::write(shelf.path("tollgate.yaml"), CONFIG).expect("written");
    let config = shelf.path("tollgate.yaml").display().to_string();
    let told = shelf.told(&["policy", "budgets", "--config", &config]);
    let lines: Vec<&str> = told.lines().collect();
    let words = |line: usize| lines[line].split_whitespace().take(6).collect::<Vec<_>>();
    assert_eq!(words(1), ["people", "user=alice", "$19.99", "$0.0000", "$20.00", "99%"], "{told}");
    assert_eq!(words(2)[..3], ["people", "user=bob", "$0.5000"], "{told}");
    assert_eq!(
        lines[3].split_whitespace().take(5).collect::<Vec<_>>(),
        ["all", "1,500", "0", "10,000,000", "tokens"],
        "{told}"
    );
    assert!(lines[4].starts_with("No agent runs here") && lines.len() == 5, "{told}");

    let json = shelf.told(&["policy", "budgets", "--output", "json", "-n", "1", "--config", &config]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["source"], json["budgets"].as_array().map(Vec::len)), (&"ledger".into(), Some(1)));
    let first = &json["budgets"][0];
    assert_eq!(
        (&first["budget"], &first["group"], &first["unit"]),
        (&"people".into(), &"user=alice".into(), &"usd".into())
    );
    assert_eq!(
        (&first["spent"], &first["left"], &first["limit"]),
        (&"19.999999".into(), &"0.000001".into(), &"20".into())
    );
}
