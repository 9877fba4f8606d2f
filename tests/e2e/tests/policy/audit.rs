use anyhow::Result;
use serde_json::Value;
use tollgate_e2e::{answer, chat};
use tollgate_world::World;

use crate::support::GENEROUS;

const FOLDER: &str = "/var/log/tollgate";

#[test]
fn a_refusal_is_in_the_audit_without_a_word_of_the_call_and_a_changed_line_is_found() -> Result<()> {
    let world = World::new()?;
    let config = "policy:\n  rules:\n    - { name: no-gpt-4o, match: { model: gpt-4o }, action: deny }\n";
    let agent = world.agent(config)?;
    let call = |model: &str| chat(&world, model, false).envs(agent.trust_variables()?).run();
    assert_eq!(answer(call("gpt-4o")?)?.1, 403);
    assert_eq!(answer(call("gpt-4o-mini")?)?.1, 200);
    let file = format!("{FOLDER}/audit.jsonl");
    let read = || Ok::<_, anyhow::Error>(world.agent_command("cat").arg(&file).run()?.success()?.text());
    assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));

    let text = read()?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let refused: Vec<_> = lines.iter().filter(|line| line["what"] == "refused").collect();
    assert_eq!(refused.len(), 1, "{text}");
    assert_eq!((&refused[0]["name"], &refused[0]["who"]["program"]), (&"no-gpt-4o".into(), &"curl".into()), "{text}");
    assert!(!text.contains("Hello, world") && !text.contains("sk-secret"), "{text}");

    let verify = || world.tollgate()?.args(["audit", "verify", FOLDER]).run();
    assert_eq!(verify()?.status.code(), Some(0));
    // Somebody would rather have been refused something else.
    world.agent_command("sed").args(["-i", "s/no-gpt-4o/no-gpt-5o/", &file]).run()?.success()?;
    let found = verify()?;
    assert_eq!(found.status.code(), Some(65), "{found}");
    Ok(())
}
