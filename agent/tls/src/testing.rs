//! What several modules' tests need.

use tollgate_ebpf::name::Pattern;

pub(crate) fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().expect("the test's pattern is well-formed")).collect()
}
