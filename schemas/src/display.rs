//! Numbers, times and rules as text for people.

use crate::{
    Baseline, Condition, Direction, Period, Price, Symbol, Timestamp,
    rule::{Change, PriceThreshold},
};
use rust_decimal::Decimal;

/// Writes a number with thousands separators and its own digits, without zeros behind the second decimal place:
/// `6804.910` is `6,804.91`, `6800` is `6,800`, `0.00001234` stays.
pub fn number(value: Decimal) -> String {
    let mut value = value;
    if value.scale() > 2 {
        let plain = value.normalize();
        value = if plain.scale() > 2 { plain } else { value.round_dp(2) };
    }
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut line = String::from(if value.is_sign_negative() { "-" } else { "" });
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            line.push(',');
        }
        line.push(digit);
    }
    if !fraction.is_empty() {
        line.push('.');
        line.push_str(fraction);
    }
    line
}

/// Returns the currency that a symbol is quoted in: `USD` of `BTC-USD`, none of `SPY` and `BRK.B`.
pub fn currency(symbol: &Symbol) -> Option<&str> {
    symbol.pair().map(|(_, quote)| quote)
}

/// Writes a price with its currency: `6,804.91 USD`.
pub fn price(price: Price, symbol: &Symbol) -> String {
    let number = number(price.decimal());
    match currency(symbol) {
        Some(currency) => format!("{number} {currency}"),
        None => number,
    }
}

/// Writes a change with its sign, rounded half-even to one decimal place, below one percent to two: `+5.2 %`, `-0.25 %`.
pub fn change(percent: Decimal) -> String {
    let places = if percent.abs() < Decimal::ONE { 2 } else { 1 };
    let mut rounded = percent.round_dp(places);
    rounded.rescale(places);
    let sign = if rounded.is_sign_negative() || rounded.is_zero() { "" } else { "+" };
    format!("{sign}{} %", number(rounded))
}

/// Writes a time to the second, for emails: `5 Apr 2018 13:45:00 UTC`. The API and the ledger have the microseconds.
pub fn time_to_the_second(at: Timestamp) -> String {
    at.datetime().format("%-d %b %Y %H:%M:%S UTC").to_string()
}

/// Writes an exact time, with fractions of a second only where there are some: `5 Apr 2018 13:45:00.25 UTC`.
pub fn time(at: Timestamp) -> String {
    at.datetime().format("%-d %b %Y %H:%M:%S%.f UTC").to_string()
}

/// Writes the time between two timestamps, in its two largest units: `2 hours and 5 minutes`.
pub fn elapsed(from: Timestamp, to: Timestamp) -> String {
    let micros = (to.micros() - from.micros()).max(0);
    match micros / 1_000_000 {
        0 if micros == 0 => "no time at all".into(),
        0 => "less than a second".into(),
        seconds => duration(seconds.unsigned_abs()),
    }
}

/// Writes the length of a window or a cooldown.
pub fn period(period: Period) -> String {
    duration(period.as_seconds().into())
}

/// Writes whole seconds in their two largest units that are not zero.
fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let first = UNITS.iter().position(|(length, _)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let (length, unit) = UNITS[first];
    let mut line = count(seconds / length, unit);
    if let Some((length, unit)) = UNITS.get(first + 1)
        && let more @ 1.. = seconds % UNITS[first].0 / length
    {
        line = format!("{line} and {}", count(more, unit));
    }
    line
}

fn count(number: u64, unit: &str) -> String {
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// Describes the condition of a rule, to follow "You asked for an alert when …".
pub fn rule(symbol: &Symbol, condition: &Condition) -> String {
    match condition {
        Condition::Change(Change { percent, direction, since }) => {
            let verb = match direction {
                Direction::Up => "rises",
                Direction::Down => "falls",
                Direction::Any => "changes",
            };
            let percent = number(percent.decimal().normalize());
            format!("{symbol} {verb} by {percent} % or more {}", reference(*since))
        }
        Condition::Price(PriceThreshold::Above(limit)) => format!("{symbol} reaches {} or more", price(*limit, symbol)),
        Condition::Price(PriceThreshold::Below(limit)) => format!("{symbol} reaches {} or less", price(*limit, symbol)),
    }
}

fn reference(since: Baseline) -> String {
    match since {
        Baseline::Previous => "from one price to the next".into(),
        Baseline::Anchor => "since the last alert".into(),
        Baseline::Window(window) => format!("within {}", period(window)),
    }
}

#[cfg(test)]
mod tests {
    use crate::Percent;
    use proptest::prelude::*;

    use super::*;

    fn symbol(text: &str) -> Symbol {
        text.parse().expect("a symbol")
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn numbers_have_separators_and_their_own_digits() {
        for (given, said) in [
            ("6804.91", "6,804.91"),
            ("6804.90", "6,804.90"),
            ("6800", "6,800"),
            ("6800.0", "6,800.0"),
            ("167.4100", "167.41"),
            ("167.0000", "167.00"),
            ("167.4125", "167.4125"),
            ("0.00001234", "0.00001234"),
            ("99999999999999.999999999999", "99,999,999,999,999.999999999999"),
            ("100", "100"),
            ("-1234.5", "-1,234.5"),
        ] {
            assert_eq!(number(decimal(given)), said, "{given}");
        }
    }

    #[test]
    fn a_price_has_the_currency_of_its_symbol() {
        let given: Price = "6804.91".parse().expect("a price");
        assert_eq!(price(given, &symbol("BTC-USD")), "6,804.91 USD");
        assert_eq!(price(given, &symbol("SPY")), "6,804.91");
        assert_eq!(price(given, &symbol("BRK.B")), "6,804.91");
    }

    #[test]
    fn a_change_is_rounded_half_to_even_and_small_ones_keep_two_places() {
        for (given, said) in [
            ("5.2079", "+5.2 %"),
            ("5.2500", "+5.2 %"),
            ("5.3500", "+5.4 %"),
            ("-5.7692", "-5.8 %"),
            ("5", "+5.0 %"),
            ("0.2549", "+0.25 %"),
            ("-0.0100", "-0.01 %"),
            ("0.9999", "+1.00 %"),
            ("1234.5678", "+1,234.6 %"),
        ] {
            assert_eq!(change(decimal(given)), said, "{given}");
        }
    }

    #[test]
    fn times_are_readable_and_exact_where_they_must_be() {
        assert_eq!(time_to_the_second(at("2018-12-31T23:59:59.999999Z")), "31 Dec 2018 23:59:59 UTC");
        assert_eq!(time(at("2018-04-05T13:45:00Z")), "5 Apr 2018 13:45:00 UTC");
        assert_eq!(time(at("2018-04-05T13:45:00.25Z")), "5 Apr 2018 13:45:00.250 UTC");
        assert_eq!(time(at("2018-12-31T23:59:59.000001Z")), "31 Dec 2018 23:59:59.000001 UTC");
    }

    #[test]
    fn elapsed_time_is_said_in_its_two_largest_units() {
        let start = at("2018-04-05T00:00:00Z");
        for (end, said) in [
            ("2018-04-05T00:00:00Z", "no time at all"),
            ("2018-04-05T00:00:00.9Z", "less than a second"),
            ("2018-04-05T00:00:01Z", "1 second"),
            ("2018-04-05T00:02:00Z", "2 minutes"),
            ("2018-04-05T02:05:59Z", "2 hours and 5 minutes"),
            ("2018-04-06T00:00:30Z", "1 day"),
            ("2018-04-08T04:00:00Z", "3 days and 4 hours"),
            ("2018-04-04T00:00:00Z", "no time at all"),
        ] {
            assert_eq!(elapsed(start, at(end)), said, "{end}");
        }
    }

    #[test]
    fn every_condition_has_its_text() {
        let words = |direction, since| {
            let percent: Percent = "5.0".parse().expect("a percentage");
            rule(&symbol("BTC-USD"), &Condition::Change(Change { percent, direction, since }))
        };
        for (direction, since, said) in [
            (Direction::Any, Baseline::Anchor, "BTC-USD changes by 5 % or more since the last alert"),
            (Direction::Up, Baseline::Anchor, "BTC-USD rises by 5 % or more since the last alert"),
            (Direction::Down, Baseline::Anchor, "BTC-USD falls by 5 % or more since the last alert"),
            (Direction::Any, Baseline::Previous, "BTC-USD changes by 5 % or more from one price to the next"),
            (Direction::Up, Baseline::Previous, "BTC-USD rises by 5 % or more from one price to the next"),
            (Direction::Down, Baseline::Previous, "BTC-USD falls by 5 % or more from one price to the next"),
            (Direction::Any, Baseline::Window(Period::HOUR), "BTC-USD changes by 5 % or more within 1 hour"),
            (
                Direction::Up,
                Baseline::Window(Period::seconds(5_400)),
                "BTC-USD rises by 5 % or more within 1 hour and 30 minutes",
            ),
            (Direction::Down, Baseline::Window(Period::seconds(10)), "BTC-USD falls by 5 % or more within 10 seconds"),
        ] {
            assert_eq!(words(direction, since), said);
        }
        let limit: Price = "6800".parse().expect("a price");
        let words = |symbol_text, limit| rule(&symbol(symbol_text), &Condition::Price(limit));
        assert_eq!(words("BTC-USD", PriceThreshold::Above(limit)), "BTC-USD reaches 6,800 USD or more");
        assert_eq!(words("BTC-USD", PriceThreshold::Below(limit)), "BTC-USD reaches 6,800 USD or less");
        assert_eq!(words("SPY", PriceThreshold::Above(limit)), "SPY reaches 6,800 or more");
    }

    proptest! {
        #[test]
        fn a_number_without_its_separators_is_the_number(units in 1_i64.., scale in 0_u32..13) {
            let value = Decimal::new(units, scale);
            prop_assert_eq!(decimal(&number(value).replace(',', "")), value);
        }
    }
}
