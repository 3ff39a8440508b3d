//! Symbols as requests spell them, and the check that their quote is a currency or a coin.

use std::str::FromStr;

use events::{KnownQuotes, Symbol, symbol::NameError};
use serde::{Deserialize, Deserializer, Serialize, de};
use store::{
    Store,
    market::queries,
    trading::assets::{self, AssetKind},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::http::problem::{FieldError, Problem};

/// The most letters of a word behind a dash that is rather a class of share, like A, B and WS, than an asset.
const CLASS_LETTERS: usize = 2;

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

/// Rejects a pair whose quote is no currency or coin that is known: well known, an asset of the database that is no share, or
/// quoted so by a venue. `BRK-B` would otherwise be a price in a currency "B". `pointer` is the field of the symbol.
pub(crate) async fn check_quote(store: &Store, symbol: &Symbol, pointer: &str) -> Result<(), Problem> {
    let checked = find_quote(store, symbol).await?;
    checked.map_err(|error| Problem::invalid(vec![FieldError::body(pointer, error.to_string())]))
}

/// Returns the error of [`check_quote`] as a value.
pub(crate) async fn find_quote(store: &Store, symbol: &Symbol) -> Result<Result<(), NameError>, Problem> {
    let Err(error) = symbol.check_quote(&KnownQuotes::default()) else { return Ok(Ok(())) };
    let is_currency = assets::find_kind(store, &symbol.quote()).await? == Some(AssetKind::Currency);
    Ok(if is_currency || queries::is_quoted(store, symbol).await? { Ok(()) } else { Err(error) })
}

/// Rejects an order that would be paid in a currency that nobody has named: of a class of share that is spelled as a pair, and of
/// a symbol without a quote that is not a share whose currency is known. Other assets that are not known are left to the
/// settler, which rejects the order.
pub(crate) async fn check_payable(store: &Store, symbol: &Symbol, pointer: &str) -> Result<(), Problem> {
    let (base, assumed) = (symbol.base(), symbol.quote());
    if let Some((_, quote)) = symbol.pair() {
        return if quote.len() <= CLASS_LETTERS { check_quote(store, symbol, pointer).await } else { Ok(()) };
    }
    let detail = match assets::find_kind(store, &base).await? {
        _ if base == assumed => return Ok(()),
        None => return Ok(()),
        Some(AssetKind::Share { quote }) if quote == assumed => return Ok(()),
        Some(AssetKind::Share { quote }) => {
            format!("must name the currency: {base} is traded in {quote}, write {base}-{quote}")
        }
        Some(AssetKind::Currency) => {
            format!("must name the currency that {base} is paid in: write a pair like {base}-{assumed}")
        }
    };
    Err(Problem::invalid(vec![FieldError::body(pointer, detail)]))
}
