//! Which column or key of a file holds which part of a trade: the options, the vendor's layout and the first line together.

use std::collections::BTreeMap;

use events::Symbol;
use thiserror::Error;

use super::{
    formats::Format,
    options::{CandlePrice, ColumnRef, Header, Order, ReadOptions, Role},
    time_text::{TimeReader, TimeZone},
};

/// The most bytes of a line that an error shows.
const MAX_SHOWN_BYTES: usize = 120;

/// The reason why a file as a whole is not read: its shape and the options do not fit.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    /// The file has no line that is not blank.
    #[error("the file has no lines")]
    Empty,
    /// A column is missing in the header.
    #[error(
        "line 1 names no column {missing:?}: it names {seen}; our own files name time,symbol,price,size in any order; name \
         other columns with --columns {missing}=NAME{hint}"
    )]
    Missing {
        /// The part of a trade that has no column.
        missing: &'static str,
        /// The names of the header.
        seen: String,
        /// The format that the file may have.
        hint: Hint,
    },
    /// No column has the symbol.
    #[error("line 1 names no column \"symbol\": it names {seen}; add --symbol BTC-USD, or --columns symbol=NAME{hint}")]
    NoSymbol {
        /// The names of the header.
        seen: String,
        /// The format that the file may have.
        hint: Hint,
    },
    /// The first line is a trade and no header.
    #[error(
        "line 1 names no column: it is {seen:?}; say where the parts of a trade stand, with --no-header --columns \
         time=0,price=1,size=2 and --symbol BTC-USD{hint}"
    )]
    NoHeader {
        /// The line, cut off behind some characters.
        seen: String,
        /// The format that the file may have.
        hint: Hint,
    },
    /// Columns are given by name, and there is no header.
    #[error(
        "without a header the column {0:?} needs a number, from 0: use --columns {0}=0, or --symbol for the symbol"
    )]
    Unnumbered(&'static str),
    /// The options name a column that the file does not have.
    #[error("--columns {role}={name}: line 1 names no such column, it names {seen}")]
    NoSuchColumn {
        /// The part of a trade.
        role: &'static str,
        /// The name on the command line.
        name: String,
        /// The names of the header.
        seen: String,
    },
    /// The lines are candles.
    #[error(
        "the lines are candles ({seen}) and no trades: add --candles close to publish the close of each as a price, without a size"
    )]
    Candles {
        /// The names of the header, or the format.
        seen: String,
    },
    /// The lines are trades.
    #[error("--candles: {0}")]
    NoCandles(String),
    /// The file is one JSON array.
    #[error(
        "the file is one JSON array: write an object per line, as `jq -c '.[]' FILE` does, and pipe that to --source file:-"
    )]
    JsonArray,
    /// JSON has no columns with numbers.
    #[error("--columns {0}: the lines are JSON objects, whose keys have names and no numbers")]
    JsonIndex(&'static str),
    /// The file is too long to be turned round.
    #[error("with --newest-first a file has at most {0} lines: turn it round yourself, as `tac` does")]
    TooLongToReverse(usize),
}

/// The option that would read the file as what it looks like.
#[derive(Debug, PartialEq, Eq)]
pub struct Hint(Option<Format>);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(format) = self.0 else { return Ok(()) };
        let candles = if format.has_candles() { " --candles close" } else { "" };
        write!(f, ". It looks like --format {format}{candles}")
    }
}

/// How a file is read, before its first line is known.
pub(crate) struct Layout {
    columns: BTreeMap<Role, ColumnRef>,
    /// The parts whose columns the command line names: these must be there.
    required: Vec<Role>,
    has_default_columns: bool,
    header: Header,
    reads_candles: bool,
    pub(crate) symbol: Option<Symbol>,
    pub(crate) separator: Option<u8>,
    pub(crate) times: TimeReader,
    pub(crate) order: Order,
}

/// The columns of a CSV file.
#[derive(Debug)]
pub(crate) struct Columns {
    /// The number of each part's column, by the number of the part.
    pub(crate) indexes: [Option<usize>; Role::ALL.len()],
    /// The number of columns that each line has at least.
    pub(crate) count: usize,
    /// Whether the first line names the columns.
    pub(crate) has_header: bool,
}

/// The names of each part's key in a JSON object, by the number of the part; none where it has no key.
pub(crate) type Keys = [Vec<String>; Role::ALL.len()];

impl Layout {
    /// Combines the options with the layout of their format.
    pub(crate) fn new(options: &ReadOptions) -> Result<Self, ShapeError> {
        let reads_candles = options.candles == Some(CandlePrice::Close);
        match options.format {
            Some(format) if format.has_candles() && !reads_candles => {
                return Err(ShapeError::Candles { seen: format!("--format {format}") });
            }
            Some(format) if reads_candles && !format.has_candles() => {
                return Err(ShapeError::NoCandles(format!("the lines of --format {format} are trades")));
            }
            _ => {}
        }
        let mut columns = match options.format {
            Some(format) => columns_of(format),
            None => default_columns(reads_candles),
        };
        columns.extend(options.columns.0.clone());
        let is_newest_first = options.format == Some(Format::CryptoDataDownload);
        let zone = if options.format == Some(Format::Taq) { TimeZone::NewYork } else { TimeZone::Offset(0) };
        Ok(Self {
            columns,
            required: options.columns.0.keys().copied().collect(),
            has_default_columns: options.format.is_none() && options.columns.0.is_empty(),
            header: options.header,
            reads_candles,
            symbol: options.symbol.clone(),
            separator: options.separator.map(|separator| separator.0),
            times: TimeReader {
                unit: options.time_unit,
                zone: options.time_zone.unwrap_or(zone),
                date: options.date.map(|date| date.0),
            },
            order: if is_newest_first { Order::NewestFirst } else { options.order },
        })
    }

    /// Finds the columns, given the fields of the first line.
    pub(crate) fn columns(&self, first_line: &[String]) -> Result<Columns, ShapeError> {
        let fields: Vec<String> = first_line.iter().map(|field| field.trim().to_lowercase()).collect();
        let has_header = self.has_header(&fields);
        let names = if has_header { fields.as_slice() } else { &[] };
        if has_header && self.names_candles(names) && !self.reads_candles {
            return Err(ShapeError::Candles { seen: listed(first_line) });
        }
        let mut indexes = [None; Role::ALL.len()];
        for role in Role::ALL {
            let index = self.find(role, names, has_header);
            let is_missing = index.is_none() || has_header && index >= Some(fields.len());
            if is_missing && self.required.contains(&role) {
                match self.columns.get(&role) {
                    Some(ColumnRef::Name(_)) if !has_header => return Err(ShapeError::Unnumbered(role.name())),
                    Some(ColumnRef::Name(name)) => return Err(no_such_column(role, name.clone(), first_line)),
                    Some(ColumnRef::Index(index)) => return Err(no_such_column(role, index.to_string(), first_line)),
                    _ => {}
                }
            }
            indexes[role as usize] = if is_missing { None } else { index };
        }
        // A day is a time of its own where no column has the time of day.
        if indexes[Role::Time as usize].is_none() {
            indexes[Role::Time as usize] = indexes[Role::Date as usize].take();
        }
        let missing = [Role::Time, Role::Symbol, Role::Price]
            .into_iter()
            .find(|role| indexes[*role as usize].is_none() && !(*role == Role::Symbol && self.symbol.is_some()));
        if let Some(missing) = missing {
            return Err(self.missing(missing, first_line, has_header));
        }
        let last_named = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        let last_used = indexes.iter().flatten().max().map_or(0, |last| last + 1);
        Ok(Columns { indexes, count: last_named.max(last_used), has_header })
    }

    /// Returns the keys that hold the parts of a trade in JSON objects.
    pub(crate) fn keys(&self) -> Result<Keys, ShapeError> {
        let mut keys = Keys::default();
        for (role, column) in &self.columns {
            keys[*role as usize] = match column {
                ColumnRef::Index(_) => return Err(ShapeError::JsonIndex(role.name())),
                ColumnRef::Name(name) => vec![name.clone()],
                ColumnRef::AnyOf(names) => names.iter().map(|name| (*name).to_owned()).collect(),
                ColumnRef::Absent => Vec::new(),
            };
        }
        if self.symbol.is_none() && keys[Role::Symbol as usize].is_empty() {
            return Err(ShapeError::Unnumbered(Role::Symbol.name()));
        }
        Ok(keys)
    }

    /// Returns whether the first line names the columns: it must where a name has to be found. Where all that is needed has a
    /// number, a line without any digit in the place of the price is a header.
    fn has_header(&self, fields: &[String]) -> bool {
        if self.header == Header::Absent {
            return false;
        }
        let number = |role| match self.columns.get(&role) {
            Some(ColumnRef::Index(index)) => Some(*index),
            _ => None,
        };
        let needs_names = number(Role::Time).is_none() || self.symbol.is_none() && number(Role::Symbol).is_none();
        let price = number(Role::Price).and_then(|index| fields.get(index));
        needs_names || price.is_none_or(|price| !price.bytes().any(|byte| byte.is_ascii_digit()))
    }

    fn find(&self, role: Role, names: &[String], has_header: bool) -> Option<usize> {
        let position = |name: &str| names.iter().position(|known| known == name);
        match self.columns.get(&role)? {
            ColumnRef::Index(index) => Some(*index),
            ColumnRef::Name(name) => position(&name.to_lowercase()),
            ColumnRef::AnyOf(_) if !has_header && self.has_default_columns => {
                [Role::Time, Role::Symbol, Role::Price, Role::Size].iter().position(|default| *default == role)
            }
            ColumnRef::AnyOf(known) => known.iter().find_map(|name| position(name)),
            ColumnRef::Absent => None,
        }
    }

    /// Returns whether the header names a candle, and the price is one of its parts or not there at all.
    fn names_candles(&self, names: &[String]) -> bool {
        let plain = |name: &str| name.trim_matches(['<', '>']).to_owned();
        let is_named = |part: &&str| names.iter().any(|name| plain(name) == **part);
        let parts = ["open", "high", "low", "close"];
        let price = self.find(Role::Price, names, true).and_then(|index| names.get(index));
        parts.iter().all(is_named) && price.is_none_or(|price| parts.contains(&plain(price).as_str()))
    }

    fn missing(&self, role: Role, first_line: &[String], has_header: bool) -> ShapeError {
        let hint = Hint(guess(first_line));
        if !has_header {
            return ShapeError::Unnumbered(role.name());
        }
        let looks_like_data = first_line.iter().filter(|field| is_value(field)).count() >= 2;
        match role {
            _ if looks_like_data => ShapeError::NoHeader { seen: shown(&first_line.join(",")), hint },
            Role::Symbol => ShapeError::NoSymbol { seen: listed(first_line), hint },
            _ => ShapeError::Missing { missing: role.name(), seen: listed(first_line), hint },
        }
    }
}

fn no_such_column(role: Role, name: String, first_line: &[String]) -> ShapeError {
    ShapeError::NoSuchColumn { role: role.name(), name, seen: listed(first_line) }
}

fn default_columns(reads_candles: bool) -> BTreeMap<Role, ColumnRef> {
    if reads_candles {
        let times = &["time", "timestamp", "datetime", "unix", "date"];
        return named(&[(Role::Time, times), (Role::Symbol, &["symbol", "ticker"]), (Role::Price, &["close"])]);
    }
    let ids = &["id", "trade_id", "tradeid", "trade id"];
    named(&[
        (Role::Time, &["time"]),
        (Role::Symbol, &["symbol"]),
        (Role::Price, &["price"]),
        (Role::Size, &["size"]),
        (Role::Id, ids),
    ])
}

fn columns_of(format: Format) -> BTreeMap<Role, ColumnRef> {
    use Role::{Class, Date, Id, Price, Size, Symbol, Time};
    match format {
        Format::BinanceAggTrades => numbered(&[(Id, 0), (Price, 1), (Size, 2), (Time, 5)]),
        Format::BinanceTrades => numbered(&[(Id, 0), (Price, 1), (Size, 2), (Time, 4)]),
        // The close is the price at the close time.
        Format::BinanceKlines => numbered(&[(Time, 6), (Price, 4)]),
        Format::Bitcoincharts | Format::Kraken => numbered(&[(Time, 0), (Price, 1), (Size, 2)]),
        Format::KrakenOhlcvt => numbered(&[(Time, 0), (Price, 4)]),
        Format::Bybit => named(&[
            (Time, &["timestamp"]),
            (Symbol, &["symbol"]),
            (Price, &["price"]),
            (Size, &["size"]),
            (Id, &["trdmatchid"]),
        ]),
        Format::Coinbase => named(&[
            (Time, &["created at"]),
            (Symbol, &["product"]),
            (Price, &["price"]),
            (Size, &["size"]),
            (Id, &["trade id"]),
        ]),
        Format::CryptoDataDownload => named(&[
            (Time, &["unix", "unix timestamp", "timestamp", "date"]),
            (Symbol, &["symbol"]),
            (Price, &["close"]),
        ]),
        Format::Kaiko => named(&[
            (Time, &["date", "timestamp"]),
            (Symbol, &["symbol"]),
            (Price, &["price"]),
            (Size, &["amount"]),
            (Id, &["id"]),
        ]),
        Format::Stooq => named(&[
            (Date, &["<date>", "date", "data"]),
            (Time, &["<time>", "time", "czas"]),
            (Symbol, &["<ticker>"]),
            (Price, &["<close>", "close", "zamkniecie"]),
        ]),
        Format::Tardis => named(&[
            (Time, &["timestamp"]),
            (Symbol, &["symbol"]),
            (Price, &["price"]),
            (Size, &["amount"]),
            (Id, &["id"]),
        ]),
        Format::Taq => named(&[
            (Date, &["date"]),
            (Time, &["time_m", "time"]),
            (Symbol, &["sym_root", "symbol"]),
            (Class, &["sym_suffix"]),
            (Price, &["price", "trade_price", "trade price"]),
            (Size, &["size", "trade_volume", "trade volume"]),
        ]),
        Format::Yahoo => named(&[(Time, &["date", "datetime"]), (Symbol, &["symbol", "ticker"]), (Price, &["close"])]),
    }
}

fn named(columns: &[(Role, &'static [&'static str])]) -> BTreeMap<Role, ColumnRef> {
    columns.iter().map(|(role, names)| (*role, ColumnRef::AnyOf(names))).collect()
}

fn numbered(columns: &[(Role, usize)]) -> BTreeMap<Role, ColumnRef> {
    columns.iter().map(|(role, index)| (*role, ColumnRef::Index(*index))).collect()
}

/// Returns the format that the first line looks like.
fn guess(first_line: &[String]) -> Option<Format> {
    let names: Vec<String> = first_line.iter().map(|name| name.trim().to_lowercase()).collect();
    let has = |wanted: &[&str]| wanted.iter().all(|wanted| names.iter().any(|name| name == wanted));
    let is_flag = |field: &String| matches!(field.as_str(), "true" | "false");
    let by_name = [
        (Format::CryptoDataDownload, has(&["unix", "open", "close"]) || has(&["unix timestamp", "open", "close"])),
        (Format::BinanceAggTrades, has(&["agg_trade_id"])),
        (Format::BinanceTrades, has(&["quote_qty", "is_buyer_maker"])),
        (Format::BinanceKlines, has(&["open_time", "close_time"])),
        (Format::Coinbase, has(&["trade id", "product", "created at"])),
        (Format::Taq, has(&["sym_root"]) || has(&["trade price", "trade volume"]) || has(&["g127", "corr"])),
        (Format::Tardis, has(&["local_timestamp", "amount"])),
        (Format::Kaiko, has(&["exchange", "amount", "sell"])),
        (Format::Bybit, has(&["trdmatchid"])),
        (Format::Yahoo, has(&["adj close"])),
        (Format::Stooq, has(&["<ticker>"]) || has(&["date", "open", "high", "low", "close"])),
    ];
    if let Some((format, _)) = by_name.iter().find(|(_, is_it)| *is_it) {
        return Some(*format);
    }
    let values = names.iter().filter(|field| is_value(field)).count();
    match (names.len(), names.last().is_some_and(is_flag)) {
        (7 | 8, true) if names.get(5).is_some_and(|field| is_value(field)) => Some(Format::BinanceAggTrades),
        (6 | 7, true) => Some(Format::BinanceTrades),
        (12, false) if values == 12 => Some(Format::BinanceKlines),
        (7, false) if values == 7 => Some(Format::KrakenOhlcvt),
        (3, false) if values == 3 => Some(Format::Kraken),
        _ => None,
    }
}

/// Returns whether a field is a number or a time, and no name.
fn is_value(field: &str) -> bool {
    let field = field.trim();
    field.bytes().any(|byte| byte.is_ascii_digit())
        && field.bytes().all(|byte| !byte.is_ascii_alphabetic() || b"TZeE".contains(&byte))
}

fn listed(names: &[String]) -> String {
    shown(&names.iter().map(|name| name.trim()).collect::<Vec<_>>().join(","))
}

/// Returns the beginning of a text.
fn shown(text: &str) -> String {
    let mut end = text.len().min(MAX_SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}
