use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_llm::Dialect;

use super::*;
use crate::raw::Raw;

fn parse(text: &str) -> Config {
    Config::parse("t.yaml", text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The error for a file, one line a problem.
fn errors(text: &str) -> String {
    Config::parse("t.yaml", text).expect_err(text).to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    for text in
        ["", "# nothing\n", "---\n", "{}", "~", "\u{feff}", "intercept:\nadmin:\n  # listen: 127.0.0.1:1\n", "\r\n"]
    {
        assert_eq!(parse(text), Config::default(), "{text:?}");
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = Config::default();
    assert_eq!(config.intercept.cgroup, None);
    assert_eq!(config.intercept.ports, [443]);
    assert_eq!(config.intercept.listen_ports, PortRange { first: 18_443, last: 18_542 });
    assert_eq!((config.intercept.quic, config.intercept.on_failure), (Quic::Allow, OnFailure::Open));
    assert_eq!(config.intercept.stale_after, Duration::from_secs(5));
    assert_eq!((config.terminate, config.providers.len()), (Terminate::All, 0));
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.ca.directory.to_str(), Some("/var/lib/tollgate/ca"));
    assert_eq!(config.admin.listen, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    assert_eq!(config.drain.timeout, Duration::from_secs(30));
    assert_eq!(config.log, Log { format: Format::Auto, level: Level::Info });
    assert_eq!(config.peek, Peek { timeout: Duration::from_secs(5), limit: 65_536 });
}

#[test]
fn every_default_can_be_written_down() {
    let written = serde_json::to_string_pretty(&Raw::default()).unwrap();
    assert!(written.contains("\"18443-18542\""), "{written}");
    assert_eq!(parse(&written), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        "intercept: { cgroup: /sys/fs/cgroup/app.slice, ports: [8443, 443, 443], listen_ports: 20000-20009,
                      quic: block, on_failure: closed, stale_after: 10s }
terminate: off
providers:
  - name: vllm
    hosts: ['*.llm.example.com', gpu-1.example.com]
    dialect: openai
  - { name: other, hosts: [b.example.com], dialect: anthropic }
upstream: { roots: [/etc/ca.pem], connect_timeout: 250ms }
ca: { directory: /tmp/ca }
admin: { listen: '[::1]:1234' }
drain: { timeout: 2m }
log: { format: json, level: debug }
peek: { timeout: 1s, limit: 8192 }
",
    );
    assert_eq!(config.intercept.cgroup.as_deref(), Some(Path::new("/sys/fs/cgroup/app.slice")));
    assert_eq!(config.intercept.ports, [443, 8443]);
    assert_eq!(config.intercept.listen_ports.ports(), 20_000..=20_009);
    assert_eq!((config.intercept.quic, config.intercept.on_failure), (Quic::Block, OnFailure::Closed));
    assert_eq!(config.terminate, Terminate::Off);
    assert_eq!(config.providers.len(), 2);
    assert_eq!((&*config.providers[0].name, config.providers[0].dialect), ("vllm", Dialect::OpenAi));
    assert!(config.providers[0].hosts[0].matches("a.llm.example.com"));
    assert_eq!(config.providers[1].dialect, Dialect::Anthropic);
    assert_eq!(config.upstream.roots, [Path::new("/etc/ca.pem")]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_millis(250));
    assert_eq!(config.admin.listen, Some("[::1]:1234".parse().unwrap()));
    assert_eq!(config.log, Log { format: Format::Json, level: Level::Debug });
    assert_eq!(config.peek.limit, 8192);
    assert_eq!(parse("admin: { listen: off }").admin.listen, None);
}

#[test]
fn an_unknown_key_is_told_with_what_was_meant() {
    assert_eq!(
        errors("upstream:\n  connect_timout: 3s\n"),
        "t.yaml:2:3: upstream.connect_timout: this key is not known; did you mean `connect_timeout`?"
    );
    assert_eq!(errors("Log: {}"), "t.yaml:1:1: Log: this key is not known; did you mean `log`?");
    assert_eq!(errors("listen: off"), "t.yaml:1:1: listen: this key is not known; did you mean `admin.listen`?");
    assert_eq!(
        errors("drain: { banana: 1 }"),
        "t.yaml:1:10: drain.banana: this key is not known; the keys here are `timeout`"
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    assert_eq!(
        format!(
            "\n{}",
            errors(
                "intercept:
  ports: 443
  quic: maybe
  stale_after: 30
  on_failure: { a: b }
terminate: of
providers:
  - name: a
    hosts: [x.example.com, 'http://x']
    dialect: openai
  - hosts: [y.example.com]
    dialect: openai
  - { name: c, hosts: [z.example.com], dialect: openapi }
admin: [1]
peek: { limit: lots, timout: 1s }
"
            )
        ),
        "
t.yaml:2:10: intercept.ports: a single value stands where a list is expected; write `[` and `]` around it, or each item \
         on a line of its own after `- `
t.yaml:3:9: intercept.quic: `maybe` is not possible here; write `allow` or `block`
t.yaml:4:16: intercept.stale_after: `30` is not a duration: it has no unit; write a duration, such as `30s`
t.yaml:5:15: intercept.on_failure: a group of keys stands where one value is expected; write `open` or `closed`
t.yaml:6:12: terminate: `of` is not possible here; did you mean `off`?
t.yaml:9:28: providers[0].hosts[1]: `http://x` is not a host pattern: ':' cannot be in a host name; write international \
         names in their xn-- form; write a host pattern, such as `*.openai.azure.com`
t.yaml:11:5: providers[1]: `name` is missing; add it: write a provider's name, such as `my.vllm`
t.yaml:13:49: providers[2].dialect: `openapi` is not possible here; did you mean `openai`?
t.yaml:14:8: admin: a list stands where keys are expected; the keys here are `listen`
t.yaml:15:16: peek.limit: `lots` is not a size; write a size, such as `64KiB`
t.yaml:15:22: peek.timout: this key is not known; did you mean `timeout`?"
    );
}

#[test]
fn values_that_do_not_go_together_are_told() {
    assert_eq!(
        format!(
            "\n{}",
            errors(
                "intercept: { ports: [], listen_ports: 5000, stale_after: 1s }
providers:
  - { name: a, hosts: [x.example.com, X.example.com.], dialect: openai }
  - { name: a, hosts: [], dialect: openai }
admin: { listen: '0.0.0.0:5000' }
peek: { limit: 1 }
"
            )
        ),
        "
t.yaml:1:21: intercept.ports: without ports nothing would be seen; name at least one, or write `terminate: off` at the \
         top to open nothing
t.yaml:1:39: intercept.listen_ports: an upgrade needs one port for the old agent and one for the new; give at least two, \
         such as `18443-18542`
t.yaml:1:58: intercept.stale_after: a sign of life comes every second, so this is too soon or too late to be of use; \
         write a duration from `2s` to `5m`
t.yaml:3:39: providers[0].hosts[1]: `x.example.com` is already listed above; keep it in one place
t.yaml:4:13: providers[1].name: `a` is defined twice; put all its hosts into one list
t.yaml:4:23: providers[1].hosts: the provider has no hosts; name at least one
t.yaml:5:18: admin.listen: port 5000 is one that intercepted connections are taken at; choose one outside \
         `intercept.listen_ports`
t.yaml:6:16: peek.limit: this is too little for a ClientHello, or more than one may cost; write a size from `4KiB` to `1MiB`"
    );
}

#[test]
fn a_file_that_is_no_yaml_is_told_with_its_place() {
    for (text, start) in [
        ("a: b: c", "t.yaml:1:5: mapping values"),
        ("drain:\n  timeout: [", "t.yaml:2:1"),
        ("drain: {}\ndrain: {}\n", "t.yaml:2:1: duplicate mapping key"),
        ("a: *b", "t.yaml:1:4: "),
        ("a: !custom b", "t.yaml:1:"),
        ("drain: {}\n---\ndrain: {}\n", "t.yaml:3:1: only single YAML document"),
    ] {
        let told = errors(text);
        assert!(told.starts_with(start) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn a_file_of_nonsense_gets_a_bounded_answer() {
    let text: String = (0..1_000).flat_map(|number| [format!("key{number}: "), "x".repeat(500), "\n".into()]).collect();
    let told = errors(&text);
    assert_eq!(told.lines().count(), 20);
    let told = errors(&format!("drain: {{ timeout: {} }}", "y".repeat(100_000)));
    assert!(told.len() < 400, "{told}");
}

#[test]
fn bombs_are_refused_by_budget() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        writeln!(aliases, "a{level}: &a{level} [{below}]").unwrap();
    }
    errors(&aliases);
    errors(&"[".repeat(100_000));
    errors(&"{a: ".repeat(100_000));
    errors(&"- ".repeat(100_000));
    errors(&format!("a: {}", "x".repeat(LIMIT)));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.yaml");
    let told = Config::load(&missing).unwrap_err().to_string();
    assert!(told.contains("none.yaml") && told.contains("No such file"), "{told}");
    assert!(Config::load(folder.path()).is_err());

    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, b"a: \xff\xfe").unwrap();
    assert!(Config::load(&binary).unwrap_err().to_string().contains("UTF-8"));

    let good = folder.path().join("good.yaml");
    std::fs::write(&good, "terminate: off\n").unwrap();
    assert_eq!(Config::load(&good).unwrap().terminate, Terminate::Off);
    std::fs::write(&good, "terminate: on\n").unwrap();
    let told = Config::load(&good).unwrap_err().to_string();
    assert!(told.starts_with(&format!("{}:1:12: terminate", good.display())), "{told}");
}

#[test]
fn the_reference_page_is_the_one_in_docs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let stored = std::fs::read_to_string(page).unwrap_or_default();
    let command = "cargo run -p tollgate-config --example reference > docs/configuration.md";
    assert!(stored == reference(), "docs/configuration.md is stale; run `{command}`");
}

#[test]
fn the_schema_is_the_one_in_docs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.schema.json");
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    let command = "cargo run -p tollgate-config --example reference -- schema > docs/configuration.schema.json";
    let written = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    assert!(stored == written, "docs/configuration.schema.json is stale; run `{command}`");
}

#[test]
fn the_example_of_the_reference_page_is_valid() {
    let page = reference();
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(parse(example).providers.len(), 1);
}

/// Text made of the file's own words, which gets further than random bytes.
fn yaml() -> impl Strategy<Value = String> {
    let words = [
        "intercept",
        "ports",
        "providers",
        "hosts",
        "dialect",
        "openai",
        "name",
        "terminate",
        "off",
        "peek",
        "limit",
        "timeout",
        "10s",
        "64KiB",
        ": ",
        ":\n  ",
        "\n",
        "\n- ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "<<",
        "|\n ",
        "\"",
        "'",
        "#",
        "!x ",
        "~",
        "---\n",
        "443",
        "-1",
        "1e999",
        "é",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

fn check_any(text: &str) {
    if let Err(Error::Invalid { problems, .. }) = Config::parse("any", text) {
        let lines = text.lines().count() as u64 + 1;
        assert!(!problems.is_empty());
        assert!(problems.is_sorted_by_key(|problem| problem.place));
        for problem in problems {
            assert!(problem.place.line <= lines, "{problem} {text:?}");
            assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_yaml_is_read_without_panic(text in yaml()) {
        check_any(&text);
    }

    #[test]
    fn any_valid_values_are_kept(
        seconds in 1u64..3_000_000, first in 1u16..1000, more in 1u16..1000, limit in 4_096usize..1_048_576,
    ) {
        let config = parse(&format!(
            "drain: {{ timeout: {seconds}s }}\nintercept: {{ listen_ports: {first}-{} }}\npeek: {{ limit: {limit} }}",
            first + more
        ));
        prop_assert_eq!(config.drain.timeout, Duration::from_secs(seconds));
        prop_assert_eq!(config.intercept.listen_ports.ports(), first..=first + more);
        prop_assert_eq!(config.peek.limit, limit);
    }
}
