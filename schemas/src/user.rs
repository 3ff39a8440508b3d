//! What happened to somebody's account. It names nobody: whoever must know the address looks it up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Event, OutboundMessage, Timestamp};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    /// Somebody asked for an account; `subject_id` is the sign-up, and its address is to be asked.
    SignedUp,
    /// Somebody asked for an account with the address of one that exists; `subject_id` is that user, who is told.
    SignedUpAgain,
    /// Somebody asked for a new password; `subject_id` is the reset, and the user's address gets its link.
    ResetRequested,
    /// The password was changed or reset; `subject_id` is the user, who is told.
    PasswordChanged,
    /// Every session was ended and every key revoked; `subject_id` is the user, who is told.
    SignedOutEverywhere,
}

/// Something happened that somebody is told about by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserNoticed {
    /// Drawn when it happened.
    pub notice_id: Uuid,
    /// What.
    pub happened: UserChange,
    /// Whom or what it is about; see [`UserChange`].
    pub subject_id: Uuid,
    /// When, by the gateway's clock.
    pub at: Timestamp,
}

impl UserNoticed {
    /// The message to publish.
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
