use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_config::Config;
use tollgate_ledger::thousands;
use tollgate_policy::{Amount, BudgetState, Count, Engine, Policy, Spec};

use super::{BudgetsArgs, Output};
use crate::exit::{Coded, NO_INPUT, NO_PERMISSION};
use crate::{control, enforce, settings};

/// How many groups the running agent tells of.
const MOST: usize = 1000;

/// The page of a running agent.
pub(crate) const PAGE: &str = "/policy/budgets";

/// What the running agent's page tells.
pub(crate) fn page(engine: &Engine) -> Value {
    json!({ "source": "agent", "budgets": rows(&engine.budgets(MOST, Timestamp::now())) })
}

pub(super) fn budgets(args: &BudgetsArgs) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.source.config)?;
    let mut told = match (&args.source.ledger, control::ask_page(&config, PAGE)) {
        (None, Some(told)) => told,
        _ => from_ledger(args, &config)?,
    };
    if let Some(rows) = told["budgets"].as_array_mut() {
        rows.truncate(args.lines);
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{told:#}")?,
        Output::Text => write!(out, "{}", text(&told, &config))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the ledger has of budgets, by the configured policy.
fn from_ledger(args: &BudgetsArgs, config: &Config) -> anyhow::Result<Value> {
    let off = "no agent runs here and ledger.directory is off; --ledger FILE reads another";
    let file = args.source.ledger.clone().or_else(|| config.ledger.file()).ok_or_else(|| Coded::new(NO_INPUT, off))?;
    // Told apart here, because all that the file's own errors say is that it cannot be opened.
    if let Err(error) = std::fs::File::open(&file) {
        let (code, next) = match error.kind() {
            std::io::ErrorKind::PermissionDenied => (NO_PERMISSION, "try it with sudo"),
            _ => (NO_INPUT, "`tollgate run` writes one as calls are made, and --ledger FILE reads another"),
        };
        let told = format!("no agent runs here, and the ledger {} cannot be read: {error}; {next}", file.display());
        return Err(Coded::new(code, told).into());
    }
    let spent = tollgate_ledger::store::spent(&file, enforce::since(&config.policy.spec))?;
    let engine = Engine::new(Policy::new(Spec::clone(&config.policy.spec)));
    engine.restore(spent);
    Ok(json!({ "source": "ledger", "budgets": rows(&engine.budgets(MOST, Timestamp::now())) }))
}

fn rows(states: &[BudgetState]) -> Vec<Value> {
    states.iter().map(row).collect()
}

fn row(state: &BudgetState) -> Value {
    let (unit, limit) = match state.limit {
        Amount::Money(sum) => ("usd", sum),
        Amount::Tokens(number, Count::Total) => ("tokens", number.into()),
        Amount::Tokens(number, Count::Input) => ("input_tokens", number.into()),
        Amount::Tokens(number, Count::Output) => ("output_tokens", number.into()),
    };
    let left = (limit - state.spent - state.reserved).max(Decimal::ZERO);
    let text = |number: Decimal| number.normalize().to_string();
    json!({
        "budget": &*state.name, "group": &*state.group, "unit": unit, "limit": text(limit), "spent": text(state.spent),
        "reserved": text(state.reserved), "left": text(left), "resets": state.resets.to_string(),
    })
}

/// The table for people.
fn text(told: &Value, config: &Config) -> String {
    let rows = told["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return if config.policy.spec.budgets.is_empty() {
            "No budgets are configured; docs/policy.md has examples.\n".into()
        } else {
            "Nothing is spent of any budget.\n".into()
        };
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["Budget", "Share", "Spent", "Reserved", "Limit", "", "Resets"]);
    for column in [2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        let amount = |key: &str| amount(&row[key], &row["unit"]);
        table.add_row([
            Cell::new(plain(&row["budget"])),
            Cell::new(plain(&row["group"])),
            Cell::new(amount("spent")),
            Cell::new(amount("reserved")),
            Cell::new(format!("{}{}", amount("limit"), unit(&row["unit"]))),
            Cell::new(share(row)),
            Cell::new(resets(&row["resets"])),
        ]);
    }
    let source = match told["source"].as_str() {
        Some("ledger") => "No agent runs here: this is what the ledger has, without calls on their way.\n",
        _ => "",
    };
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n{source}", lines.join("\n"))
}

/// Groups are of what callers say of themselves, among others.
fn plain(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn amount(value: &Value, unit: &Value) -> String {
    let number: Decimal = value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    if unit == "usd" {
        // Cents, unless it is less than a few; cut off, so that what is left is not told as spent.
        let digits = if number < Decimal::ONE { 4 } else { 2 };
        return format!("${:.*}", digits, number.trunc_with_scale(digits as u32));
    }
    thousands(u64::try_from(number.trunc()).unwrap_or_default())
}

fn unit(unit: &Value) -> &'static str {
    match unit.as_str() {
        Some("tokens") => " tokens",
        Some("input_tokens") => " input tokens",
        Some("output_tokens") => " output tokens",
        _ => "",
    }
}

fn share(row: &Value) -> String {
    let number = |key: &str| row[key].as_str().and_then(|text| text.parse::<Decimal>().ok()).unwrap_or_default();
    let limit = number("limit");
    if limit.is_zero() {
        return String::new();
    }
    let percent = number("spent").checked_mul(Decimal::ONE_HUNDRED).and_then(|spent| spent.checked_div(limit));
    percent.map(|percent| format!("{}%", percent.trunc())).unwrap_or_default()
}

fn resets(value: &Value) -> String {
    let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else { return String::new() };
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    let minutes = left.as_secs() / 60;
    let left = match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    };
    format!("{} (in {left})", time.to_zoned(TimeZone::system()).strftime("%F %H:%M"))
}
