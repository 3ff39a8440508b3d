//! What is published about events is true: the schema files are those of the types, and every message that was ever
//! published is still read.

use std::{fs, path::PathBuf};

use events::{
    AlertFired, CandleClosed, DeadLetter, DeliveryUpdated, DepositRequested, Event, FeedGap, LateVerdict, MirroredTick,
    OrderCancelRequested, OrderPlaced, OrderUpdated, RuleChanged, TickPage, TradeSettled, UserNoticed,
    envelope::schema_uri,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
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
    schema_of::<E>(E::TYPE)
}

fn schema_of<T: JsonSchema>(event_type: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), schema_uri(event_type).into());
    schema.to_value()
}

fn samples<E: Event>() -> Vec<Value> {
    samples_of(E::TYPE)
}

fn samples_of(event_type: &str) -> Vec<Value> {
    let path = file("samples", event_type);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a JSON array of messages")
}

#[test]
fn the_schema_files_are_those_of_the_types() {
    fn check_schema(event_type: &str, schema: &Value) {
        let path = file("events", event_type);
        let text = serde_json::to_string_pretty(schema).expect("JSON") + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).expect("written");
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "{} is stale: run the test with UPDATE=1", path.display());
    }
    fn check<E: Event>() {
        check_schema(E::TYPE, &schema::<E>());
    }
    for_each_event!(check);
    check_schema(MirroredTick::TYPE, &schema_of::<MirroredTick>(MirroredTick::TYPE));
}

#[test]
fn every_message_ever_published_is_read_and_written_as_it_was() {
    fn check_samples<T: Serialize + DeserializeOwned + JsonSchema>(event_type: &str) {
        let validator = jsonschema::validator_for(&schema_of::<T>(event_type)).expect("a schema");
        let samples = samples_of(event_type);
        assert!(!samples.is_empty());
        for sample in samples {
            let event: T = serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{event_type}: {e}"));
            assert_eq!(serde_json::to_value(&event).expect("JSON"), sample, "{event_type}");
            let errors: Vec<_> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{event_type}: {errors:?}");
        }
    }
    fn check<E: Event>() {
        check_samples::<E>(E::TYPE);
    }
    for_each_event!(check);
    check_samples::<MirroredTick>(MirroredTick::TYPE);
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
