use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use tollgate_llm::{Asked, Prices};

use super::support::{Shelf, calls, chat, put_down};

/// The rows of a CSV text, by their titles.
fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().expect("it is CSV")
}

fn sum(rows: &[BTreeMap<String, String>], column: &str) -> Decimal {
    rows.iter()
        .map(|row| &row[column])
        .filter(|cell| !cell.is_empty())
        .map(|cell| cell.parse::<Decimal>().expect("a number"))
        .sum()
}

#[test]
fn csv_has_exact_sums_empty_cells_for_the_unknown_and_no_formulas() {
    let told = Shelf::with(&calls()).told(&["report", "--by", "day,model", "--format", "csv", "--utc"]);
    let expected = "\
day,model,calls,errors,refused,input_tokens,output_tokens,cache_read_tokens,cache_write_tokens,reasoning_tokens,unpriced_calls,uncounted_calls,partial_calls,estimated_calls,cost_usd
2026-11-01,claude-opus-4-5,1,0,0,1234567,8910,1000000,500,0,0,0,0,0,1234.5678901
2026-11-01,gpt-5,2,0,0,2400,680,2000,0,128,0,0,0,0,0.00755
2026-11-02,'=cmd|' /C calc'!A0,1,0,0,1200,340,1000,0,64,1,0,0,0,
2026-11-02,claude-opus-4-5,1,0,0,1234567,8910,1000000,500,0,0,0,0,1,1234.5678901
2026-11-02,gpt-5,4,2,1,1200,340,1000,0,64,0,1,1,0,0.003775
";
    assert_eq!(told, expected);
}

#[test]
fn json_has_money_as_text_and_null_for_the_unknown() {
    let shelf = Shelf::with(&calls());
    let told =
        shelf.told(&["report", "--by", "provider", "--format", "json", "--since", "2026-11-01T00:00:00Z", "--utc"]);
    let value: Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!(value["since"], "2026-11-01T00:00:00Z");
    assert_eq!(value["by"], json!(["provider"]));
    assert_eq!(value["rows"][0]["provider"], "anthropic");
    assert_eq!(value["rows"][0]["cost_usd"], "2469.1357802");
    assert_eq!(value["rows"][2]["cost_usd"], Value::Null);
    assert_eq!(value["rows"][2]["cost_is_complete"], false);
    assert_eq!(value["total"]["cost_usd"], "2469.1471052");
    assert_eq!(value["total"]["refused"], 1);
}

#[test]
fn focus_has_a_row_a_day_model_caller_and_meter_and_the_same_sum() {
    let shelf = Shelf::with(&calls());
    let told = shelf.told(&["report", "--format", "focus"]);
    let rows = rows(&told);
    for required in ["BilledCost", "ChargeCategory", "ServiceName", "ConsumedUnit", "PricingUnit", "SkuMeter", "Tags"] {
        assert!(rows[0].contains_key(required), "{required}");
    }
    for cost in ["BilledCost", "EffectiveCost", "ContractedCost", "ListCost"] {
        assert_eq!(sum(&rows, cost), "2469.1471052".parse().unwrap(), "{cost}");
    }
    // Tokens are in one meter each: 2 × 1,234,567 + 3 × 1,200 read and 2 × 8,910 + 3 × 340 generated with known prices.
    let metered = |meter: &str, status: &[&str]| {
        let those: Vec<_> = rows
            .iter()
            .filter(|row| row["SkuMeter"] == meter && status.contains(&&*row["x_CostStatus"]))
            .cloned()
            .collect();
        sum(&those, "ConsumedQuantity")
    };
    let priced = ["known", "in_requests"];
    assert_eq!(metered("Input Tokens", &priced), Decimal::from(2 * (1_234_567 - 1_000_000 - 500) + 3 * 200));
    assert_eq!(metered("Cached Input Tokens", &priced), Decimal::from(2_003_000));
    assert_eq!(metered("Cache Write Tokens", &priced), Decimal::from(2 * 300));
    assert_eq!(metered("Cache Write Tokens (1 hour)", &priced), Decimal::from(2 * 200));
    assert_eq!(metered("Output Tokens", &priced), Decimal::from(2 * 8_910 + 3 * (340 - 64)));
    assert_eq!(metered("Reasoning Tokens", &priced), Decimal::from(3 * 64));

    let unpriced: Vec<_> = rows.iter().filter(|row| row["x_CostStatus"] == "unpriced").collect();
    assert_eq!(unpriced.len(), 4, "fresh, cached, output, reasoning");
    assert!(unpriced.iter().all(|row| row["BilledCost"].is_empty() && row["ResourceId"].starts_with("'=cmd")));
    let uncounted: Vec<_> = rows.iter().filter(|row| row["x_CostStatus"] == "uncounted").collect();
    assert_eq!(uncounted.len(), 1, "and errors are no charge");

    let row =
        rows.iter().find(|row| row["SkuMeter"] == "Cached Input Tokens" && row["ProviderName"] == "openai").unwrap();
    for (column, cell) in [
        ("BillingPeriodStart", "2026-11-01T00:00:00Z"),
        ("BillingPeriodEnd", "2026-12-01T00:00:00Z"),
        ("ChargePeriodStart", "2026-11-01T00:00:00Z"),
        ("ChargePeriodEnd", "2026-11-02T00:00:00Z"),
        ("ConsumedQuantity", "2000"),
        ("ConsumedUnit", "Tokens"),
        ("PricingQuantity", "0.002"),
        ("PricingUnit", "1000000 Tokens"),
        ("BillingCurrency", "USD"),
        ("SubAccountId", "c0ffee"),
        ("x_Calls", "2"),
    ] {
        assert_eq!(row[column], cell, "{column}");
    }
    let tags: Value = serde_json::from_str(&row["Tags"]).expect("tags are JSON");
    assert_eq!(
        (&tags["program"], &tags["user"], &tags["unit"]),
        (&json!("python3.13"), &json!("alice"), &json!("app.service"))
    );
    let hourly = shelf.told(&["report", "--format", "focus", "--by", "hour"]);
    assert!(
        hourly.contains("2026-11-01T23:00:00Z") && sum(&self::rows(&hourly), "BilledCost") == sum(&rows, "BilledCost")
    );
}

#[test]
fn whom_calls_are_put_down_to_is_in_every_form() {
    let mut all = calls();
    all.push(put_down());
    let shelf = Shelf::with(&all);
    let told = shelf.told(&["report", "--by", "team,cost-center,end-user,user-agent", "--format", "csv"]);
    assert!(told.starts_with("team,cost_center,end_user,user_agent,calls,"), "{told}");
    assert!(told.contains("\nresearch,'=CC-1,u-7,openai-python/2.8.0,1,"), "{told}");
    let told = shelf.told(&["report", "--by", "pod,namespace,service-account", "--team", "res*", "--format", "json"]);
    let value: Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!((&value["rows"][0]["pod"], &value["rows"][0]["namespace"]), (&json!("train-0"), &json!("ml")));
    assert_eq!((&value["rows"][0]["service_account"], &value["total"]["calls"]), (&json!("trainer"), &json!(1)));
    let told = shelf.told(&["report", "--format", "focus", "--namespace", "m?"]);
    let rows = rows(&told);
    assert!(rows.iter().all(|row| row["x_Team"] == "research" && row["x_CostCenter"] == "'=CC-1"), "{told}");
    let tags: Value = serde_json::from_str(&rows[0]["Tags"]).expect("tags are JSON");
    assert_eq!(
        (&tags["team"], &tags["namespace"], &tags["end_user"]),
        (&json!("research"), &json!("ml"), &json!("u-7"))
    );
    assert_eq!(shelf.told(&["tail", "--team", "nobody"]), "");
}

#[test]
fn a_report_goes_to_a_file_when_asked() {
    let shelf = Shelf::with(&calls());
    let file = shelf.path("november.csv");
    let told = shelf.told(&["report", "--format", "csv", "--output", file.to_str().expect("a path")]);
    assert_eq!(told, "");
    assert!(std::fs::read_to_string(file).expect("written").starts_with("provider,model,calls,"));
}

#[test]
fn focus_splits_a_cost_by_meter_where_the_price_is_known() {
    let mut call = chat("2026-11-01T10:00:00Z");
    let asked = Asked {
        provider: &call.provider,
        region: None,
        response_model: call.response_model.as_deref(),
        request_model: call.request_model.as_deref(),
        usage: &call.usage.expect("it has some"),
        pointed: None,
        told: None,
        at: call.started,
    };
    let prices = Prices::bundled();
    let cost = prices.price(&asked).expect("gpt-5 has a price").cost;
    let parts: Vec<_> = prices.parts(&asked).expect("it has parts").into_iter().map(|(_, part)| part).collect();
    call.cost = Some(cost);
    let told = Shelf::with(&[call]).told(&["report", "--format", "focus"]);
    let rows = rows(&told);
    assert!(rows.iter().all(|row| row["x_CostStatus"] == "known" && row["SkuMeter"] != "Requests"), "{told}");
    assert_eq!(sum(&rows, "BilledCost"), cost);
    let mut billed: Vec<_> = rows.iter().map(|row| row["BilledCost"].parse::<Decimal>().expect("a number")).collect();
    let mut parts = parts;
    billed.sort();
    parts.sort();
    assert_eq!(billed, parts);
    for row in &rows {
        let number = |column: &str| row[column].parse::<Decimal>().expect("a number");
        assert_eq!(number("ListUnitPrice") * number("PricingQuantity"), number("ListCost"), "{row:?}");
    }
}
