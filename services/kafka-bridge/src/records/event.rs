//! Events as records: the body as it is, but for what may have addresses.

use events::{
    AlertFired, CandleClosed, DeadLetter, DeliveryUpdated, Event, FeedGap, LateVerdict, OrderUpdated, TickPage,
    Timestamp, TradeSettled, dead_letter::Body,
};
use market_data::StoredPage;

use crate::records::{Record, Source};

/// The streams whose messages have no addresses, and so neither have their dead letters. The empty name is that of what a venue sent.
const WITHOUT_ADDRESSES: [&str; 6] = ["", "TICKS", "CANDLES", "FEEDS", "TRADES", "DELIVERIES"];

/// The reason of a dead letter whose own reason may quote an address.
const HIDDEN_REASON: &str =
    "the reason and the body stay where the message is, because they may have addresses: see `tickbell dlq show`";

/// Makes the record of a message. Fails with the reason where it is none of the events that are mirrored: what is not known may have
/// addresses.
pub fn event_record(source: &Source<'_>) -> Result<Record, String> {
    match source.class() {
        TickPage::TYPE => page_record(source),
        CandleClosed::TYPE => record(source, candle_key, as_it_is),
        FeedGap::TYPE => record(source, |gap: &FeedGap| gap.symbol.to_string(), as_it_is),
        AlertFired::TYPE => {
            let without_targets = |event: AlertFired| Some(AlertFired { targets: Vec::new(), ..event });
            record(source, |event: &AlertFired| event.symbol.to_string(), without_targets)
        }
        LateVerdict::TYPE => {
            let without_targets = |event: LateVerdict| Some(LateVerdict { targets: Vec::new(), ..event });
            record(source, |event: &LateVerdict| event.symbol.to_string(), without_targets)
        }
        OrderUpdated::TYPE => record(source, |event: &OrderUpdated| event.symbol.to_string(), as_it_is),
        TradeSettled::TYPE => record(source, |event: &TradeSettled| event.symbol.to_string(), as_it_is),
        DeliveryUpdated::TYPE => record(source, |event: &DeliveryUpdated| event.delivery_id.to_string(), as_it_is),
        DeadLetter::TYPE => record(source, |event: &DeadLetter| event.service.clone(), without_addresses),
        "" => Err("it has no ce-type".to_owned()),
        class => Err(format!("its ce-type is {class}, which is not mirrored")),
    }
}

/// Makes the record of an event. `change` returns what takes the place of the body, and none where that stays as it is.
fn record<E: Event>(
    source: &Source<'_>,
    key: impl FnOnce(&E) -> String,
    change: impl FnOnce(E) -> Option<E>,
) -> Result<Record, String> {
    let event: E = serde_json::from_slice(source.body).map_err(|error| unreadable(E::TYPE, &error))?;
    let (key, at) = (key(&event), event.ce_time());
    let body = match change(event) {
        Some(event) => serde_json::to_vec(&event).map_err(|error| error.to_string())?,
        None => source.body.to_vec(),
    };
    Ok(finish(source, &key, at, body))
}

/// Makes the record of a page of ticks, whose time is that of the last tick that may be used.
fn page_record(source: &Source<'_>) -> Result<Record, String> {
    let read = StoredPage::read_last_at(source.body, source.position.stored_at, source.max_ahead);
    let (head, last_at) = read.map_err(|error| unreadable(TickPage::TYPE, &error))?;
    Ok(finish(source, head.symbol.as_str(), last_at.unwrap_or(head.received_at), source.body.to_vec()))
}

fn finish(source: &Source<'_>, key: &str, at: Timestamp, body: Vec<u8>) -> Record {
    let headers = vec![("ce_id".into(), source.id().into_owned())];
    let common_headers = source.common_headers(&[]).into();
    Record { key: key.into(), body, timestamp_ms: source.timestamp_ms(at), headers, common_headers }
}

fn unreadable(class: &str, error: &serde_json::Error) -> String {
    format!("its body is not a {class}: {error}")
}

fn as_it_is<E>(_: E) -> Option<E> {
    None
}

fn without_addresses(event: DeadLetter) -> Option<DeadLetter> {
    if WITHOUT_ADDRESSES.contains(&event.stream.as_str()) {
        return None;
    }
    Some(DeadLetter { body: Body::Text(String::new()), reason: HIDDEN_REASON.to_owned(), headers: Vec::new(), ..event })
}

/// Returns the identity of a candle without its revision, so that a compacted topic has the newest one.
fn candle_key(candle: &CandleClosed) -> String {
    let CandleClosed { venue, symbol, interval, start, .. } = candle;
    format!("{venue}:{symbol}:{interval}:{start}")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use events::OutboundMessage;
    use market_data::MaxAhead;
    use serde_json::Value;

    use super::*;
    use crate::position::{POSITION_HEADER, RecordPosition};

    fn position(stream: &str) -> RecordPosition {
        let (stream_created, stored_at) = (Timestamp::EPOCH, Timestamp::LAST);
        RecordPosition { stream: stream.to_owned(), stream_created, sequence: 7, stored_at }
    }

    fn source<'a>(subject: &'a str, headers: Vec<(&'a str, &'a str)>, body: &'a [u8], stream: &str) -> Source<'a> {
        Source { subject, headers, body, position: position(stream), max_ahead: MaxAhead::DEFAULT }
    }

    fn samples<E: Event>() -> Vec<E> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../schemas/samples/{}.json", E::TYPE));
        serde_json::from_str(&fs::read_to_string(path).expect("the samples")).expect("events")
    }

    fn record_of(message: &OutboundMessage, stream: &str) -> Result<Record, String> {
        let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        event_record(&source(&message.subject, headers, &message.body, stream))
    }

    #[test]
    fn an_event_travels_as_it_is_with_its_attributes_as_headers() {
        for candle in samples::<CandleClosed>() {
            let message = candle.to_message();
            let record = record_of(&message, "CANDLES").expect("a record");
            assert_eq!(record.body, message.body);
            assert_eq!(&*record.key, candle_key(&candle));
            assert_eq!(record.timestamp_ms, candle.ce_time().micros() / 1_000);
            let header = |name: &str| {
                let found: Vec<_> = record.all_headers().filter(|(found, _)| *found == name).collect();
                assert_eq!(found.len(), 1, "{name}");
                found[0].1.to_owned()
            };
            assert_eq!((header("ce_id"), header("ce_type")), (message.id.clone(), "candle-closed.v1".to_owned()));
            assert_eq!((header("ce_specversion"), header("content-type")), ("1.0".into(), "application/json".into()));
            assert_eq!(header("ce_dataschema"), "urn:tickbell:schema:candle-closed.v1");
            assert_eq!(RecordPosition::parse(header(POSITION_HEADER).as_bytes()), Some(position("CANDLES")));
            assert!(record.all_headers().all(|(name, _)| !name.contains("Nats")));
        }
    }

    #[test]
    fn a_page_has_the_key_of_its_symbol_and_the_time_of_its_last_tick() {
        for page in samples::<TickPage>() {
            let message = page.to_message();
            let record = record_of(&message, "TICKS").expect("a record");
            assert_eq!((&*record.key, record.timestamp_ms), (page.symbol.as_str(), page.ce_time().micros() / 1_000));
            assert_eq!(record.body, message.body);
        }
    }

    #[test]
    fn a_time_that_is_too_far_ahead_is_not_the_time_of_a_record() {
        let at = |seconds: i64| Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000).expect("a time");
        let stored_at = at(0);
        let timestamp = |message: &OutboundMessage, stream: &str| {
            let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let source = source(&message.subject, headers, &message.body, stream);
            let position = RecordPosition { stored_at, ..source.position.clone() };
            event_record(&Source { position, ..source }).expect("a record").timestamp_ms
        };
        let milliseconds = |at: Timestamp| at.micros() / 1_000;
        let page = samples::<TickPage>().remove(0);
        let page_at = |received_at, times: &[Timestamp]| {
            let tick = page.ticks[0].clone();
            let ticks = times.iter().map(|at| events::PageTick { at: *at, ..tick.clone() }).collect();
            timestamp(&TickPage { received_at, ticks, ..page.clone() }.to_message(), "TICKS")
        };
        let far = at(80_000);
        // The last tick that may be used, else when the page was received, and never what is too far ahead.
        assert_eq!(page_at(at(1), &[at(2), at(3)]), milliseconds(at(3)));
        assert_eq!(page_at(at(1), &[at(2), far]), milliseconds(at(2)));
        assert_eq!(page_at(at(1), &[far]), milliseconds(at(1)));
        assert_eq!(page_at(far, &[far]), milliseconds(stored_at));
        let candle = CandleClosed { start: far, ..samples::<CandleClosed>().remove(0) };
        assert_eq!(timestamp(&candle.to_message(), "CANDLES"), milliseconds(stored_at));
    }

    #[test]
    fn no_address_is_mirrored() {
        let addresses = |record: &Record| String::from_utf8_lossy(&record.body).matches('@').count();
        let mut seen = 0;
        for message in samples::<AlertFired>().iter().map(AlertFired::to_message) {
            seen += String::from_utf8_lossy(&message.body).matches('@').count();
            let record = record_of(&message, "ALERTS").expect("a record");
            assert_eq!(addresses(&record), 0);
            serde_json::from_slice::<AlertFired>(&record.body).expect("an event that is read as before");
        }
        for message in samples::<LateVerdict>().iter().map(LateVerdict::to_message) {
            seen += String::from_utf8_lossy(&message.body).matches('@').count();
            assert_eq!(addresses(&record_of(&message, "ALERTS").expect("a record")), 0);
        }
        for dead_letter in samples::<DeadLetter>() {
            for stream in ["RULES", "ALERTS", "USERS", "ORDERS", "a stream that comes later"] {
                let dead_letter = DeadLetter {
                    stream: stream.to_owned(),
                    body: Body::Text("ann@example.com".into()),
                    reason: "its body is not a rule: ann@example.com".into(),
                    headers: vec![("to".into(), "ann@example.com".into())],
                    ..dead_letter.clone()
                };
                let message = dead_letter.to_message();
                seen += String::from_utf8_lossy(&message.body).matches('@').count();
                assert_eq!(addresses(&record_of(&message, "DLQ").expect("a record")), 0, "{stream}");
            }
        }
        assert!(seen > 10, "{seen} addresses in the samples");
    }

    #[test]
    fn a_dead_letter_of_a_stream_without_addresses_is_mirrored_whole() {
        for dead_letter in samples::<DeadLetter>() {
            let message = DeadLetter { stream: "TICKS".to_owned(), ..dead_letter }.to_message();
            assert_eq!(record_of(&message, "DLQ").expect("a record").body, message.body);
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let record = |headers: Vec<(&str, &str)>, body: &str| {
            event_record(&source("alerts.SPY", headers, body.as_bytes(), "ALERTS")).expect_err("a reason")
        };
        assert_eq!(record(vec![], "{}"), "it has no ce-type");
        assert_eq!(record(vec![("ce-type", "new.v7")], "{}"), "its ce-type is new.v7, which is not mirrored");
        assert!(record(vec![("Ce-Type", "alert-fired.v1")], "{}").starts_with("its body is not a alert-fired.v1: "));
    }

    #[test]
    fn an_event_without_an_id_has_its_place_as_one() {
        let page = serde_json::to_vec(&samples::<TickPage>()[0]).expect("JSON");
        let record = |headers| {
            let record = event_record(&source("", headers, &page, "TICKS"));
            record.expect("a record").headers[0].1.clone()
        };
        assert_eq!(record(vec![("ce-type", "ticks.v1")]), "TICKS:7");
        assert_eq!(record(vec![("ce-type", "ticks.v1"), ("Nats-Msg-Id", "a")]), "a");
        assert!(serde_json::from_slice::<Value>(&page).is_ok());
    }
}
