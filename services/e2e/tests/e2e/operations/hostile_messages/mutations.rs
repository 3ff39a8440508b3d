//! Bodies, headers and subjects that no publisher of ours would send.

use serde_json::{Map, Value, json};

/// What takes the place of a value until the text is written: some of the values below are no JSON that a library writes.
const PLACEHOLDER: &str = "the-hostile-value";

/// The texts that each value of an event is replaced by.
fn values() -> Vec<String> {
    let long = |length: usize| format!("\"{}\"", "a".repeat(length));
    let fixed = [
        "null",
        "true",
        "[]",
        "{}",
        "[[[]]]",
        "\"\"",
        "\" \"",
        "-1",
        "0",
        "1e400",
        "1.5",
        "-0",
        "18446744073709551615",
        "9223372036854775807",
        "2147483648",
        "\"-1\"",
        "\"0\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"1e30\"",
        "\"99999999999999\"",
        "\"79228162514264337593543950335\"",
        "\"0.0000000000000000000000000001\"",
        "\"9999-12-31T23:59:59.999999Z\"",
        "\"1970-01-01T00:00:00Z\"",
        "\"0001-01-01T00:00:00Z\"",
        "\"00000000-0000-0000-0000-000000000000\"",
        "\"ffffffff-ffff-ffff-ffff-ffffffffffff\"",
        "\"a\\u0000b\"",
        "\"\\ud800\"",
        "\"\\u202e\\u0007\\r\\n.\\r\\n\"",
        "\"a@b\\r\\nBcc: eve@example.com\"",
        "\"' OR 1=1; --\"",
        "\"{}\"",
        "\"AAAAAAAAAAAAAAAAAAAA-AAAAAAAAAAAAAAAAAAAA\"",
        "\"deleted\"",
        "\"0s\"",
        "\"4294967295s\"",
    ];
    fixed.iter().map(|value| (*value).to_owned()).chain([long(300), long(8_000), long(40_000)]).collect()
}

/// Returns an event with each of its values, at any depth, replaced by each of the hostile ones, and left out.
pub(super) fn mutations(event: &Value) -> Vec<Vec<u8>> {
    let (mut paths, mut mutated) = (Vec::new(), Vec::new());
    collect_paths(event, String::new(), &mut paths);
    for path in &paths {
        let mut with_placeholder = event.clone();
        *with_placeholder.pointer_mut(path).expect("a value") = PLACEHOLDER.into();
        let text = with_placeholder.to_string();
        let replaced = |value: String| text.replace(&format!("\"{PLACEHOLDER}\""), &value).into_bytes();
        mutated.extend(values().into_iter().map(replaced));
        mutated.extend(without(event, path).map(|event| event.to_string().into_bytes()));
    }
    let text = event.to_string();
    let behind = |more: &str| format!("{},{more}}}", text.strip_suffix('}').expect("an object")).into_bytes();
    mutated.push(behind(&format!("\"unknown\": \"{}\"", "u".repeat(50_000))));
    mutated.push(behind(&format!("\"unknown\": {}{}", "[".repeat(20_000), "]".repeat(20_000))));
    mutated.push(behind(text.trim_start_matches('{').trim_end_matches('}')));
    mutated.push(format!("{text}{text}").into_bytes());
    mutated.push(format!("\u{feff}{text}").into_bytes());
    mutated.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    mutated.push(text.as_bytes()[..text.len() / 2].to_vec());
    mutated
}

fn collect_paths(value: &Value, path: String, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let path = format!("{path}/{name}");
        paths.push(path.clone());
        collect_paths(child, path, paths);
    }
}

/// Returns an event without the field at a path; none where it is no field.
fn without(event: &Value, path: &str) -> Option<Value> {
    let (parent, name) = path.rsplit_once('/')?;
    let mut event = event.clone();
    let fields: &mut Map<String, Value> = event.pointer_mut(parent)?.as_object_mut()?;
    fields.remove(name).is_some().then_some(event)
}

/// Bodies that are no event.
pub(super) fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        ["", " ", "null", "true", "0", "[]", "{}", "\"text\"", "{", "{\"a\":", "\0", "\r\n+OK\r\n", "<a/>", "NaN"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    bodies.push(b"\xff\xfe\x00\x80 garbage".to_vec());
    bodies.push("[".repeat(60_000).into_bytes());
    bodies.push("{\"a\":".repeat(10_000).into_bytes());
    bodies.push(json!(vec![0; 25_000]).to_string().into_bytes());
    bodies.push(vec![b'a'; 65_000]);
    bodies.push(vec![0; 60_000]);
    // More than the stream takes: the broker refuses it.
    bodies.push(vec![b'a'; 200_000]);
    bodies
}

/// The lines of headers around a good event of the class.
pub(super) fn headers(class: &str) -> Vec<Vec<u8>> {
    let long = |length: usize| "h".repeat(length);
    let mut headers: Vec<Vec<u8>> = [
        String::new(),
        "ce-type: \r\n".into(),
        "ce-type: tock.v1\r\n".into(),
        format!("ce-type: {}\r\n", long(8_000)),
        format!("ce-type: {class}\r\nce-type: tock.v1\r\n"),
        format!("ce-type: {class}\r\nce-id: \r\n"),
        format!("ce-type: {class}\r\nce-id: {}\r\n", long(8_000)),
        format!("ce-type: {class}\r\nce-id: a\tb\u{7}\u{202e}\r\n"),
        format!("ce-type: {class}\r\nNats-Msg-Id: {}\r\n", long(8_000)),
        format!("ce-type: {class}\r\nNats-Msg-Id: twice\r\n"),
        format!("ce-type: {class}\r\nNats-Msg-Id: twice\r\n"),
        format!("ce-type: {class}\r\ntraceparent: {}\r\n", long(8_000)),
        format!("ce-type: {class}\r\ntraceparent: 00-\u{0}\r\n"),
        format!("ce-type: {class}\r\nce-id: a\u{0}b\r\n"),
        format!("ce-type: {class}\r\nNats-Expected-Last-Sequence: 0\r\n"),
        format!("ce-type: {class}\r\nNats-TTL: 1s\r\n"),
        format!("ce-type: {class}\r\nNats-Batch-Id: hostile\r\nNats-Batch-Sequence: -1\r\n"),
        format!("ce-type: {class}\r\n{}", "x: y\r\n".repeat(2_000)),
        format!("CE-TYPE: {class}\r\nce-time: never\r\nce-specversion: 0.3\r\n"),
    ]
    .map(String::into_bytes)
    .into();
    // Neither text nor lines of a name and a value.
    headers.push([format!("ce-type: {class}\r\nce-id: ").as_bytes(), b"\xff\xfe", b"\r\n"].concat());
    headers.push(b"no colon in this line\r\n".to_vec());
    headers.push(b"na me\x01: value\r\n".to_vec());
    headers.push(b": no name\r\n".to_vec());
    headers.push("n\u{e4}me: value\r\n".as_bytes().to_vec());
    headers
}

/// Subjects of the stream whose subjects begin with this token.
pub(super) fn subjects(first: &str) -> Vec<Vec<u8>> {
    let mut subjects: Vec<Vec<u8>> = [
        format!("{first}.x"),
        format!("{first}.{}", "x".repeat(900)),
        format!("{first}{}", ".x".repeat(400)),
        format!("{first}.\u{1F4B8}.\u{e9}"),
        format!("{first}.a\u{1}b"),
        format!("{first}.'; DROP TABLE ticks; --").replace(' ', "_"),
        format!("{first}.$JS.API.STREAM.DELETE.TICKS"),
        format!("{first}.a\u{a0}b"),
    ]
    .map(String::into_bytes)
    .into();
    subjects.push([first.as_bytes(), b".a\xffb"].concat());
    subjects
}
