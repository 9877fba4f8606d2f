//! `tollgate prices` as a person or a script meets it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const LITELLM: &str = include_str!("../../llm/src/price/import/fixtures/litellm.json");

fn tollgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("prices").args(arguments).stdin(Stdio::null()).output().expect("the command starts")
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A configuration that names files of prices with these texts.
fn configured(folder: &Path, files: &[&str]) -> String {
    let mut names = Vec::new();
    for (number, text) in files.iter().enumerate() {
        let name = folder.join(format!("{number}.yaml"));
        std::fs::write(&name, text).expect("written");
        names.push(name.display().to_string());
    }
    let file = folder.join("tollgate.yaml");
    std::fs::write(&file, format!("prices:\n  files: [{}]\n", names.join(", "))).expect("written");
    file.display().to_string()
}

#[test]
fn a_models_price_is_shown_with_its_source_its_date_and_what_it_depends_on() {
    let shown = out(&tollgate(&["show", "claude-sonnet-4-5-20250929", "--provider", "anthropic"]));
    for expected in [
        "claude-sonnet-4-5 of anthropic",
        "`claude-sonnet-4-5*` in bundled",
        "genai-prices 0.2.1",
        "2026-10-30",
        "cache_write_1h    $6 per 1M tokens",
        "above 200000 tokens of input",
        "batch, since 2026-10-14",
    ] {
        assert!(shown.contains(expected), "{expected:?} is missing: {shown}");
    }
    let then = out(&tollgate(&["show", "o3", "--provider", "openai", "--at", "2025-06-09"]));
    assert!(then.contains("$10 per 1M"), "{then}");
    let regional =
        out(&tollgate(&["show", "claude-opus-4-5", "--provider", "gcp.vertex_ai", "--region", "europe-west1"]));
    assert!(regional.starts_with("changed by   regional endpoints"), "{regional}");
}

#[test]
fn a_model_without_a_price_is_told_with_names_that_look_alike() {
    let told = refused(&tollgate(&["show", "gpt5-mini", "--provider", "openai"]), 1);
    assert!(told.contains("no price is known for `gpt5-mini` of openai") && told.contains("gpt-5-mini"), "{told}");
    let told = refused(&tollgate(&["show", "gpt-5", "--provider", "opnai"]), 1);
    assert!(told.contains("no list has the provider `opnai`") && told.contains("openai"), "{told}");
    let told = refused(&tollgate(&["show", "gpt-5", "--at", "tomorrow"]), 64);
    assert!(told.contains("--at: `tomorrow` is not a day"), "{told}");
}

#[test]
fn the_operators_file_counts_first_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = "source: our contract\ndate: 2026-11-01\nprices:\n  - {provider: openai, model: gpt-5, rates: {input: 1, output: 8}}\n";
    let discount = "source: rebate\ndate: 2026-11-02\nprices:\n  - {provider: openai, model: '*', multiply: 0.9}\n";
    let config = configured(folder.path(), &[own, discount]);
    let shown = out(&tollgate(&["show", "gpt-5", "--provider", "openai", "--config", &config]));
    for expected in
        ["changed by   * (rebate, 2026-11-02)", "× 0.9", "our contract, 2026-11-01", "0.yaml", "$8 per 1M tokens"]
    {
        assert!(shown.contains(expected), "{expected:?} is missing: {shown}");
    }
    let listed = out(&tollgate(&["list", "--provider", "openai", "--format", "json", "--config", &config]));
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["multiply"], "0.9");
    assert_eq!(listed[1]["source"], "our contract");
    assert!(listed.as_array().is_some_and(|entries| entries.len() > 50));
}

#[test]
fn lists_are_tables_for_people_and_lines_for_programs() {
    let table = out(&tollgate(&["list", "--provider", "anthropic"]));
    let row = table.lines().find(|line| line.contains("claude-opus-4-5")).expect("it is listed");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..6], ["anthropic", "claude-opus-4-5", "5", "25", "0.5", "6.25"], "{row}");
    let csv = out(&tollgate(&["list", "--provider", "anthropic", "--format", "csv"]));
    assert!(csv.starts_with("list,provider,model,names,kind,usd,unit,"), "{csv}");
    assert!(csv.lines().any(|line| line.contains(",cache_write_1h,10,1M tokens,,standard,")), "{csv}");
    let told = refused(&tollgate(&["list", "--provider", "anthropc"]), 64);
    assert!(told.contains("no list has prices of `anthropc`") && told.contains("anthropic"), "{told}");
}

#[test]
fn a_wrong_price_file_is_told_by_file_line_field_and_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = "source: x\ndate: 2026-11-01\nprices:\n  - provider: openai\n    model: gpt-5\n    rates: {inptu: 1}\n";
    let config = configured(folder.path(), &[wrong]);
    let told = refused(&tollgate(&["show", "gpt-5", "--config", &config]), 64);
    assert!(
        told.contains("0.yaml:6:13: prices[0].rates.inptu: this key is not known; did you mean `input`?"),
        "{told}"
    );
    std::fs::remove_file(folder.path().join("0.yaml")).expect("removed");
    let told = refused(&tollgate(&["list", "--config", &config]), 64);
    assert!(told.contains("cannot read the prices") && told.contains("prices.files"), "{told}");
}

#[test]
fn an_imported_list_is_used_and_what_was_left_out_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (list, made) = (folder.path().join("prices.json"), folder.path().join("imported.yaml"));
    std::fs::write(&list, LITELLM).expect("written");
    let (list, made) = (list.display().to_string(), made.display().to_string());
    let imported = tollgate(&["import", &list, "--output", &made, "--date", "2026-10-03", "--source", "their list"]);
    out(&imported);
    let told = String::from_utf8(imported.stderr).expect("UTF-8");
    assert!(told.contains("8 prices into") && told.contains("left out 1: its tiers"), "{told}");

    let config = folder.path().join("tollgate.yaml");
    std::fs::write(&config, format!("prices:\n  files: [{made}]\n")).expect("written");
    let config = config.display().to_string();
    let shown = out(&tollgate(&["show", "example-chat-1", "--config", &config]));
    assert!(shown.contains("their list, 2026-10-03") && shown.contains("above 272000"), "{shown}");

    let piped = out(&tollgate(&["import", &list, "--provider", "groq"]));
    assert_eq!(piped.matches("\"model\"").count(), 1, "{piped}");
    let told = refused(&tollgate(&["import", &list, "--provider", "nobody"]), 64);
    assert!(told.contains("the list has no prices of `nobody`; it has some of"), "{told}");
}

#[test]
fn what_is_no_price_list_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.json");
    let name = file.display().to_string();
    assert!(refused(&tollgate(&["import", &name]), 66).contains("x.json"));
    std::fs::write(&file, "{\"a\": 1}").expect("written");
    assert!(refused(&tollgate(&["import", &name]), 64).contains("--format"));
    let told = refused(&tollgate(&["import", &name, "--format", "models.dev"]), 64);
    assert!(told.contains("line 1, column 7") && told.contains("models.dev"), "{told}");
}
