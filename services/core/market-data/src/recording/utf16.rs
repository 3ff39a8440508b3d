//! UTF-16 text as UTF-8.

use std::io::{self, BufRead, Read};

/// The order of the two bytes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// The lower byte comes first, as Windows writes it.
    Little,
    /// The higher byte comes first.
    Big,
}

/// Reads UTF-16 without its mark as UTF-8. What is not UTF-16 becomes U+FFFD, which spoils its line and no other.
pub(crate) struct Utf16Reader {
    inner: Box<dyn BufRead>,
    order: ByteOrder,
    /// The first half of a pair, whose second half is not read yet.
    high_surrogate: Option<u16>,
    /// The UTF-8 bytes that did not fit into the caller's buffer.
    pending: Vec<u8>,
    /// The error that is returned once all text before it is.
    failure: Option<io::Error>,
}

impl Utf16Reader {
    pub(crate) fn new(inner: Box<dyn BufRead>, order: ByteOrder) -> Self {
        Self { inner, order, high_surrogate: None, pending: Vec::new(), failure: None }
    }

    /// Reads one unit; `None` at the end. A single last byte is half of a character.
    fn unit(&mut self) -> io::Result<Option<u16>> {
        let mut bytes = [0; 2];
        let mut read = 0;
        while read < 2 {
            match self.inner.read(&mut bytes[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the UTF-16 text ends within a character",
                    ));
                }
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }))
    }

    fn push(&mut self, units: &[u16]) {
        for character in char::decode_utf16(units.iter().copied()) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.pending.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

impl Read for Utf16Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pending.len() < buffer.len() && self.failure.is_none() {
            let unit = match self.unit() {
                Ok(Some(unit)) => unit,
                Ok(None) => {
                    if let Some(half) = self.high_surrogate.take() {
                        self.push(&[half]);
                    }
                    break;
                }
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            };
            match (self.high_surrogate.take(), unit) {
                (None, 0xD800..=0xDBFF) => self.high_surrogate = Some(unit),
                (None, _) => self.push(&[unit]),
                (Some(half), 0xD800..=0xDBFF) => {
                    self.push(&[half]);
                    self.high_surrogate = Some(unit);
                }
                (Some(half), _) => self.push(&[half, unit]),
            }
        }
        if self.pending.is_empty()
            && let Some(error) = self.failure.take()
        {
            return Err(error);
        }
        let count = self.pending.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.pending[..count]);
        self.pending.drain(..count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(bytes: Vec<u8>, order: ByteOrder, buffer: usize) -> io::Result<String> {
        let mut reader = Utf16Reader::new(Box::new(Cursor::new(bytes)), order);
        let (mut text, mut part) = (Vec::new(), vec![0; buffer]);
        loop {
            match reader.read(&mut part)? {
                0 => return Ok(String::from_utf8(text).expect("UTF-8")),
                count => text.extend_from_slice(&part[..count]),
            }
        }
    }

    #[test]
    fn both_byte_orders_are_read_in_any_portions() {
        let text = "time,symbol\n€ 😀,x\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for buffer in [1, 2, 3, 7, 1_000] {
            assert_eq!(read(little.clone(), ByteOrder::Little, buffer).expect("text"), text);
            assert_eq!(read(big.clone(), ByteOrder::Big, buffer).expect("text"), text);
        }
    }

    #[test]
    fn half_of_a_pair_is_replaced_and_half_of_a_unit_is_an_error() {
        let halves = [0xD83D_u16, 0x41, 0xDE00, 0xD83D].into_iter().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(halves, ByteOrder::Little, 100).expect("text"), "\u{FFFD}A\u{FFFD}\u{FFFD}");
        let error = read(vec![0x41, 0, 0x42], ByteOrder::Little, 100).expect_err("three bytes");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
