use super::*;
#[test]
#[ignore]
fn dump() {
    let list = std::env::var("FIT").unwrap();
    let mut tokenizers = super::super::Tokenizers::default();
    for path in list.split(':') {
        let Ok(bytes) = std::fs::read(path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let mut rest: &str = &text;
        let mut n = 0;
        while !rest.is_empty() && n < 12 {
            let mut end = rest.len().min(4000);
            while !rest.is_char_boundary(end) {
                end += 1
            }
            let (piece, after) = rest.split_at(end);
            rest = after;
            n += 1;
            let o = tokenizers.count(super::super::vocabulary::Vocabulary::O200k, piece);
            let c = tokenizers.count(super::super::vocabulary::Vocabulary::Cl100k, piece);
            println!(
                "FIT {path} {} {o} {c} {}",
                piece.len(),
                Classes::of(piece).numbers().map(|n| n.to_string()).join(" ")
            );
        }
    }
}
