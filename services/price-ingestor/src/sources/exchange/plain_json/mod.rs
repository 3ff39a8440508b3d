//! JSON as exchanges write it: texts without escapes, numbers, objects and lists.
//!
//! A message of an exchange is a few short keys and texts, most of which are not wanted. This reader goes over them in half of
//! the time that `serde_json` takes, because it reads nothing that it would have to change. Whatever else a message is,
//! `serde_json` decides: [`from_str`] asks it for everything that this reader does not take, and for the error.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// The deepest lists and objects that are read here.
const MAX_DEPTH: u32 = 16;
/// The most digits of a number that fits 64 bits whatever the digits are.
const MAX_DIGITS: usize = 18;
/// The name of the newtype that is given the text of a number.
pub(super) const NUMBER: &str = "number";

/// Reads a text as JSON.
pub(super) fn from_str<'frame, T: Deserialize<'frame>>(text: &'frame str) -> Result<T, serde_json::Error> {
    read(text).or_else(|_| serde_json::from_str(text))
}

fn read<'frame, T: Deserialize<'frame>>(text: &'frame str) -> Result<T, NotPlain> {
    // Without an escape each quote begins or ends a text. Asked of all bytes at once, this takes no time.
    let has_escape = text.bytes().fold(false, |found, byte| found | (byte == b'\\') | (byte < b' '));
    if has_escape {
        return Err(NotPlain);
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    match reader.next_byte() {
        None => Ok(value),
        Some(_) => Err(NotPlain),
    }
}

/// The text is not what this reader reads.
#[derive(Debug)]
struct NotPlain;

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no plain JSON")
    }
}

impl std::error::Error for NotPlain {}

impl de::Error for NotPlain {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Reader<'frame> {
    text: &'frame str,
    /// The next byte.
    at: usize,
    depth: u32,
}

impl<'frame> Reader<'frame> {
    /// Returns the next byte that is no space, and stays before it.
    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ') => self.at += 1,
                other => return other,
            }
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), NotPlain> {
        if self.next_byte() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(NotPlain)
    }

    fn literal(&mut self, literal: &str) -> Result<(), NotPlain> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(literal.as_bytes()) {
            return Err(NotPlain);
        }
        self.at += literal.len();
        Ok(())
    }

    /// Reads a text without escapes.
    fn string(&mut self) -> Result<&'frame str, NotPlain> {
        self.expect(b'"')?;
        let start = self.at;
        let end = start + quote(self.text.as_bytes().get(start..).unwrap_or_default()).ok_or(NotPlain)?;
        self.at = end + 1;
        self.text.get(start..end).ok_or(NotPlain)
    }

    /// Reads a number and returns its text.
    fn number(&mut self) -> Result<&'frame str, NotPlain> {
        let _ = self.next_byte();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        // A number of several digits does not begin with 0.
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        self.text.get(start..self.at).ok_or(NotPlain)
    }

    fn digits(&mut self) -> Result<(), NotPlain> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotPlain) }
    }

    /// Reads a whole number that is not negative.
    fn whole_number(&mut self) -> Result<u64, NotPlain> {
        let text = self.number()?;
        let digits = text.bytes().map(|byte| byte.wrapping_sub(b'0'));
        if text.len() > MAX_DIGITS || digits.clone().any(|digit| digit > 9) {
            return Err(NotPlain);
        }
        Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit)))
    }

    /// Goes over a value.
    fn skip_value(&mut self) -> Result<(), NotPlain> {
        match self.next_byte() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.nested(b'}', Self::skip_field),
            Some(b'[') => self.nested(b']', Self::skip_value),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_field(&mut self) -> Result<(), NotPlain> {
        self.string()?;
        self.expect(b':')?;
        self.skip_value()
    }

    /// Goes over a list or an object, entry by entry.
    fn nested(&mut self, end: u8, entry: fn(&mut Self) -> Result<(), NotPlain>) -> Result<(), NotPlain> {
        let mut entries = self.enter(end)?;
        while entries.has_next()? {
            entry(entries.reader)?;
        }
        Ok(())
    }

    /// Goes behind the bracket that begins a list or an object.
    fn enter(&mut self, end: u8) -> Result<Entries<'_, 'frame>, NotPlain> {
        if self.depth == MAX_DEPTH {
            return Err(NotPlain);
        }
        self.depth += 1;
        self.at += 1;
        Ok(Entries { reader: self, end, is_first: true })
    }
}

/// Returns where the first quote stands; eight bytes are looked at together.
#[inline]
fn quote(bytes: &[u8]) -> Option<usize> {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let others = u64::from_le_bytes(*word) ^ (EACH * u64::from(b'"'));
        // The high bit of a byte is set where it was 0. A borrow reaches only bytes behind one that was.
        let found = others.wrapping_sub(EACH) & !others & (EACH * 0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest.iter().position(|byte| *byte == b'"').map(|position| at + position)
}

/// The entries of a list or an object.
struct Entries<'reader, 'frame> {
    reader: &'reader mut Reader<'frame>,
    end: u8,
    is_first: bool,
}

impl Entries<'_, '_> {
    /// Goes to the next entry; behind the last one it goes behind the bracket.
    #[inline]
    fn has_next(&mut self) -> Result<bool, NotPlain> {
        let is_first = std::mem::take(&mut self.is_first);
        match self.reader.next_byte() {
            Some(b',') if !is_first => {
                self.reader.at += 1;
                Ok(true)
            }
            Some(byte) if byte == self.end => {
                (self.reader.at, self.reader.depth) = (self.reader.at + 1, self.reader.depth - 1);
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(NotPlain),
        }
    }
}

impl<'frame> SeqAccess<'frame> for Entries<'_, 'frame> {
    type Error = NotPlain;

    fn next_element_seed<T: DeserializeSeed<'frame>>(&mut self, seed: T) -> Result<Option<T::Value>, NotPlain> {
        if self.has_next()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'frame> MapAccess<'frame> for Entries<'_, 'frame> {
    type Error = NotPlain;

    fn next_key_seed<K: DeserializeSeed<'frame>>(&mut self, seed: K) -> Result<Option<K::Value>, NotPlain> {
        if self.has_next()? { seed.deserialize(Key(self.reader)).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'frame>>(&mut self, seed: V) -> Result<V::Value, NotPlain> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// A key of an object, which is nothing but a text.
struct Key<'reader, 'frame>(&'reader mut Reader<'frame>);

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_borrowed_str(self.0.string()?)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = NotPlain;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        match self.next_byte() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_option(visitor),
            _ => self.deserialize_u64(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        let is_true = self.next_byte() == Some(b't');
        self.literal(if is_true { "true" } else { "false" })?;
        visitor.visit_bool(is_true)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u64(self.whole_number()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_u64(self.whole_number()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        visitor.visit_borrowed_str(self.string()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if self.next_byte() == Some(b'n') {
            self.literal("null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    /// A number is given as it is written, where the newtype is one of a number.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, NotPlain> {
        if name == NUMBER { visitor.visit_borrowed_str(self.number()?) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if self.next_byte() != Some(b'[') {
            return Err(NotPlain);
        }
        let depth = self.depth;
        let value = visitor.visit_seq(self.enter(b']')?)?;
        // A visitor that does not read the whole list leaves it open.
        if self.depth == depth { Ok(value) } else { Err(NotPlain) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        if self.next_byte() != Some(b'{') {
            return Err(NotPlain);
        }
        let depth = self.depth;
        let value = visitor.visit_map(self.enter(b'}')?)?;
        if self.depth == depth { Ok(value) } else { Err(NotPlain) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotPlain> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotPlain> {
        self.skip_value()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}
