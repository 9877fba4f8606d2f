use super::support::{Shelf, calls};

#[test]
fn the_table_aligns_numbers_adds_up_and_says_what_is_not_known() {
    let told = Shelf::with(&calls()).told(&["report"]);
    let table = "
 Provider   Model               Calls  Errors      Input  Output     Cached  Reasoning            Cost
 anthropic  claude-opus-4-5         2       0  2,469,134  17,820  2,000,000          0    ~$2,469.1358
 openai     gpt-5                   6       2      3,600   1,020      3,000        192       ≥ $0.0113
 vllm       =cmd|' /C calc'!A0      1       0      1,200     340      1,000         64         unknown
 Total                              9       2  2,473,934  19,180  2,004,000        256  ≥ ~$2,469.1471
≥ 1 call at a price that is not known
  1 call answered without a token count
  1 call cut short, and counted up to there
~ 1 call with tokens estimated here, because the provider did not tell them all
  of the errors, 1 was refused here and reached no provider
";
    assert_eq!(format!("\n{told}"), table);
}
