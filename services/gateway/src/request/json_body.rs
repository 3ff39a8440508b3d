//! JSON objects, read one field at a time, so that every error is reported at once and with its pointer.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::{Value, error::Category, value::RawValue};
use serde_path_to_error::{Path, Segment};

use crate::http::problem::{FieldError, Problem, ProblemKind};

/// The fields that have not been read, and the errors in those that have.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The pointer to the object.
    at: String,
    unread: BTreeMap<String, Box<RawValue>>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads the fields of an object. A body that is not JSON and JSON that is not an object are different problems.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        // Read to its end first: a type error would hide that the rest is not JSON at all. As a value, because what is
        // skipped is not checked: half a surrogate pair, or an object that is nested too deep, would pass as unknown text.
        let text = std::str::from_utf8(body).map_err(malformed)?;
        serde_json::from_str::<Value>(text).map_err(malformed)?;
        match serde_json::from_str::<Object>(text) {
            Ok(Object(unread)) => Ok(Self { at: String::new(), unread, errors: Vec::new() }),
            Err(error) if error.classify() == Category::Data => {
                Err(Problem::invalid(vec![FieldError::body("", sentence(&error))]))
            }
            Err(error) => Err(malformed(error)),
        }
    }

    /// Whether a field is present and not read yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.unread.contains_key(name)
    }

    /// Reads a field that must be present; `None` when it is missing or invalid, which is recorded.
    pub(crate) fn required<T: DeserializeOwned + Serialize>(&mut self, name: &str) -> Option<T> {
        if !self.has(name) {
            self.reject(pointer_to("", name), REQUIRED);
        }
        self.optional(name)
    }

    /// Reads a field that may be absent; `None` also when it is invalid, which is recorded.
    pub(crate) fn optional<T: DeserializeOwned + Serialize>(&mut self, name: &str) -> Option<T> {
        let raw = self.unread.remove(name)?;
        let at = pointer_to(&self.at, name);
        match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(raw.get())) {
            Ok(value) => {
                self.reject_unknown(&raw, &value, &at);
                Some(value)
            }
            Err(error) => {
                self.errors.push(field_error(&at, error.path(), error.inner()));
                None
            }
        }
    }

    /// Reads an object in a field that may be absent or null; `None` also when the object is invalid, which is recorded.
    pub(crate) fn optional_object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.unread.get(name).is_some_and(|raw| raw.get() == "null") {
            self.skip(name);
        }
        self.object(name, read)
    }

    /// Reads an object in a field that must be present; `None` when it is missing or invalid, which is recorded.
    pub(crate) fn required_object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.has(name) {
            self.reject(pointer_to("", name), REQUIRED);
        }
        self.object(name, read)
    }

    fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let raw = self.unread.remove(name)?;
        let at = pointer_to(&self.at, name);
        match serde_json::from_str::<Object>(raw.get()) {
            Ok(Object(unread)) => {
                let mut inner = Self { at, unread, errors: Vec::new() };
                let value = read(&mut inner);
                let errors = inner.finish();
                let value = value.filter(|_| errors.is_empty());
                self.errors.extend(errors);
                value
            }
            Err(error) => {
                self.errors.push(FieldError::body(at, sentence(&error)));
                None
            }
        }
    }

    /// Whether everything that was read so far is valid.
    pub(crate) fn has_no_error(&self) -> bool {
        self.errors.is_empty()
    }

    /// Skips a field that is rejected already.
    pub(crate) fn skip(&mut self, name: &str) {
        self.unread.remove(name);
    }

    /// Records an error that no parser of a single field can find; the pointer begins at this object.
    pub(crate) fn reject(&mut self, pointer: impl AsRef<str>, detail: impl Into<String>) {
        self.errors.push(FieldError::body(format!("{}{}", self.at, pointer.as_ref()), detail));
    }

    /// Returns every error; a field that was not read is one.
    pub(crate) fn finish(mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.unread).into_keys() {
            self.reject(pointer_to("", &name), UNKNOWN);
        }
        self.errors
    }

    /// Returns `read` when there was no error; a field that was not read is one.
    pub(crate) fn all<T>(self, read: Option<T>) -> Result<T, Problem> {
        let errors = self.finish();
        read.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))
    }

    /// Wire types ignore unknown fields; at the edge a misspelt one is rejected. A value writes every field that it knows, so
    /// whatever was sent beyond that is unknown.
    fn reject_unknown(&mut self, raw: &RawValue, value: &impl Serialize, at: &str) {
        if let (Ok(sent), Ok(known)) = (serde_json::from_str(raw.get()), serde_json::to_value(value)) {
            unknown(&sent, &known, at, &mut self.errors);
        }
    }
}

const UNKNOWN: &str = "is not a field of this object";
/// The error of a missing field.
pub(crate) const REQUIRED: &str = "is required";

fn unknown(sent: &Value, known: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let (Value::Object(sent), Value::Object(known)) = (sent, known) else { return };
    for (name, sent) in sent {
        let at = pointer_to(at, name);
        match known.get(name) {
            Some(known) => unknown(sent, known, &at, errors),
            None => errors.push(FieldError::body(at, UNKNOWN)),
        }
    }
}

fn malformed(error: impl fmt::Display) -> Problem {
    Problem::new(ProblemKind::MalformedJson, format!("The body is not JSON: {error}."))
}

fn field_error(at: &str, path: &Path, error: &serde_json::Error) -> FieldError {
    let at = path.iter().fold(at.to_owned(), |at, segment| match segment {
        Segment::Map { key } => pointer_to(&at, key),
        Segment::Enum { variant } => pointer_to(&at, variant),
        Segment::Seq { index } => format!("{at}/{index}"),
        Segment::Unknown => at,
    });
    let detail = sentence(error);
    if let Some(name) = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return FieldError::body(pointer_to(&at, name), REQUIRED);
    }
    // A type that checks its parts against each other begins its sentence with the invalid one.
    if let Some((name, rule)) = detail.split_once(" must ").filter(|(name, _)| !name.contains(' ')) {
        let at = if at.ends_with(&format!("/{name}")) { at } else { pointer_to(&at, name) };
        return FieldError::body(at, format!("must {rule}"));
    }
    // The text is JSON, so a syntax error can only be an alternative that is spelt with none or several fields.
    let detail = if error.classify() == Category::Data { detail } else { "must hold exactly one field".into() };
    FieldError::body(at, detail)
}

/// Cuts the position in the text off, because the pointer says more.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
}

/// RFC 6901: `~` and `/` in a name are escaped.
fn pointer_to(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// An object whose names are all different: it is not clear which of two values is meant.
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
    fn an_error_is_located_by_its_pointer() {
        check::<Price>("\"1.50\"", "[]");
        check::<Price>("5.5", "[]");
        check::<Price>("0", r#"[{"pointer":"/a~1b","detail":"must be above 0"}]"#);
        check::<Condition>(
            r#"{"change": {"percent": 5, "perzent": 5, "~": {}}}"#,
            r#"[{"pointer":"/a~1b/change/perzent","detail":"is not a field of this object"},{"pointer":"/a~1b/change/~0","detail":"is not a field of this object"}]"#,
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
    fn malformed_json_and_json_that_is_not_an_object_are_different_problems() {
        let nested = [b"{\"a\": ".as_slice(), &[b'['; 10_000], &[b']'; 10_000], b"}"].concat();
        for (body, status) in [
            (&b""[..], 400),
            (b"{", 400),
            (b"[1,", 400),
            (b"{\"a\": 1,}", 400),
            (b"{\"a\": \xff}", 400),
            (b"{} {}", 400),
            (b"{\"a\": \"\\ud800\"}", 400),
            (b"{\"a\": {\"b\": [\"\\udc00\\ud800\"]}}", 400),
            (b"{\"\\ud800\": 1}", 400),
            (b"\xef\xbb\xbf{}", 400),
            (&*nested, 400),
            (b"{\"a\": 01}", 400),
            (b"{\"a\": NaN}", 400),
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
