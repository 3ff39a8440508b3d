//! The file `prices.json` beside the page: the same prices, and which page belongs to them.

use std::fmt;

use events::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::row::PriceRow;

/// The latest prices as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricesDocument {
    /// When the page was made.
    pub made_at: Timestamp,
    /// The commit of the program that made it; empty on a developer's machine.
    #[serde(default)]
    pub commit: String,
    /// The SHA-256 of the page that was written with this file, in hexadecimal digits.
    pub page_sha256: String,
    /// The number of symbols that have no row, because there are more of them than a page has.
    #[serde(default)]
    pub omitted: usize,
    /// The prices, in the order of their symbols.
    pub items: Vec<PriceRow>,
}

/// The text is no such document.
#[derive(Debug)]
pub struct DocumentError(serde_json::Error);

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not what `tickbell export site` writes: {}", self.0)
    }
}

impl std::error::Error for DocumentError {}

impl PricesDocument {
    /// The most symbols of a page: with all of their points `prices.json` has below 64 MiB.
    pub const MOST_ROWS: usize = 5_000;
    /// The most bytes of either file.
    pub const MOST_BYTES: usize = 64 << 20;

    /// Reads a document. Fields that are not known are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        serde_json::from_slice(bytes).map_err(DocumentError)
    }

    /// Writes the document.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("text, numbers and lists are JSON");
        text.push('\n');
        text
    }

    /// Returns whether a page is the one that belongs to this document, whole and unchanged.
    pub fn has_page(&self, page: &[u8]) -> bool {
        self.page_sha256 == digest(page)
    }
}

/// Returns the SHA-256 of bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_knows_its_page() {
        let document = PricesDocument {
            made_at: Timestamp::EPOCH,
            commit: "abc".into(),
            page_sha256: digest(b"<p>"),
            omitted: 0,
            items: vec![],
        };
        let read = PricesDocument::parse(document.to_json().as_bytes()).expect("a document");
        assert_eq!(read, document);
        assert!(read.has_page(b"<p>") && !read.has_page(b"<p"));
        let error = PricesDocument::parse(b"{}").expect_err("no document").to_string();
        assert!(error.contains("missing field `made_at`"), "{error}");
    }
}
