//! Symbols as requests spell them, and the check that their quote is a currency or a coin.

use std::str::FromStr;

use events::{KnownQuotes, Symbol, symbol::NameError};
use serde::{Deserialize, Deserializer, Serialize, de};
use store::{Store, market::queries, trading::assets};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::http::problem::{FieldError, Problem};

/// A symbol of a request: `BTC/USDT` and `BTC_USDT` are `BTC-USDT`. Whether its quote is known is for [`check_quote`] to say,
/// which may have to ask the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SymbolInput(pub(crate) Symbol);

impl FromStr for SymbolInput {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Symbol::from_spelling(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for SymbolInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl PartialSchema for SymbolInput {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "The name of an instrument: BASE-QUOTE, which may also be written BASE/QUOTE or BASE_QUOTE, where the quote is a \
                 currency or a coin that is known; or a ticker like SPY or BRK.B.",
            ))
            .pattern(Some(r"^[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?([-/_][A-Z0-9]{1,20})?$"))
            .examples(["BTC-USD"])
            .into()
    }
}

impl ToSchema for SymbolInput {}

/// Rejects a pair whose quote is no currency or coin that is known: well known, an asset of the database, or quoted so by a
/// venue. `BRK-B` would otherwise be a price in a currency "B". `pointer` is the field of the symbol.
pub(crate) async fn check_quote(store: &Store, symbol: &Symbol, pointer: &str) -> Result<(), Problem> {
    let checked = find_quote(store, symbol).await?;
    checked.map_err(|error| Problem::invalid(vec![FieldError::body(pointer, error.to_string())]))
}

/// Returns the error of [`check_quote`] as a value.
pub(crate) async fn find_quote(store: &Store, symbol: &Symbol) -> Result<Result<(), NameError>, Problem> {
    let Err(error) = symbol.check_quote(&KnownQuotes::default()) else { return Ok(Ok(())) };
    let is_asset = !assets::find(store, &[symbol.quote()]).await?.is_empty();
    Ok(if is_asset || queries::is_quoted(store, symbol).await? { Ok(()) } else { Err(error) })
}
