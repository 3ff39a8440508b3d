//! The purposes of the signed links in emails.

/// The action that a signed link performs. A token that is signed for one purpose is not valid for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Confirms that the address wants the alerts of a rule.
    Confirm,
    /// Ends the alerts of a rule.
    Unsubscribe,
    /// Creates the account that a sign-up asked for.
    Join,
    /// Sets a new password after a reset was requested.
    Reset,
}

impl From<Purpose> for &'static str {
    /// Returns the path segment of the link, which is also signed.
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Confirm => "confirm",
            Purpose::Unsubscribe => "unsubscribe",
            Purpose::Join => "join",
            Purpose::Reset => "reset",
        }
    }
}
