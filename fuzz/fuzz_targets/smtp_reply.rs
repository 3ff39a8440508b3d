//! Replies of mail servers: any bytes, in any pieces, are read within bounds, and the pieces change nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use notifier::channels::email::smtp::reply::ReplyReader;

fuzz_target!(|input: (Vec<u8>, usize)| {
    let (bytes, at) = input;
    let at = at % (bytes.len() + 1);
    let whole = ReplyReader::default().push(&bytes);
    let mut reader = ReplyReader::default();
    let parts = match reader.push(&bytes[..at]) {
        Ok((used, None)) => {
            assert_eq!(used, at, "without an end all bytes belong to the reply");
            reader.push(&bytes[at..]).map(|(used, reply)| (at + used, reply))
        }
        ended => ended,
    };
    if bytes.len() < 65_536 {
        assert_eq!(whole, parts);
    }
    if let Ok((used, Some(reply))) = whole {
        assert!(used <= bytes.len() && (200..600).contains(&reply.code));
        assert!(reply.lines.len() <= 100 && reply.lines.iter().all(|line| line.chars().count() <= 2_000));
    }
    if let Some(reply) = reader.finish() {
        assert!((200..600).contains(&reply.code) && !reply.is_complete);
    }
});
