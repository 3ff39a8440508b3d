//! Replies of mail servers (RFC 5321 §4.2), as servers send them and not only as they are specified.
//!
//! The code decides, and the text only explains. Text may be in any encoding, may contain any byte, may be absent, and may be of
//! any length: what is kept of it is bounded. A line ends with LF, with or without CR before it.

use thiserror::Error;

/// The number of bytes of a line that are kept. RFC 5321 §4.5.3.1.5 allows 512, and servers send more.
const MAX_LINE: usize = 2_000;
/// The number of lines that are kept, which is more than any EHLO reply has.
const MAX_LINES: usize = 100;
/// The number of bytes after which a reply is not read further.
const MAX_REPLY: usize = 65_536;
/// The number of characters of a line that an error shows.
const MAX_SHOWN: usize = 80;

/// A reply of a mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The text of each line, without the code.
    pub lines: Vec<String>,
    /// Whether the reply was read to its end. After an incomplete one the connection cannot be used further.
    pub is_complete: bool,
}

impl Reply {
    /// Returns the code and the text in one line.
    pub fn text(&self) -> String {
        let words = self.lines.iter().flat_map(|line| line.split_whitespace());
        std::iter::once(self.code.to_string().as_str()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether the server did what was asked.
    pub fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// Returns whether the server waits for more: for the mail, or for the next step of an authentication.
    pub fn is_intermediate(&self) -> bool {
        (300..400).contains(&self.code)
    }
}

/// What was received begins with no reply code, so that it is not SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the server's reply begins with no code of three digits, but with {0:?}")]
pub struct NoReplyCode(String);

/// Reads one reply from bytes as they arrive.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    size: usize,
}

/// One line of a reply.
struct Line {
    code: u16,
    is_last: bool,
    text: String,
}

impl ReplyReader {
    /// Takes bytes, and returns how many of them belong to the reply, and the reply once its end was seen.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), NoReplyCode> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (part, taken) = end.map_or((rest, rest.len()), |end| (&rest[..end], end + 1));
            used += taken;
            self.size += taken;
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if end.is_some() && self.end_line()? {
                return Ok((used, self.decide(true)));
            }
            if self.size > MAX_REPLY {
                let seen = shown(&self.line);
                return self.finish().map(|reply| (used, Some(reply))).ok_or(NoReplyCode(seen));
            }
        }
        Ok((used, None))
    }

    /// Returns whether the bytes so far make a last line that lacks only LF, as of a server that ends lines with CR.
    pub fn may_have_ended(&self) -> bool {
        self.line.ends_with(b"\r") && parse(&self.line).is_some_and(|line| line.is_last)
    }

    /// Returns the reply of a server that fell silent or closed the connection inside it, where its code was read.
    pub fn finish(&mut self) -> Option<Reply> {
        let last = std::mem::take(&mut self.line);
        if let Some(line) = parse(&last) {
            self.code = Some(line.code);
            self.keep(line.text);
        }
        self.decide(false)
    }

    /// Reads a line that has ended, and returns whether it was the last of the reply.
    fn end_line(&mut self) -> Result<bool, NoReplyCode> {
        let bytes = std::mem::take(&mut self.line);
        match (parse(&bytes), self.code) {
            (Some(line), _) => {
                self.code = Some(line.code);
                self.keep(line.text);
                Ok(line.is_last)
            }
            // A line of text that was broken by the server, inside a reply of several lines.
            (None, Some(_)) => {
                self.keep(decode(&bytes));
                Ok(false)
            }
            // The rest of a line end, like the LF of a CR that was taken for one.
            (None, None) if bytes.iter().all(|byte| byte.is_ascii_whitespace()) => Ok(false),
            (None, None) => Err(NoReplyCode(shown(&bytes))),
        }
    }

    fn keep(&mut self, text: String) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(text);
        }
    }

    fn decide(&mut self, is_complete: bool) -> Option<Reply> {
        let lines = std::mem::take(&mut self.lines);
        self.size = 0;
        self.code.take().map(|code| Reply { code, lines, is_complete })
    }
}

/// Parses a line with a code: the code alone, or the code, a separator and text. `-` says that more lines follow.
fn parse(line: &[u8]) -> Option<Line> {
    let line = line.trim_ascii_end();
    let (code, rest) = line.split_at_checked(3)?;
    let is_code = matches!(code[0], b'2'..=b'5') && code.iter().all(u8::is_ascii_digit);
    if !is_code || rest.first().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (is_last, text) = match rest {
        [b'-', text @ ..] => (false, text),
        [b' ' | b'\t', text @ ..] => (true, text),
        text => (true, text),
    };
    Some(Line { code, is_last, text: decode(text) })
}

/// Decodes text as UTF-8, else as Latin-1, which has a character for each byte.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // The bound cut the last character.
        Err(error) if error.error_len().is_none() && bytes.len() + 7 >= MAX_LINE => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn shown(bytes: &[u8]) -> String {
    decode(bytes).chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(String, usize)>, NoReplyCode> {
        let (used, reply) = ReplyReader::default().push(bytes)?;
        Ok(reply.map(|reply| (reply.text(), used)))
    }

    #[test]
    fn replies_are_read_as_servers_send_them() {
        let long = [b"250 2.0.0 ", "x".repeat(1_500).as_bytes(), b"\r\n"].concat();
        let long_text = format!("250 2.0.0 {}", "x".repeat(1_500));
        for (bytes, expected) in [
            (&b"250 2.0.0 queued\r\n"[..], "250 2.0.0 queued"),
            (b"250\r\n", "250"),
            (b"250 \r\n", "250"),
            (b"250-\r\n250\r\n", "250"),
            (b"250\n", "250"),
            (b"250 ok\n", "250 ok"),
            (b"250\tok\r\n", "250 ok"),
            (b"250 ok\r\r\n", "250 ok"),
            (b"\r\n250 ok\r\n", "250 ok"),
            (b"250-mail.example.com\r\n250-STARTTLS\r\n250 8BITMIME\r\n", "250 mail.example.com STARTTLS 8BITMIME"),
            (b"250-one\n250-two\n250 three\n", "250 one two three"),
            (b"250-one\nbroken by the server\n250 three\n", "250 one broken by the server three"),
            (b"250 2.0.0 message accept\xe9\r\n", "250 2.0.0 message accept\u{e9}"),
            (b"550 5.1.1 bo\xeete inconnue\r\n", "550 5.1.1 bo\u{ee}te inconnue"),
            (b"250 \xd3\xca\xbc\xfe\r\n", "250 \u{d3}\u{ca}\u{bc}\u{fe}"),
            ("250 2.0.0 angenommen für später\r\n".as_bytes(), "250 2.0.0 angenommen für später"),
            (b"250 2.0.0 ok \0 queued\r\n", "250 2.0.0 ok \0 queued"),
            (b"250\0\r\n", "250 \0"),
            (b"220 \xff\xfe\r\n", "220 \u{ff}\u{fe}"),
            (&long, &long_text),
        ] {
            assert_eq!(read(bytes), Ok(Some((expected.into(), bytes.len()))), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn what_follows_a_reply_is_not_taken() {
        assert_eq!(read(b"250 queued\r\n421 closing\r\n"), Ok(Some(("250 queued".into(), 12))));
    }

    #[test]
    fn what_has_no_code_is_no_reply() {
        for bytes in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"25\r\n", b"150 wait\r\n", b"2500 ok\r\n", b"\x16\x03\x01\n"]
        {
            assert!(read(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_reply_that_is_cut_counts_by_its_code() {
        for (bytes, expected) in [
            (&b"250 2.0.0 que"[..], Some("250 2.0.0 que")),
            (b"250", Some("250")),
            (b"250-first\r\n250-sec", Some("250 first sec")),
            (b"250-first\r\n", Some("250 first")),
            (b"25", None),
            (b"", None),
        ] {
            let mut reader = ReplyReader::default();
            assert_eq!(reader.push(bytes), Ok((bytes.len(), None)));
            let reply = reader.finish();
            assert!(reply.as_ref().is_none_or(|reply| !reply.is_complete));
            assert_eq!(reply.map(|reply| reply.text()).as_deref(), expected);
        }
    }

    #[test]
    fn a_line_that_ends_with_cr_may_have_ended() {
        for (bytes, expected) in [(&b"250 ok\r"[..], true), (b"250 ok", false), (b"250-ok\r", false), (b"\r", false)] {
            let mut reader = ReplyReader::default();
            reader.push(bytes).expect("a part of a reply");
            assert_eq!(reader.may_have_ended(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_reply_has_a_bound() {
        let (endless, lines) = ([b'x'; 70_000], b"250-x\r\n".repeat(20_000));
        assert!(read(&endless).is_err());
        let (_, reply) = ReplyReader::default().push(&lines).expect("a reply");
        let reply = reply.expect("the code of a reply without an end");
        assert!(reply.code == 250 && !reply.is_complete && reply.lines.len() == MAX_LINES);
        let (_, reply) = ReplyReader::default().push(&[b"250 ", &endless[..]].concat()).expect("a reply");
        let reply = reply.expect("the code of a line without an end");
        assert!(reply.code == 250 && !reply.is_complete && reply.lines[0].len() < MAX_LINE);
    }

    proptest! {
        #[test]
        fn how_bytes_arrive_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(b'2'), Just(b'5'), Just(b'0'), Just(b' '), Just(b'-'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60),
            at in 0..60_usize,
        ) {
            let at = at.min(bytes.len());
            let whole = ReplyReader::default().push(&bytes);
            let mut reader = ReplyReader::default();
            let parts = match reader.push(&bytes[..at]) {
                Ok((_, None)) => reader.push(&bytes[at..]).map(|(used, reply)| (at + used, reply)),
                ended => ended,
            };
            prop_assert_eq!(whole, parts);
        }
    }
}
