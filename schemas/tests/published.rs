//! What is published about events is true: the schema files are those of the types, and every message that was ever
//! published is still read.

use std::{fs, path::PathBuf};

use events::{
    AlertFired, CandleClosed, DeadLetter, DeliveryUpdated, DepositRequested, Event, FeedGap, LateVerdict,
    OrderCancelRequested, OrderPlaced, OrderUpdated, RuleChanged, TickPage, TradeSettled, UserNoticed,
    envelope::schema_uri,
};
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// Does `$body` for every event there is.
macro_rules! for_each_event {
    ($check:ident) => {
        $check::<TickPage>();
        $check::<CandleClosed>();
        $check::<RuleChanged>();
        $check::<AlertFired>();
        $check::<DeliveryUpdated>();
        $check::<DeadLetter>();
        $check::<OrderPlaced>();
        $check::<OrderCancelRequested>();
        $check::<DepositRequested>();
        $check::<OrderUpdated>();
        $check::<TradeSettled>();
        $check::<UserNoticed>();
        $check::<FeedGap>();
        $check::<LateVerdict>();
    };
}

fn file(folder: &str, event_type: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(event_type).with_added_extension("json")
}

fn schema<E: Event>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<E>();
    schema.insert("$id".into(), schema_uri(E::TYPE).into());
    schema.to_value()
}

fn samples<E: Event>() -> Vec<Value> {
    let path = file("samples", E::TYPE);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a JSON array of messages")
}

#[test]
fn the_schema_files_are_those_of_the_types() {
    fn check<E: Event>() {
        let path = file("events", E::TYPE);
        let text = serde_json::to_string_pretty(&schema::<E>()).expect("JSON") + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).expect("written");
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "{} is stale: run the test with UPDATE=1", path.display());
    }
    for_each_event!(check);
}

#[test]
fn every_message_ever_published_is_read_and_written_as_it_was() {
    fn check<E: Event>() {
        let validator = jsonschema::validator_for(&schema::<E>()).expect("a schema");
        let samples = samples::<E>();
        assert!(!samples.is_empty());
        for sample in samples {
            let event: E = serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{}: {e}", E::TYPE));
            assert_eq!(serde_json::to_value(&event).expect("JSON"), sample, "{}", E::TYPE);
            let errors: Vec<_> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", E::TYPE);
        }
    }
    for_each_event!(check);
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    fn check<E: Event>() {
        for mut sample in samples::<E>() {
            sample.as_object_mut().expect("an object").insert("added_later".into(), 1.into());
            serde_json::from_value::<E>(sample).unwrap_or_else(|error| panic!("{}: {error}", E::TYPE));
        }
    }
    for_each_event!(check);
}

#[test]
fn a_class_of_share_adds_no_token_to_a_subject() {
    fn check<E: Event>() {
        for sample in samples::<E>() {
            let read = |sample: &Value| serde_json::from_value::<E>(sample.clone()).expect("a message").subject();
            let share = ["BTC-USD", "ETH-USD", "SPY", "\"USD\""].into_iter().fold(sample.to_string(), |text, name| {
                text.replace(name, if name.starts_with('"') { "\"BRK.B\"" } else { "BRK.B" })
            });
            let (subject, share) = (read(&sample), read(&serde_json::from_str(&share).expect("JSON")));
            assert_eq!(share.split('.').count(), subject.split('.').count(), "{share}");
            assert!(!share.contains("BRK.B"), "{share}");
        }
    }
    for_each_event!(check);
}
