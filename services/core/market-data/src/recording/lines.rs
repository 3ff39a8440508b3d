//! The lines of a text, one at a time. A line ends with CR, LF or CRLF, and a file may mix them.

use std::io::{self, BufRead};

use memchr::memchr2;

/// The most bytes of a line: a trade needs a hundredth of it, and a file without line ends cannot fill the memory.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024;

/// The lines of a text.
pub(crate) struct LineReader {
    reader: Box<dyn BufRead>,
    /// The current line, whose end is written `\n` whatever it was; longer than [`MAX_LINE_BYTES`] where it was cut off.
    pub(crate) line: Vec<u8>,
    /// The number of the current line, from 1.
    pub(crate) number: u64,
    /// Whether the current line ended with CR, so that an LF behind it belongs to the same end.
    ended_with_cr: bool,
}

impl LineReader {
    pub(crate) fn new(reader: Box<dyn BufRead>) -> Self {
        Self { reader, line: Vec::with_capacity(MAX_LINE_BYTES), number: 0, ended_with_cr: false }
    }

    /// Reads the next line; returns false at the end. Fails for a line that cannot be read to its end: half of a price would be
    /// another price.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.line.clear();
        if std::mem::take(&mut self.ended_with_cr) && fill(&mut self.reader)?.first() == Some(&b'\n') {
            self.reader.consume(1);
        }
        let mut is_at_end = true;
        loop {
            let bytes = fill(&mut self.reader)?;
            if bytes.is_empty() {
                break;
            }
            is_at_end = false;
            let end = memchr2(b'\r', b'\n', bytes);
            let text = &bytes[..end.unwrap_or(bytes.len())];
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.ended_with_cr = end.is_some_and(|end| bytes[end] == b'\r');
            let read = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(read);
            if end.is_some() {
                break;
            }
        }
        if is_at_end {
            return Ok(false);
        }
        self.number += 1;
        self.line.push(b'\n');
        Ok(true)
    }

    /// Returns whether the current line is longer than a line may be.
    pub(crate) fn is_too_long(&self) -> bool {
        self.line.len() > MAX_LINE_BYTES + 1
    }

    /// Returns whether the current line has nothing in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.line.trim_ascii().is_empty()
    }
}

fn fill(reader: &mut Box<dyn BufRead>) -> io::Result<&[u8]> {
    // A signal that interrupts a read is no end of the file.
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    reader.fill_buf()
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    /// Reads the lines with buffers of a few bytes, so that each line end is also read in two parts.
    fn lines(text: &str, buffer: usize) -> Vec<String> {
        let reader = BufReader::with_capacity(buffer, Cursor::new(text.to_owned().into_bytes()));
        let mut reader = LineReader::new(Box::new(reader));
        let mut lines = Vec::new();
        while reader.advance().expect("memory") {
            assert_eq!(reader.line.pop(), Some(b'\n'));
            lines.push(String::from_utf8(reader.line.clone()).expect("text"));
        }
        assert_eq!(reader.number, lines.len() as u64);
        lines
    }

    #[test]
    fn a_line_ends_with_cr_or_lf_or_both() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a\n", vec!["a"]),
            ("a\nb\n", vec!["a", "b"]),
            ("a\rb\r", vec!["a", "b"]),
            ("a\rb", vec!["a", "b"]),
            ("a\r\nb\r\n", vec!["a", "b"]),
            ("a\r\n\r\nb", vec!["a", "", "b"]),
            ("a\n\rb", vec!["a", "", "b"]),
            ("a\r\rb\n\nc", vec!["a", "", "b", "", "c"]),
            ("a\rb\nc\r\nd", vec!["a", "b", "c", "d"]),
        ] {
            for buffer in [1, 2, 3, 100] {
                assert_eq!(lines(text, buffer), expected, "{text:?} by {buffer}");
            }
        }
    }
}
