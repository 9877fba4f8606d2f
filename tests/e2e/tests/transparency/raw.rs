//! Requests as only few programs write them, and what comes back, byte for byte.

use anyhow::Result;
use tollgate_e2e::stage::Stage;
use tollgate_world::Program;

#[test]
fn unusual_requests_are_answered_as_directly() -> Result<()> {
    let stage = Stage::new("")?;
    let answers = |python: Program| -> Result<Vec<(String, String)>> {
        let output = python.args(["-c", include_str!("raw.py")]).run()?.success()?;
        Ok(output.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let direct = answers(stage.world.agent_command("/usr/bin/python3"))?;
    let steered = answers(stage.world.client_command("/usr/bin/python3"))?;
    // Both ends' own clocks.
    let timeless =
        |text: &str| -> String { text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect() };
    let mut differences = Vec::new();
    for ((request, direct), (_, steered)) in direct.iter().zip(&steered) {
        if timeless(direct) != timeless(steered) {
            differences.push(format!("{request}\n- {direct:.1500}\n+ {steered:.1500}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert_eq!((direct.len(), steered.len()), (28, 28));
    Ok(())
}
