//! Reading what the agent and the clients print.

use serde_json::Value;

/// The agent's log lines about exchanges, as sentences: who called what, the tokens, the cost.
pub(crate) fn exchanges(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter_map(|line| exchange(&line)).collect()
}

fn exchange(line: &Value) -> Option<String> {
    let text = |name: &str| line[name].as_str();
    let model = text("response_model").or_else(|| text("request_model"))?;
    Some(format!(
        "{:10} user {:5} {:10} {:28} {:>5} in {:>5} out {:>12}",
        text("program")?,
        text("user")?,
        text("provider")?,
        model,
        line["input_tokens"].as_u64()?,
        line["output_tokens"].as_u64()?,
        text("cost_usd").map_or_else(|| "no price".to_owned(), |cost| format!("${cost}")),
    ))
}

/// The samples of one metric on a metrics page, with those labels alone that tell the most.
pub(crate) fn samples(page: &str, name: &str) -> Vec<String> {
    page.lines().filter_map(|line| sample(line, name)).collect()
}

fn sample(line: &str, name: &str) -> Option<String> {
    let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
    // Label values may hold commas, but none of those shown here does.
    let label = |name: &str| Some(labels.split_once(&format!("{name}=\""))?.1.split('"').next().unwrap_or_default());
    Some(format!(
        "{:10} {:28} {:10} {:6} {value:>6}",
        label("gen_ai_provider_name")?,
        label("gen_ai_response_model")?,
        label("program")?,
        label("gen_ai_token_type")?
    ))
}

/// Who issued the certificate, in what `curl --verbose` says.
pub(crate) fn issuer(verbose: &str) -> Option<&str> {
    verbose.lines().find_map(|line| line.trim_start_matches('*').trim().strip_prefix("issuer: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_read_off_its_log_line() {
        let log = "ready\n{\"message\":\"ready\"}\n{\"program\":\"curl\",\"user\":\"ann\",\"provider\":\"openai\",\
                   \"request_model\":\"m\",\"input_tokens\":12,\"output_tokens\":3,\"cost_usd\":\"0.01\"}\n";
        let found = exchanges(log);
        assert_eq!(found.len(), 1);
        for part in ["curl", "ann", "openai", "12 in", "3 out", "$0.01"] {
            assert!(found[0].contains(part), "{part} is not in {}", found[0]);
        }
    }

    #[test]
    fn a_sample_is_read_off_its_line() {
        let page = "# HELP tokens_sum x\ntokens_sum{gen_ai_provider_name=\"p\",gen_ai_response_model=\"m\",program=\"curl\",\
                    gen_ai_token_type=\"input\"} 12.0\ntokens_summary{} 2\ntokens_count 1\n";
        let found = samples(page, "tokens_sum");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].split_whitespace().collect::<Vec<_>>(), ["p", "m", "curl", "input", "12.0"]);
    }

    #[test]
    fn the_issuer_is_read_off_curls_report() {
        let report = "* Server certificate:\n*  subject: CN=x\n*  issuer: CN=Some CA\n";
        assert_eq!(issuer(report), Some("CN=Some CA"));
    }
}
