//! The pointer that says which of two copies of the page is live. It is a page itself, which leads its reader to that copy.

use std::{fmt, str::FromStr};

use askama::Template;
use events::Timestamp;

/// One of the two copies, which lie in a folder of their own each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// The copy that is written first.
    Green,
    /// The other one.
    Blue,
}

impl Colour {
    /// Both, in the order in which they are written.
    pub const ALL: [Self; 2] = [Self::Green, Self::Blue];

    /// Returns the other colour.
    pub fn other(self) -> Self {
        match self {
            Self::Green => Self::Blue,
            Self::Blue => Self::Green,
        }
    }

    /// Returns the name of the colour, which is that of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownColour;

impl fmt::Display for UnknownColour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a colour is green or blue")
    }
}

impl std::error::Error for UnknownColour {}

impl FromStr for Colour {
    type Err = UnknownColour;
    fn from_str(text: &str) -> Result<Self, UnknownColour> {
        Self::ALL.into_iter().find(|colour| colour.as_str() == text).ok_or(UnknownColour)
    }
}

/// The pointer to the live copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePointer {
    /// The copy that readers are led to.
    pub live: Colour,
    /// The copy that was live before, which a rollback returns to; none after a rollback, and at first.
    pub former: Option<Colour>,
    /// The time at which the pointer was changed.
    pub changed_at: Timestamp,
}

#[derive(Template)]
#[template(path = "live.html")]
struct PointerView<'a> {
    live: &'a str,
    former: &'a str,
    changed_at: Timestamp,
}

impl LivePointer {
    /// Returns the pointer as HTML.
    pub fn to_html(self) -> String {
        let Self { live, former, changed_at } = self;
        let view = PointerView { live: live.as_str(), former: former.map_or("", Colour::as_str), changed_at };
        view.render().expect("a page of text always renders")
    }

    /// Reads a pointer; none where the text is no pointer.
    pub fn parse(html: &[u8]) -> Option<Self> {
        let html = std::str::from_utf8(html).ok()?;
        let field = |name: &str| {
            let (_, rest) = html.split_once(&format!("<meta name=\"tickbell-{name}\" content=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let former = field("former")?;
        Some(Self {
            live: field("live")?.parse().ok()?,
            former: if former.is_empty() { None } else { Some(former.parse().ok()?) },
            changed_at: field("changed-at")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_as_it_was_written_and_leads_to_its_copy() {
        for (live, former) in [(Colour::Green, None), (Colour::Blue, Some(Colour::Green))] {
            let pointer = LivePointer { live, former, changed_at: "2026-11-29T03:00:00.5Z".parse().expect("a time") };
            let html = pointer.to_html();
            assert_eq!(LivePointer::parse(html.as_bytes()), Some(pointer), "{html}");
            assert!(html.contains(&format!("content=\"0; url={live}/index.html\"")), "{html}");
            assert!(html.contains(&format!("<a href=\"{live}/index.html\">")) && !html.contains("<script"), "{html}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_none() {
        let html = LivePointer { live: Colour::Green, former: None, changed_at: Timestamp::EPOCH }.to_html();
        for other in [
            "",
            "<html>",
            &html.replace("\"green\"", "\"red\""),
            &html.replace("1970", "soon"),
            &html[..html.len() / 4],
        ] {
            assert_eq!(LivePointer::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(LivePointer::parse(b"\xff"), None);
    }
}
