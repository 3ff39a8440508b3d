//! The errors of Kafka, sorted by what happens next.

use std::path::PathBuf;

use platform::ServiceError;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};
use thiserror::Error;

use crate::topics::{Difference, TopicsError};

/// Why something was not done in Kafka.
#[derive(Debug, Error)]
pub enum KafkaFailure {
    /// A call failed.
    #[error("kafka: {action}")]
    Call {
        /// The action that the call was for.
        action: String,
        /// The error of the library.
        #[source]
        error: KafkaError,
    },
    /// Not every partition has a broker that leads it.
    #[error("kafka: {0} has no leader yet")]
    NoLeader(String),
    /// The connection to a broker was lost: a broker that starts may forget to end a transaction, so that transactions that are open are
    /// looked for.
    #[error("kafka: the connection to a broker was lost; looking for transactions that it left open")]
    ConnectionLost,
    /// A transaction is open, although nothing is being written.
    #[error("kafka: a transaction is open in {0}, although nothing is being written; looking at it")]
    OpenTransaction(String),
    /// A record was not written.
    #[error("kafka: a record was not written to {topic}")]
    Delivery {
        /// The name of the topic.
        topic: String,
        /// The reason that Kafka gives.
        #[source]
        code: RDKafkaErrorCode,
    },
    /// The topics are not as declared.
    #[error("kafka: {} (`tickbell kafka topics diff` lists all differences, and `tickbell kafka topics apply` mends what it can)", list(.0))]
    Topics(Vec<Difference>),
    /// The file that declares the topics is wrong.
    #[error(transparent)]
    Declaration(#[from] TopicsError),
    /// Kafka has no offset, and the topic has records of somebody else, or had records and has none any more.
    #[error(
        "kafka: there is no offset of group {group}, and topic {topic} has no record with the header {header} any more: choose the first message to mirror with \
         `tickbell kafka position {stream} SEQUENCE`, or another kafka.topic_prefix"
    )]
    UnknownPosition {
        /// The name of the stream.
        stream: &'static str,
        /// The consumer group.
        group: String,
        /// The name of the topic.
        topic: String,
        /// The header that is missing.
        header: &'static str,
    },
    /// The offset has metadata that is not ours.
    #[error("kafka: {0}")]
    Metadata(String),
    /// The file with the password cannot be read.
    #[error("kafka.password_file = {0:?} cannot be read")]
    PasswordFile(PathBuf, #[source] std::io::Error),
    /// A task of the program has panicked.
    #[error("the program panicked while it wrote to Kafka")]
    Panicked(#[source] tokio::task::JoinError),
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl KafkaFailure {
    /// Makes the error of a call.
    pub(crate) fn call(action: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let action = action.into();
        move |error| Self::Call { action, error }
    }

    /// Returns whether the time of a call was out, or an offset that it asked for stayed in a transaction.
    pub(crate) fn is_timeout(&self) -> bool {
        use RDKafkaErrorCode::{OperationTimedOut, UnstableOffsetCommit};
        let Self::Call { error, .. } = self else { return false };
        matches!(error.rdkafka_error_code(), Some(OperationTimedOut | UnstableOffsetCommit))
    }

    /// Returns whether a topic takes no such record, which one that is as declared does not do.
    pub(crate) fn is_record_refused(&self) -> bool {
        use RDKafkaErrorCode::{InvalidRecord, InvalidTimestamp, MessageSizeTooLarge, PolicyViolation};
        matches!(
            self,
            Self::Delivery { code: InvalidTimestamp | MessageSizeTooLarge | InvalidRecord | PolicyViolation, .. }
        )
    }
}

impl From<KafkaFailure> for ServiceError {
    /// What a cluster refuses is tried again: rights and quotas change while the service runs.
    fn from(error: KafkaFailure) -> Self {
        match error {
            KafkaFailure::Topics(_)
            | KafkaFailure::Declaration(_)
            | KafkaFailure::UnknownPosition { .. }
            | KafkaFailure::Metadata(_) => Self::permanent("mirror to Kafka", error),
            _ => Self::transient("mirror to Kafka", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_other_than_a_timeout_says_nothing_about_an_open_transaction() {
        let failure = |code| KafkaFailure::call("ask for the offset")(KafkaError::MetadataFetch(code));
        assert!(failure(RDKafkaErrorCode::OperationTimedOut).is_timeout());
        for code in [RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::GroupAuthorizationFailed] {
            let other = failure(code);
            assert!(!other.is_timeout());
            assert!(matches!(ServiceError::from(other), ServiceError::Transient(..)), "{code}");
        }
    }
}
