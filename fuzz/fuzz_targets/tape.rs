//! The lines of tapes: whatever a line is, reading it ends and does not panic, and what is written is read again the same.

#![no_main]

use events::{Timestamp, Venue};
use libfuzzer_sys::fuzz_target;
use price_ingestor::sources::tape::{Content, TapeLine, write_line};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(TapeLine { at, venue: Some(venue), content }) = TapeLine::parse(text) {
        let written = write_line(at.unwrap_or(Timestamp::EPOCH), &venue, &content);
        assert_eq!(TapeLine::parse(&written).expect("what was written").content, content);
    }
    // Any message is read as it was received.
    let venue = Venue::parse("okx").expect("a venue");
    let content = Content::Received(text.into());
    let written = write_line(Timestamp::EPOCH, &venue, &content);
    assert!(!written.contains(['\n', '\r']));
    assert_eq!(TapeLine::parse(&written).expect("what was written").content, content);
});
