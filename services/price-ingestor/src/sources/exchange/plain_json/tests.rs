//! The reader of plain JSON beside `serde_json`.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The messages that exchanges send.
const MESSAGES: [&str; 7] = [
    include_str!("../../../../testdata/binance/live.ndjson"),
    include_str!("../../../../testdata/bitstamp/live.ndjson"),
    include_str!("../../../../testdata/bybit/live.ndjson"),
    include_str!("../../../../testdata/coinbase/live.ndjson"),
    include_str!("../../../../testdata/coinbaseadvanced/live.ndjson"),
    include_str!("../../../../testdata/kraken/live.ndjson"),
    include_str!("../../../../testdata/okx/live.ndjson"),
];

/// Asserts that what is read is what `serde_json` reads, and returns whether it is read.
fn agrees(text: &str) -> bool {
    let theirs: Option<Value> = serde_json::from_str(text).ok();
    if let Ok(ours) = read::<Value>(text) {
        assert_eq!(Some(ours), theirs, "{text}");
    }
    let ignored = read::<de::IgnoredAny>(text).is_ok();
    assert!(!ignored || theirs.is_some(), "{text}");
    ignored
}

#[test]
fn plain_json_is_read_and_everything_else_is_left() {
    for text in [
        "{}",
        " { } ",
        "[]",
        "[ ]",
        r#"{"a":1}"#,
        "[1,2 , 3]",
        r#"{"a":{"b":[true,false,null]},"c":"é"}"#,
        r#"  {"a" : "b" , "c" : [ {} , {} ] }  "#,
        "0",
        "-0",
        "-1",
        "1.5",
        "0.0",
        "1e9",
        "1E+9",
        "-1.25e-3",
        "123456789012345678",
    ] {
        assert!(agrees(text), "{text}");
    }
    for text in "|  |{|[|[1|[1,|[1,]|[,1]|{\"a\"}|{\"a\":}|{\"a\":1,}|{,\"a\":1}|{1:2}|{\"a\" 1}|01|-|1.|.5|1e|+1|tru|nul|truee|\"|\"a|\
                 1 2|{}{}|[}|{]|NaN|\"a\\u0062\"|\"a\\\"b\"|\"a\u{1}\"|{\n}|[\t]"
        .split('|')
    {
        assert!(!agrees(text), "{text}");
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(agrees(&nested(MAX_DEPTH as usize)) && !agrees(&nested(MAX_DEPTH as usize + 1)));
    assert!(!agrees(&"[".repeat(100_000)));
}

#[test]
fn what_is_left_is_read_by_the_library() {
    assert_eq!(from_str::<Value>(r#"{"a\u0062":"\n"}"#).expect("JSON"), serde_json::json!({"ab": "\n"}));
    assert_eq!(from_str::<u64>("18446744073709551615").expect("a number"), u64::MAX);
    assert_eq!(from_str::<i64>("-5").expect("a number"), -5);
    assert!(from_str::<u64>("-5").is_err() && from_str::<(u64, u64)>("[1]").is_err());
}

#[test]
fn a_quote_is_found_wherever_it_stands() {
    for length in 0..40 {
        let text = "é~ !#[]\u{7f}".chars().cycle().take(length).collect::<String>();
        assert_eq!(quote(text.as_bytes()), None, "{text}");
        assert_eq!(quote(format!("{text}\"#\"").as_bytes()), Some(text.len()), "{text}");
    }
}

#[test]
fn messages_of_exchanges_are_plain() {
    for line in MESSAGES.iter().flat_map(|messages| messages.lines()) {
        assert_eq!(agrees(line), serde_json::from_str::<Value>(line).is_ok() && !line.contains('\\'), "{line}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_the_library_reads_it(text in r#"[\[\]{}:, "a\\\\0-9.eE+\\-tnul]{0,24}"#) {
        agrees(&text);
    }

    #[test]
    fn a_message_that_was_changed_is_read_as_the_library_reads_it(
        messages in 0..MESSAGES.len(), line: prop::sample::Index, at: prop::sample::Index, byte in "[\\[\\]{}:,\"\\\\0-9.e+ \\-]"
    ) {
        let lines: Vec<&str> = MESSAGES[messages].lines().collect();
        let mut text: Vec<char> = lines[line.index(lines.len())].chars().collect();
        let at = at.index(text.len());
        text[at] = byte.chars().next().unwrap_or(' ');
        agrees(&text.iter().collect::<String>());
        text.remove(at);
        agrees(&text.iter().collect::<String>());
    }
}
