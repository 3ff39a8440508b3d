//! Emails as MIME. Message-ID, date and boundary are the same on every attempt, so that a mailbox recognises a repeat.

use std::time::SystemTime;

use lettre::{
    Address, Message,
    message::{
        Body, Mailbox, MultiPart, MultiPartKind, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use store::notifications::deliveries::Claim;
use thiserror::Error;

use crate::templates::EmailContent;

/// The reason why a delivery can never be sent.
#[derive(Debug, Error)]
pub(crate) enum Unsendable {
    /// The address is not valid.
    #[error("the address is not one that mail can be sent to: {0}")]
    Address(#[from] lettre::address::AddressError),
    /// The parts do not make an email.
    #[error("no email can be built: {0}")]
    Mail(#[from] lettre::error::Error),
    /// The content is not of the delivery's kind.
    #[error("its content cannot be read: {0}")]
    Content(#[from] serde_json::Error),
}

/// Builds the email of a delivery.
pub(crate) fn compose(
    claim: &Claim,
    email: EmailContent,
    from: &Mailbox,
    traceparent: Option<&str>,
) -> Result<Message, Unsendable> {
    let delivery = &claim.delivery;
    let to: Address = delivery.address.parse()?;
    let mut message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(email.subject)
        .date(SystemTime::from(claim.created_at.datetime()))
        .message_id(Some(format!("<{}@{}>", delivery.id, from.email.domain())))
        // RFC 3834: mailboxes send no out-of-office replies to this.
        .raw_header(header("Auto-Submitted", "auto-generated"));
    if let Some(rule_id) = delivery.rule_id {
        message = message.raw_header(header("X-Tickbell-Rule", &rule_id.to_string()));
    }
    if let Some(url) = email.unsubscribe {
        // RFC 8058: a mail program unsubscribes by a POST whose body is the second header's value.
        message = message
            .raw_header(header("List-Unsubscribe", &format!("<{url}>")))
            .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"));
    }
    if let Some(traceparent) = traceparent {
        message = message.raw_header(header("traceparent", traceparent));
    }
    let parts = MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(format!("tickbell-{}", delivery.id.simple()))
        .singlepart(part(ContentType::TEXT_PLAIN, email.text))
        .singlepart(part(ContentType::TEXT_HTML, email.html));
    Ok(message.multipart(parts)?)
}

/// Builds a text part without encoding where SMTP allows it (RFC 5321 §4.5.3.1.6: ASCII, lines up to 998 bytes), so that `cat`
/// shows an `.eml` file. The library would encode the whole part for a single line above 76 characters.
fn part(kind: ContentType, text: String) -> SinglePart {
    let plain = text.is_ascii() && !text.contains('\r') && text.lines().all(|line| line.len() <= 998);
    let body = if plain {
        Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    };
    SinglePart::builder().header(kind).body(body)
}

/// Builds a header without encoding or folding, which would break a URL. A value with anything but visible ASCII is encoded,
/// so that no value can start another header.
fn header(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
    } else {
        HeaderValue::new(name, value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use events::Channel;
    use mail_parser::{HeaderValue, MessageParser};
    use serde_json::json;
    use store::notifications::deliveries::{Delivery, Kind};
    use uuid::Uuid;

    use super::*;
    use crate::templates::{
        self,
        tests::{fired, links},
    };

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn claim(address: &str) -> Claim {
        let alert = fired(json!({}));
        let delivery = Delivery {
            id: Uuid::from_u128(9),
            kind: Kind::Alert,
            source_id: alert.id.clone(),
            also_covers: Vec::new(),
            rule_id: Some(alert.rule_id),
            channel: Channel::Email,
            address: address.into(),
            content: json!({}),
            traceparent: None,
        };
        Claim {
            delivery,
            attempt: 1,
            unknown_attempts: 0,
            created_at: "2018-04-05T13:45:01.5Z".parse().expect("a time"),
        }
    }

    fn composed(address: &str) -> Result<Message, Unsendable> {
        let from = "Tickbell <alerts@bell.example.com>".parse().expect("a mailbox");
        compose(&claim(address), templates::alert(&fired(json!({})), &links()), &from, Some(TRACE))
    }

    #[test]
    fn a_mail_program_reads_what_was_written() {
        let bytes = composed("ada@example.com").expect("a mail").formatted();
        let mail = MessageParser::default().parse(&bytes).expect("a mail");
        let email = templates::alert(&fired(json!({})), &links());
        assert_eq!(mail.subject(), Some("BTC-USD +5.2 % to 6,804.91"));
        assert_eq!(mail.message_id(), Some("00000000-0000-0000-0000-000000000009@bell.example.com"));
        assert_eq!(mail.date().map(|date| date.to_rfc3339()).as_deref(), Some("2018-04-05T13:45:01Z"));
        let plain = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!(mail.body_text(0).map(|text| plain(&text)), Some(email.text));
        assert_eq!(mail.body_html(0).map(|html| plain(&html)), Some(plain(&email.html)));
    }

    #[test]
    fn one_click_unsubscribes() {
        let text = String::from_utf8(composed("ada@example.com").expect("a mail").formatted()).expect("ASCII");
        let url = links().url(events::link::Purpose::Unsubscribe, Uuid::from_u128(7));
        for line in [
            format!("List-Unsubscribe: <{url}>\r\n"),
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".into(),
            "Auto-Submitted: auto-generated\r\n".into(),
            "X-Tickbell-Rule: 00000000-0000-0000-0000-000000000007\r\n".into(),
            format!("traceparent: {TRACE}\r\n"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn the_same_delivery_is_the_same_mail_byte_for_byte() {
        let mails = [(); 2].map(|()| composed("ada@example.com").expect("a mail").formatted());
        assert_eq!(mails[0], mails[1]);
    }

    #[test]
    fn an_invalid_address_is_refused_with_the_reason() {
        for bad in ["", "ada", "ada@", "ada@example.com\r\nBcc: eve@example.com", "ada@exa mple.com"] {
            let error = composed(bad).expect_err(bad).to_string();
            assert!(error.starts_with("the address is not one that mail can be sent to"), "{error}");
        }
    }

    #[test]
    fn no_value_can_start_another_header() {
        let from = "alerts@bell.example.com".parse().expect("a mailbox");
        let email = templates::alert(&fired(json!({})), &links());
        let trace = "00-1\r\nBcc: eve@example.com";
        let bytes = compose(&claim("ada@example.com"), email, &from, Some(trace)).expect("a mail").formatted();
        let mail = MessageParser::default().parse(&bytes).expect("a mail");
        assert!(mail.header("Bcc").is_none_or(|value| *value == HeaderValue::Empty), "{:?}", mail.header("Bcc"));
    }
}
