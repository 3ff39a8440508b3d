//! One trade of a recording, from the texts of its line.

use std::{borrow::Cow, collections::HashMap, fmt::Display, str::FromStr};

use events::{
    Price, Size, Symbol, Tick, Timestamp, Venue,
    money::Rounded,
    tick::{TickKind, TickSource},
};
use thiserror::Error;

use super::{layout::Layout, lines::MAX_LINE_BYTES, options::Role, time_text::TimeReader};

/// The most spellings of symbols that are remembered, to parse each of them once.
const MAX_SPELLINGS: usize = 4_096;
/// The most bytes of an id.
const MAX_ID_BYTES: usize = 128;
/// The most characters of a field that an error shows.
const MAX_SHOWN: usize = 80;

/// The reason why a line is not a trade.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// The line has more than [`MAX_LINE_BYTES`] bytes.
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The line is not text.
    #[error("the line is not UTF-8")]
    Encoding,
    /// A quoted field goes on after the end of the line.
    #[error("a quote is not closed")]
    Quote,
    /// The line has another number of fields than the header has names.
    #[error("{found} columns where {expected} are expected")]
    Columns {
        /// The number of fields in the line.
        found: usize,
        /// The number of names in the header, or the number of the last column that is used.
        expected: usize,
    },
    /// A field cannot be parsed.
    #[error("{column} {text:?} {why}")]
    Field {
        /// The name of the column.
        column: &'static str,
        /// The text of the field.
        text: String,
        /// What the parser requires, a clause that begins with "must be".
        why: String,
    },
    /// The line has another symbol than those before it, and the options give one symbol to all of them.
    #[error("symbol {found:?} where the lines before have {before:?}: --symbol is for a file of one symbol")]
    OtherSymbol {
        /// The symbol of the line.
        found: String,
        /// The symbol of the lines before.
        before: String,
    },
    /// The line is not a JSON object with the fields of a trade.
    #[error("{0}")]
    Json(String),
}

/// One trade, as a line of a recording has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTrade {
    /// The time of the trade.
    pub time: Timestamp,
    /// The symbol that was traded.
    pub symbol: Symbol,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The size in units of the base, where the recording has it.
    pub size: Option<Size>,
    /// The venue's id of the trade, where the recording has it.
    pub id: Option<String>,
    /// Whether the price or the size has fewer digits than it was written with.
    pub was_rounded: bool,
}

impl RecordedTrade {
    /// Converts the trade into a tick of `venue`.
    pub fn into_tick(self, venue: &Venue, received_at: Timestamp) -> Tick {
        let Self { time: at, symbol, price, size, .. } = self;
        let (kind, source) = (TickKind::Trade, TickSource::File);
        Tick { venue: venue.clone(), symbol, price, size, at, received_at, kind, source }
    }
}

/// The texts of a line, by the number of their part.
pub(crate) type Texts<'line> = [Option<Cow<'line, str>>; Role::ALL.len()];

/// Makes trades of texts.
pub(crate) struct TradeReader {
    times: TimeReader,
    /// The symbol of all lines, and how the file spells it.
    symbol: Option<(Symbol, Option<String>)>,
    spellings: HashMap<String, Symbol>,
}

impl TradeReader {
    pub(crate) fn new(layout: &Layout) -> Self {
        let symbol = layout.symbol.clone().map(|symbol| (symbol, None));
        Self { times: layout.times, symbol, spellings: HashMap::new() }
    }

    /// Returns whether the options give the symbol of all lines.
    pub(crate) fn has_symbol(&self) -> bool {
        self.symbol.is_some()
    }

    pub(crate) fn read(&mut self, texts: &Texts<'_>) -> Result<RecordedTrade, LineError> {
        let text = |role: Role| texts[role as usize].as_deref();
        let filled = |role: Role| text(role).filter(|text| !text.is_empty());
        let time = text(Role::Time).unwrap_or_default();
        let time = self.times.read(text(Role::Date), time).map_err(|why| field("time", time, &why))?;
        let symbol = self.symbol(text(Role::Symbol), filled(Role::Class))?;
        let price: Rounded<Price> = number("price", text(Role::Price).unwrap_or_default())?;
        let size: Option<Rounded<Size>> = filled(Role::Size).map(|text| number("size", text)).transpose()?;
        let id = filled(Role::Id).map(parse_id).transpose()?;
        let was_rounded = price.was_rounded || size.is_some_and(|size| size.was_rounded);
        Ok(RecordedTrade { time, symbol, price: price.value, size: size.map(|size| size.value), id, was_rounded })
    }

    fn symbol(&mut self, text: Option<&str>, class: Option<&str>) -> Result<Symbol, LineError> {
        let spelling = match (text, class) {
            (Some(text), Some(class)) => Some(Cow::from(format!("{text}.{class}"))),
            (text, _) => text.map(Cow::from),
        };
        if let Some((symbol, before)) = &mut self.symbol {
            if let Some(found) = spelling {
                let before = before.get_or_insert_with(|| found.to_string());
                if *before != *found {
                    return Err(LineError::OtherSymbol { found: shown(&found), before: shown(before) });
                }
            }
            return Ok(symbol.clone());
        }
        let spelling = spelling.unwrap_or_default();
        if let Some(symbol) = self.spellings.get(&*spelling) {
            return Ok(symbol.clone());
        }
        let symbol: Symbol = spelling.to_ascii_uppercase().parse().map_err(|why| field("symbol", &spelling, &why))?;
        if self.spellings.len() == MAX_SPELLINGS {
            self.spellings.clear();
        }
        self.spellings.insert(spelling.into_owned(), symbol.clone());
        Ok(symbol)
    }
}

fn number<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T, LineError> {
    text.parse().map_err(|why: T::Err| {
        let comma = if text.contains(',') { "; a comma in a number is not read" } else { "" };
        field(column, text, &format!("{why}{comma}"))
    })
}

fn parse_id(text: &str) -> Result<String, LineError> {
    if text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    let why =
        format!("must be 1 to {MAX_ID_BYTES} visible ASCII characters; leave the column out with --columns id=none");
    Err(field("id", text, &why))
}

fn field(column: &'static str, text: &str, why: &dyn Display) -> LineError {
    LineError::Field { column, text: shown(text), why: why.to_string() }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
