//! Splits Rust source into tokens, so that comments and strings are never taken for code.

/// A piece of source that means something, and the line it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// The kinds of tokens that the checks tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or a keyword; `r#` is taken off.
    Word(String),
    /// One character of punctuation.
    Mark(char),
    /// A string, a character, a number or a lifetime: nothing that a check reads.
    Literal,
    /// A line of an outer doc comment, without its slashes.
    Doc(String),
}

impl Token {
    /// The identifier, where it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this character of punctuation.
    pub(crate) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Splits a source file into its tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1, tokens: Vec::new() };
    while let Some(first) = lexer.rest.chars().next() {
        lexer.step(first);
    }
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self, first: char) {
        if self.rest.starts_with("//") {
            self.line_comment();
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(length) = raw_string(self.rest) {
            self.push(Kind::Literal, length);
        } else if first == '"' {
            self.push(Kind::Literal, quoted(self.rest));
        } else if first == '\'' {
            self.push(Kind::Literal, character_or_lifetime(self.rest));
        } else if first.is_alphabetic() || first == '_' {
            self.word();
        } else if first.is_ascii_digit() {
            self.push(Kind::Literal, word_length(self.rest));
        } else if first.is_whitespace() {
            self.advance(first.len_utf8());
        } else {
            self.push(Kind::Mark(first), first.len_utf8());
        }
    }

    fn line_comment(&mut self) {
        let length = self.rest.find('\n').unwrap_or(self.rest.len());
        match self.rest[..length].strip_prefix("///") {
            Some(text) if !text.starts_with('/') => self.push(Kind::Doc(text.trim().to_owned()), length),
            _ => self.advance(length),
        }
    }

    fn block_comment(&mut self) {
        let (mut depth, mut at) = (0, 0);
        while let Some(rest) = self.rest.get(at..).filter(|rest| !rest.is_empty()) {
            let step = match rest {
                _ if rest.starts_with("/*") => (1, 2),
                _ if rest.starts_with("*/") => (-1, 2),
                _ => (0, rest.chars().next().map_or(1, char::len_utf8)),
            };
            (depth, at) = (depth + step.0, at + step.1);
            if depth == 0 {
                break;
            }
        }
        self.advance(at);
    }

    fn word(&mut self) {
        if let Some(prefix) = ["b\"", "c\"", "b'"].iter().find(|prefix| self.rest.starts_with(**prefix)) {
            let literal = &self.rest[1..];
            let length = if prefix.ends_with('"') { quoted(literal) } else { character_or_lifetime(literal) };
            self.push(Kind::Literal, 1 + length);
            return;
        }
        let raw = if self.rest.starts_with("r#") { 2 } else { 0 };
        let length = word_length(&self.rest[raw..]);
        self.push(Kind::Word(self.rest[raw..raw + length].to_owned()), raw + length);
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { line: self.line, kind });
        self.advance(length);
    }

    fn advance(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of a string that begins here, from quote to quote.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"`, where one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

/// The length of `'x'`, `'\n'`, or of a lifetime like `'a`.
fn character_or_lifetime(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            characters.next();
            text[3..].find('\'').map_or(text.len(), |at| at + 4)
        }
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1 + word_length(&text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).iter().filter_map(|token| token.word().map(str::to_owned)).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_code() {
        let source = r##"let a = "b \" c"; // d
            /* e /* f */ g */ let h = r#"i " j"#; let k = b"l"; let m = '"'; let n = '\''; let o = b'p'; "##;
        assert_eq!(words(source), ["let", "a", "let", "h", "let", "k", "let", "m", "let", "n", "let", "o"]);
    }

    #[test]
    fn a_lifetime_is_not_the_beginning_of_a_character() {
        assert_eq!(words("fn a<'b>(c: &'b str) -> &'static str"), ["fn", "a", "c", "str", "str"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let source = "/* one\n two */\nlet a = \"three\n four\";\n/// Five.\nb";
        let found = tokens(source);
        let last = found.last().expect("a token");
        assert_eq!((last.line, last.word()), (6, Some("b")));
        assert!(found.contains(&Token { line: 5, kind: Kind::Doc("Five.".into()) }), "{found:?}");
    }

    #[test]
    fn a_raw_identifier_is_the_identifier() {
        assert_eq!(words("r#type r"), ["type", "r"]);
    }
}
