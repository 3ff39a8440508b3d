//! An email address that can be put into a header and an SMTP command without escapes.

use std::{borrow::Cow, str::FromStr};

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

/// The longest address that SMTP can carry (RFC 5321 §4.5.3.1.3, less its brackets).
const MAX_BYTES: usize = 254;

/// Text that is not an address that mails can be sent to.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressError {
    #[error("must be an email address like ada@example.com")]
    Syntax,
    #[error("must have at most {MAX_BYTES} characters")]
    TooLong,
    #[error("must be ASCII; an international domain is written as xn--…")]
    NotAscii,
    #[error("must be a plain address like ada@example.com, without quotes")]
    Quoted,
}

/// `local@domain.tld` in ASCII: no display name, no quotes, no address literal, nothing that ends a header line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address(String);

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Email)))
            .max_length(Some(MAX_BYTES))
            .description(Some("An email address in ASCII, without a display name."))
            .examples([serde_json::json!("ada@example.com")])
            .into()
    }
}

impl ToSchema for Address {
    fn name() -> Cow<'static, str> {
        "EmailAddress".into()
    }
}

impl Address {
    /// Returns the address as it was written.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        if !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        // Legal (RFC 5321 §4.1.2), and often used to smuggle headers.
        if text.contains(['"', '\\']) {
            return Err(AddressError::Quoted);
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(AddressError::Syntax);
        }
        let options = Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };
        let address = EmailAddress::parse_with_options(text, options).map_err(|_| AddressError::Syntax)?;
        // A top-level domain has a letter (RFC 3696 §2): 127.0.0.1 is a host, not a domain.
        let named = address.domain().rsplit('.').next().is_some_and(|top| top.bytes().any(|b| b.is_ascii_alphabetic()));
        if named { Ok(Self(text.to_owned())) } else { Err(AddressError::Syntax) }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken_as_they_stand() {
        for good in ["ada@example.com", "a.b+c_d@mail.example.co.uk", "o'hara@example.com", "x@xn--bcher-kva.example"] {
            assert_eq!(good.parse::<Address>().map(Address::into_string), Ok(good.to_owned()));
        }
    }

    #[test]
    fn what_could_end_a_header_or_reach_another_host_is_no_address() {
        let long = format!("ada@{}.com", "a.".repeat(130));
        let long_local = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "ada@localhost",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "ada@@example.com",
            "ada@example..com",
            ".ada@example.com",
            "ada.@example.com",
            "ada@-example.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com\n",
            "ada\0@example.com",
            " ada@example.com",
            "ada@example.com ",
            "ada lovelace@example.com",
            "\"ada\"@example.com",
            "\"a\r\nb\"@example.com",
            "Ada <ada@example.com>",
            "<ada@example.com>",
            "ada@example.com,eve@example.com",
            "ada@example.com;eve@example.com",
            "ada@example.com(comment)",
            "ädä@example.com",
            "ada@exämple.com",
            "ada\u{202e}@example.com",
            &long,
            &long_local,
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
