//! A JSON object, one field at a time, so that everything that is wrong with it is said at once and by its pointer.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, error::Category, value::RawValue};
use serde_path_to_error::{Path, Segment};

use crate::problem::{Kind, Mistake, Problem};

/// The fields that have not been read, and the mistakes in those that have.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The pointer to the object.
    at: String,
    unread: BTreeMap<String, Box<RawValue>>,
    mistakes: Vec<Mistake>,
}

impl Fields {
    /// An object's fields as text. What is no JSON is a problem of its own; so is JSON that is no object.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        // Read to its end first: a type error would hide that the rest is not JSON at all.
        let text = std::str::from_utf8(body).map_err(malformed)?;
        serde_json::from_str::<IgnoredAny>(text).map_err(malformed)?;
        match serde_json::from_str::<Object>(text) {
            Ok(Object(unread)) => Ok(Self { at: String::new(), unread, mistakes: Vec::new() }),
            Err(error) if error.classify() == Category::Data => {
                Err(Problem::invalid(vec![Mistake::body("", sentence(&error))]))
            }
            Err(error) => Err(malformed(error)),
        }
    }

    /// Whether a field is there and not read yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.unread.contains_key(name)
    }

    /// A field that must be there; `None` when it is a mistake, which is noted.
    pub(crate) fn required<T: DeserializeOwned + Serialize>(&mut self, name: &str) -> Option<T> {
        if !self.has(name) {
            self.refuse(pointer_to("", name), REQUIRED);
        }
        self.optional(name)
    }

    /// A field that may be absent; `None` also when it is a mistake, which is noted.
    pub(crate) fn optional<T: DeserializeOwned + Serialize>(&mut self, name: &str) -> Option<T> {
        let raw = self.unread.remove(name)?;
        let at = pointer_to(&self.at, name);
        match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(raw.get())) {
            Ok(value) => {
                self.refuse_unknown(&raw, &value, &at);
                Some(value)
            }
            Err(error) => {
                self.mistakes.push(mistake(&at, error.path(), error.inner()));
                None
            }
        }
    }

    /// An object in a field that may be absent or null, read by `read`; `None` also when there is a mistake in it, which
    /// is noted.
    pub(crate) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let raw = self.unread.remove(name).filter(|raw| raw.get() != "null")?;
        let at = pointer_to(&self.at, name);
        match serde_json::from_str::<Object>(raw.get()) {
            Ok(Object(unread)) => {
                let mut inner = Self { at, unread, mistakes: Vec::new() };
                let value = read(&mut inner);
                let mistakes = inner.finish();
                let value = value.filter(|_| mistakes.is_empty());
                self.mistakes.extend(mistakes);
                value
            }
            Err(error) => {
                self.mistakes.push(Mistake::body(at, sentence(&error)));
                None
            }
        }
    }

    /// Whether what was read so far was right.
    pub(crate) fn is_right(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Leaves a field out that is refused already.
    pub(crate) fn skip(&mut self, name: &str) {
        self.unread.remove(name);
    }

    /// Notes a mistake that no parser of one field can see; the pointer begins at this object.
    pub(crate) fn refuse(&mut self, pointer: impl AsRef<str>, detail: impl Into<String>) {
        self.mistakes.push(Mistake::body(format!("{}{}", self.at, pointer.as_ref()), detail));
    }

    /// Every mistake, fields that nobody has read among them.
    pub(crate) fn finish(mut self) -> Vec<Mistake> {
        for name in std::mem::take(&mut self.unread).into_keys() {
            self.refuse(pointer_to("", &name), UNKNOWN);
        }
        self.mistakes
    }

    /// `read` when there was no mistake; fields that nobody has read are some.
    pub(crate) fn all<T>(self, read: Option<T>) -> Result<T, Problem> {
        let mistakes = self.finish();
        read.filter(|_| mistakes.is_empty()).ok_or_else(|| Problem::invalid(mistakes))
    }

    /// Wire types pass over fields that they do not know; at the edge a misspelt one is refused. What a value writes
    /// is what it knows, so whatever was sent beyond that is unknown.
    fn refuse_unknown(&mut self, raw: &RawValue, value: &impl Serialize, at: &str) {
        if let (Ok(sent), Ok(known)) = (serde_json::from_str(raw.get()), serde_json::to_value(value)) {
            unknown(&sent, &known, at, &mut self.mistakes);
        }
    }
}

const UNKNOWN: &str = "is no field of this";
/// What is said of a field that is not there.
pub(crate) const REQUIRED: &str = "is required";

fn unknown(sent: &Value, known: &Value, at: &str, mistakes: &mut Vec<Mistake>) {
    let (Value::Object(sent), Value::Object(known)) = (sent, known) else { return };
    for (name, sent) in sent {
        let at = pointer_to(at, name);
        match known.get(name) {
            Some(known) => unknown(sent, known, &at, mistakes),
            None => mistakes.push(Mistake::body(at, UNKNOWN)),
        }
    }
}

fn malformed(error: impl fmt::Display) -> Problem {
    Problem::new(Kind::MalformedJson, format!("The body is not JSON: {error}."))
}

fn mistake(at: &str, path: &Path, error: &serde_json::Error) -> Mistake {
    let at = path.iter().fold(at.to_owned(), |at, segment| match segment {
        Segment::Map { key } => pointer_to(&at, key),
        Segment::Enum { variant } => pointer_to(&at, variant),
        Segment::Seq { index } => format!("{at}/{index}"),
        Segment::Unknown => at,
    });
    let detail = sentence(error);
    if let Some(name) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Mistake::body(pointer_to(&at, name), REQUIRED);
    }
    // A type that checks its parts against each other begins its sentence with the one at fault.
    if let Some((name, rule)) = detail.split_once(" must ").filter(|(name, _)| !name.contains(' ')) {
        let at = if at.ends_with(&format!("/{name}")) { at } else { pointer_to(&at, name) };
        return Mistake::body(at, format!("must {rule}"));
    }
    // The text is JSON, so a syntax error can only be an alternative that is spelt with none or several fields.
    let detail = if error.classify() == Category::Data { detail } else { "must hold exactly one field".into() };
    Mistake::body(at, detail)
}

/// The place in the text helps nobody who knows the field.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

/// RFC 6901: `~` and `/` in a name are escaped.
fn pointer_to(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// An object whose names are all different: of two spellings of one field, neither is surely meant.
struct Object(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if fields.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("has the field {name:?} twice")));
                    }
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use events::{Condition, Price};

    use super::*;

    fn check<T: DeserializeOwned + Serialize>(field: &str, expected: &str) {
        let mut fields = Fields::parse(format!("{{\"a/b\": {field}}}").as_bytes()).expect("an object");
        fields.required::<T>("a/b");
        assert_eq!(serde_json::to_string(&fields.finish()).expect("JSON"), expected, "{field}");
    }

    #[test]
    fn a_mistake_is_named_by_its_pointer() {
        check::<Price>("\"1.50\"", "[]");
        check::<Price>("5.5", "[]");
        check::<Price>("0", r#"[{"pointer":"/a~1b","detail":"must be above 0"}]"#);
        check::<Condition>(
            r#"{"change": {"percent": 5, "perzent": 5, "~": {}}}"#,
            r#"[{"pointer":"/a~1b/change/perzent","detail":"is no field of this"},{"pointer":"/a~1b/change/~0","detail":"is no field of this"}]"#,
        );
        check::<Condition>(r#"{"change": {}}"#, r#"[{"pointer":"/a~1b/change/percent","detail":"is required"}]"#);
        check::<Condition>(
            r#"{"price": {"above": "1", "below": "2"}}"#,
            r#"[{"pointer":"/a~1b/price","detail":"must hold exactly one field"}]"#,
        );
        check::<Condition>(
            r#"{"change": {"percent": 5, "percent": 6}}"#,
            r#"[{"pointer":"/a~1b/change","detail":"duplicate field `percent`"}]"#,
        );
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_no_object() {
        for (body, status) in [
            (&b""[..], 400),
            (b"{", 400),
            (b"[1,", 400),
            (b"{\"a\": 1,}", 400),
            (b"{\"a\": \xff}", 400),
            (b"{} {}", 400),
            (b"[]", 422),
            (b"5", 422),
            (b"null", 422),
            (b"{\"a\": 1, \"a\": 2}", 422),
        ] {
            let problem = Fields::parse(body).expect_err("a problem");
            assert_eq!(problem.kind.status().as_u16(), status, "{body:?}: {}", problem.detail);
        }
    }
}
