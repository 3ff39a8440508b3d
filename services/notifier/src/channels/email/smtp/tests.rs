use super::*;

fn refused(code: u16, text: &str) -> Failure {
    Failure::Refused(Reply { code, lines: vec![text.into()], is_complete: true })
}

#[test]
fn only_a_server_that_knows_the_email_can_refuse_it() {
    for (stage, verdict, expected) in [
        (Stage::Connecting, Verdict::None, Outcome::Retrying),
        (Stage::Connecting, Verdict::Transient, Outcome::Retrying),
        (Stage::Connecting, Verdict::Permanent, Outcome::Retrying),
        (Stage::Sender, Verdict::None, Outcome::Retrying),
        (Stage::Sender, Verdict::Transient, Outcome::Retrying),
        (Stage::Sender, Verdict::Permanent, Outcome::Retrying),
        (Stage::Sender, Verdict::Address, Outcome::Failed),
        (Stage::Content, Verdict::Unavailable, Outcome::Retrying),
        (Stage::Recipient, Verdict::None, Outcome::Retrying),
        (Stage::Recipient, Verdict::Transient, Outcome::Retrying),
        (Stage::Recipient, Verdict::Client, Outcome::Retrying),
        (Stage::Recipient, Verdict::Permanent, Outcome::Failed),
        (Stage::Content, Verdict::None, Outcome::Unknown),
        (Stage::Content, Verdict::Transient, Outcome::Retrying),
        (Stage::Content, Verdict::Permanent, Outcome::Failed),
    ] {
        assert_eq!(outcome(stage, verdict).0, expected, "{stage:?} {verdict:?}");
    }
}

#[test]
fn an_email_waits_for_a_server_that_has_refused_it_before_its_recipient() {
    for (stage, verdict, expected) in [
        (Stage::Connecting, Verdict::Transient, WaitsFor::Server),
        (Stage::Sender, Verdict::Transient, WaitsFor::Server),
        (Stage::Sender, Verdict::Permanent, WaitsFor::Server),
        (Stage::Recipient, Verdict::Unavailable, WaitsFor::Server),
        (Stage::Recipient, Verdict::Transient, WaitsFor::Recipient),
        (Stage::Content, Verdict::Unavailable, WaitsFor::Server),
        (Stage::Content, Verdict::Transient, WaitsFor::Recipient),
    ] {
        assert_eq!(outcome(stage, verdict).1, expected, "{stage:?} {verdict:?}");
    }
}

#[test]
fn a_refusal_of_this_client_is_not_one_of_the_recipient() {
    for (code, text, expected) in [
        (504, "5.5.2 <bell>: Helo command rejected: need fully-qualified hostname", Verdict::Client),
        (504, "need fully-qualified hostname", Verdict::Client),
        (501, "5.5.2 <bell>: Helo command rejected: Invalid name", Verdict::Client),
        (550, "5.7.1 <bell>: Helo command rejected: Host not found", Verdict::Client),
        (550, "bad HELO name", Verdict::Client),
        (503, "5.5.1 Error: send EHLO first", Verdict::Client),
        (530, "5.7.0 Must issue a STARTTLS command first", Verdict::Client),
        (535, "5.7.8 authentication failed", Verdict::Client),
        (421, "4.7.0 too many connections", Verdict::Unavailable),
        (451, "4.3.2 the system is busy", Verdict::Unavailable),
        (452, "4.3.1 insufficient storage", Verdict::Unavailable),
        (451, "4.3.0 temporary lookup failure", Verdict::Transient),
        (450, "4.2.0 greylisted", Verdict::Transient),
        (250, "not what was due", Verdict::Transient),
        (501, "5.1.3 bad recipient address syntax", Verdict::Permanent),
        (550, "5.1.1 no such user", Verdict::Permanent),
        (550, "bo\u{ee}te inconnue", Verdict::Permanent),
        (550, "5.5.0 Requested action not taken: mailbox unavailable", Verdict::Permanent),
        (550, "michelotti is unknown here", Verdict::Permanent),
        (550, "5.1.1 <helo@example.com>: no such user", Verdict::Permanent),
        (554, "5.7.1 relay access denied", Verdict::Permanent),
    ] {
        assert_eq!(verdict(&refused(code, text)), expected, "{code} {text}");
    }
}
