use super::*;
use crate::estimate::{Tokenizers, vocabulary::Vocabulary};

/// The same sentences, so to say, in scripts that differ.
const CHINESE: &str = "人工智能正在改变我们的工作方式。许多公司已经开始使用语言模型来编写代码、回答客户的问题以及分析数据。\
    然而，这些服务的费用并不总是透明的，因此需要一种可靠的方法来计算每一次调用所消耗的资源。我们在网络层面观察请求，而不改变它们。";
const JAPANESE: &str = "人工知能は私たちの働き方を変えつつあります。多くの企業がすでに言語モデルを使ってコードを書いたり、顧客の質問に答えたり、\
    データを分析したりしています。しかし、これらのサービスの料金は必ずしも明確ではないため、呼び出しごとの消費量を正しく数える方法が必要です。";
const KOREAN: &str = "인공지능은 우리가 일하는 방식을 바꾸고 있습니다. 많은 회사가 이미 언어 모델을 사용하여 코드를 작성하고 고객의 질문에 답하며 \
    데이터를 분석합니다. 그러나 이러한 서비스의 비용은 항상 투명하지는 않으므로 호출마다 사용한 양을 정확하게 세는 방법이 필요합니다.";
const RUSSIAN: &str = "Искусственный интеллект меняет то, как мы работаем. Многие компании уже используют языковые модели, чтобы писать код, \
    отвечать на вопросы клиентов и анализировать данные. Однако стоимость этих услуг не всегда прозрачна, поэтому нужен надёжный способ считать.";
const GERMAN: &str = "Künstliche Intelligenz verändert, wie wir arbeiten. Viele Unternehmen lassen bereits Sprachmodelle Programme schreiben, \
    Fragen von Kunden beantworten und Daten auswerten. Was das kostet, ist jedoch nicht immer klar; darum muss jeder Aufruf verlässlich gezählt werden.";

#[test]
fn a_rough_count_is_as_near_to_a_real_one_as_the_documentation_says() {
    let cases = [
        ("English", include_str!("../../../../../ARCHITECTURE.md"), 15),
        ("Rust", include_str!("../../sse.rs"), 15),
        ("JSON", include_str!("../../../../../tests/corpus/openai-responses/unary-web-search.json"), 25),
        ("Chinese", CHINESE, 20),
        ("Japanese", JAPANESE, 20),
        ("Korean", KOREAN, 20),
        ("Russian", RUSSIAN, 25),
        ("German", GERMAN, 25),
    ];
    let mut tokenizers = Tokenizers::default();
    for (name, text, percent) in cases {
        let (rough, real) = (tokens(text), tokenizers.count(Vocabulary::O200k, text));
        let error = 100.0 * (rough as f64 / real as f64 - 1.0);
        println!("{name:10} {real:6} tokens, {error:+.1} %");
        assert!(error.abs() <= f64::from(percent), "{name}: {rough} for {real}");
    }
}

#[test]
fn words_digits_marks_and_gaps_are_told_apart() {
    let classes = Classes::of("Hello World, parseHttpHeaders(12345);\n\n    日本語 héllo 😀");
    let expected = Classes {
        // Hello, World, parse, Http, Headers, and the two parts of héllo.
        words: 7,
        long: 0,
        digits: 2,
        marks: 3,
        more_marks: 1,
        // The line break, and what goes on after it.
        gaps: 2,
        letters: 1,
        ideographs: 3,
        others: 1,
    };
    assert_eq!(classes, expected);
    assert_eq!(tokens(""), 0);
    assert_eq!(tokens("x"), 1);
}
