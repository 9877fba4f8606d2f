//! Attempts to be somebody else. What can be put on is documented as a claim; what counts cannot be.

use anyhow::Result;
use serde_json::Value;
use tollgate_e2e::answer;
use tollgate_e2e::logged::calls;
use tollgate_world::{Program, World};

const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#;

/// Everybody below `paid` may call, and nobody else.
const PAID: &str = r#"
teams:
  - { name: paid, match: { cgroup: "*/paid" } }
policy:
  default: deny
  rules:
    - { name: paid-for, match: { team: paid } }
"#;

fn call(program: Program, agent: &tollgate_world::Agent) -> Result<u16> {
    let program = program
        .args(["--silent", "--show-error", "--write-out", "\n%{http_code}"])
        .args(["--header", "content-type: application/json", "--header", "authorization: Bearer k"])
        .args(["--data-binary", BODY, tollgate_e2e::CHAT])
        .envs(agent.trust_variables()?);
    Ok(answer(program.run()?)?.1)
}

fn line(agent: &tollgate_world::Agent, count: usize) -> Result<Value> {
    Ok(calls(agent, count)?.pop().unwrap_or_default())
}

#[test]
fn no_header_makes_a_caller_somebody_else() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(PAID)?;
    let (paid, other) = (world.workload("paid")?, world.workload("other")?);
    assert_eq!(call(world.command_in(&paid, "curl"), &agent)?, 200);
    assert_eq!(line(&agent, 1)?["team"], "paid");
    let claims = ["x-tollgate-team: paid", "x-forwarded-for: 127.0.0.1", "user-agent: paid", "x-team: paid"];
    let forged = claims.iter().fold(world.command_in(&other, "curl"), |curl, claim| curl.args(["--header", claim]));
    assert_eq!(call(forged, &agent)?, 403);
    let refused = line(&agent, 2)?;
    assert_eq!((&refused["team"], &refused["rule"]), (&Value::Null, &"default".into()), "{refused:#}");
    Ok(())
}

#[test]
fn a_copy_of_a_program_under_another_name_is_where_it_was() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(PAID)?;
    let other = world.workload("other")?;
    let copy = world.directory().join("paid");
    std::fs::copy("/usr/bin/curl", &copy)?;
    assert_eq!(call(world.command_in(&other, &copy), &agent)?, 403);
    // Its name is a claim, as docs/policy.md says: it shows, and no rule that counts should hang on it alone.
    assert_eq!(line(&agent, 1)?["program"], "paid");
    Ok(())
}

#[test]
fn a_process_is_where_it_was_when_it_connected_and_cannot_move_itself_without_the_right_to() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(PAID)?;
    let (paid, other) = (world.workload("paid")?, world.workload("other")?);
    let moving = |from: &std::path::Path, to: &std::path::Path| {
        let script = format!("echo $$ > {}/cgroup.procs; exec curl \"$@\"", to.display());
        world.command_in(from, "sh").args(["-c", &script, "sh"])
    };
    assert_eq!(call(moving(&paid, &other), &agent)?, 403, "it has left the group that is paid for");
    assert_eq!(call(moving(&other, &paid).user(1000), &agent)?, 403, "a user may not enter a group that is root's");
    assert_eq!(call(moving(&other, &paid), &agent)?, 200, "root may put whom it likes where it likes");
    Ok(())
}

#[test]
fn below_a_group_of_its_own_a_process_stays_what_the_group_is() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent(
        "
policy:
  default: deny
  rules:
    - { name: billing, match: { unit: billing.service } }
",
    )?;
    let (billing, web) = (world.workload("billing.service")?, world.workload("web.service")?);
    let forged = world.workload("web.service/billing.service")?;
    assert_eq!(call(world.command_in(&billing, "curl"), &agent)?, 200);
    assert_eq!(call(world.command_in(&web, "curl"), &agent)?, 403);
    assert_eq!(call(world.command_in(&forged, "curl"), &agent)?, 403, "the name of a group below says nothing");
    Ok(())
}
