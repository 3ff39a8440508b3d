//! Cursors: the id of an event, by which a client resumes. No I/O.
//!
//! A cursor has, for each stream that its connection reads, the time at which the stream was created and the position up to
//! which the connection has been served. So one id resumes all channels, and a stream that was created anew is noticed. To
//! clients it is opaque text.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::Timestamp;
use thiserror::Error;

use crate::live::channel::Source;

/// A place in a stream: a message, and an event in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    /// The index of an event in its message; [`Position::WHOLE`] for the last.
    pub(crate) index: u16,
}

impl Position {
    /// The index of the last event of a message: behind it, the message need not be read again.
    pub(crate) const WHOLE: u16 = u16::MAX;

    /// Returns the place of the last event of a message.
    pub(crate) fn end_of(sequence: u64) -> Self {
        Self { sequence, index: Self::WHOLE }
    }

    /// Returns the sequence of the first message that has, or may have, something behind this place.
    pub(crate) fn next_sequence(self) -> u64 {
        if self.index == Self::WHOLE { self.sequence.saturating_add(1) } else { self.sequence }
    }
}

/// A place in a stream that was created at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourcePosition {
    pub(crate) created: Timestamp,
    pub(crate) position: Position,
}

/// The places up to which a connection has been served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor([Option<SourcePosition>; Source::ALL.len()]);

/// Text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be the id of an event of this API, or earliest")]
pub(crate) struct NoCursor;

/// The first byte of a cursor of this form.
const VERSION: u8 = 1;

impl Cursor {
    /// Returns the place in a stream; none where the connection does not read it.
    pub(crate) fn get(&self, source: Source) -> Option<SourcePosition> {
        self.0[source.index()]
    }

    /// Sets the place in a stream.
    pub(crate) fn set(&mut self, source: Source, position: SourcePosition) {
        self.0[source.index()] = Some(position);
    }

    /// Moves on to a place, and returns whether it is behind the one before. A stream that the connection does not read stays
    /// where it is.
    pub(crate) fn advance(&mut self, source: Source, position: Position) -> bool {
        match &mut self.0[source.index()] {
            Some(known) if position > known.position => {
                known.position = position;
                true
            }
            _ => false,
        }
    }

    /// Appends the cursor as text.
    pub(crate) fn write_to(&self, text: &mut String) {
        let mut bytes = Vec::with_capacity(1 + 20 * Source::ALL.len());
        bytes.push(VERSION);
        for source in Source::ALL {
            let Some(SourcePosition { created, position }) = self.get(source) else { continue };
            bytes.push(source as u8);
            push_number(&mut bytes, created.micros().unsigned_abs());
            push_number(&mut bytes, position.sequence);
            push_number(&mut bytes, position.index.into());
        }
        BASE64_URL_SAFE_NO_PAD.encode_string(bytes, text);
    }

    /// Returns the cursor as text.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    fn decode(text: &str) -> Option<Self> {
        // The longest that is ever written has 127 bytes.
        if text.len() > 256 {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut cursor = Self::default();
        while let Some((source, behind)) = rest.split_first() {
            rest = behind;
            let source = *Source::ALL.get(usize::from(*source))?;
            let created = Timestamp::from_micros(i64::try_from(take_number(&mut rest)?).ok()?).ok()?;
            let sequence = take_number(&mut rest)?;
            let index = u16::try_from(take_number(&mut rest)?).ok()?;
            if cursor.get(source).is_some() {
                return None;
            }
            cursor.set(source, SourcePosition { created, position: Position { sequence, index } });
        }
        Some(cursor)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        Self::decode(text).ok_or(NoCursor)
    }
}

/// Appends a number, seven bits a byte (LEB128).
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        number |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn created(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).expect("a time")
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went(
            positions in prop::collection::vec((0..6_usize, 0..4_000_000_000_000_000_i64, any::<u64>(), any::<u16>()), 0..7)
        ) {
            let mut cursor = Cursor::default();
            for (source, micros, sequence, index) in positions {
                let position = Position { sequence, index };
                cursor.set(Source::ALL[source], SourcePosition { created: created(micros), position });
            }
            prop_assert_eq!(cursor.encode().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text in ".{0,300}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.encode().parse(), Ok(cursor));
            }
        }
    }

    #[test]
    fn a_cursor_only_moves_on() {
        let mut cursor = Cursor::default();
        assert!(!cursor.advance(Source::Ticks, Position::end_of(1)), "a stream that is not read");
        let position = Position { sequence: 5, index: 2 };
        cursor.set(Source::Ticks, SourcePosition { created: created(1), position });
        for (sequence, index, moves) in [(5, 1, false), (5, 2, false), (5, 3, true), (4, 9, false), (6, 0, true)] {
            assert_eq!(cursor.advance(Source::Ticks, Position { sequence, index }), moves, "{sequence}.{index}");
        }
    }

    #[test]
    fn a_message_that_was_served_in_part_is_read_again() {
        assert_eq!(Position { sequence: 5, index: 0 }.next_sequence(), 5);
        assert_eq!(Position::end_of(5).next_sequence(), 6);
        assert!(Position { sequence: 5, index: 499 } < Position::end_of(5));
    }
}
