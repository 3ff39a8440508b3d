//! Notices about accounts. They contain no address; the notifier looks it up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Event, OutboundMessage, Timestamp};

/// The change of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    /// A sign-up was requested. `subject_id` is the sign-up, whose address is asked to confirm.
    SignedUp,
    /// A sign-up was requested for the address of an existing account. `subject_id` is that user.
    SignedUpAgain,
    /// A password reset was requested. `subject_id` is the reset, whose link is sent to the user.
    ResetRequested,
    /// The password was changed or reset. `subject_id` is the user.
    PasswordChanged,
    /// Every session was ended and every API key revoked. `subject_id` is the user.
    SignedOutEverywhere,
}

/// Reports a change of an account that its owner is notified of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserNoticed {
    /// The id of the notice.
    pub notice_id: Uuid,
    /// The change to the user.
    pub happened: UserChange,
    /// The id of the user, sign-up or password reset, depending on `happened`.
    pub subject_id: Uuid,
    /// The time of the change, by the gateway's clock.
    pub at: Timestamp,
}

impl UserNoticed {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.notice_id.to_string(), self)
    }
}

impl Event for UserNoticed {
    const TYPE: &'static str = "user-noticed.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("users.{}", self.subject_id)
    }

    fn ce_subject(&self) -> String {
        self.subject_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
