//! `tickbell ticks`: shows the ticks of the stream.

use clap::{Args, Subcommand};
use events::{Event, PageTick, Period, Symbol, TickPage, Timestamp, tick::read_page};
use futures::{Stream, StreamExt};
use platform::{Message, ServiceError, broker::stream_follow, clock};
use serde_json::json;

use crate::{
    commands::connect::{broker, settings},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{self, eprint, print},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print ticks as they arrive, one a line: time, venue, symbol, price, size, id
    Tail(TailArguments),
}

#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    /// Only this symbol, like BTC-USD
    symbol: Option<Symbol>,
    /// Begin with what the broker has stored since then: a time like 2018-04-05T13:45:00Z, or for how long, like 5m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<TailStart>,
    #[command(flatten)]
    output: OutputOptions,
}

/// When what is printed begins.
#[derive(Debug, Clone, Copy)]
enum TailStart {
    Time(Timestamp),
    Ago(Period),
}

fn since(text: &str) -> Result<TailStart, String> {
    if let Ok(time) = text.parse() {
        return Ok(TailStart::Time(time));
    }
    let hint = "must be a time like 2018-04-05T13:45:00Z, or a whole number with a unit, like 30s, 5m or 4h";
    text.parse().map(TailStart::Ago).map_err(|_| hint.to_owned())
}

pub(crate) async fn run(options: &GlobalOptions, Command::Tail(arguments): Command) -> anyhow::Result<Exit> {
    let TailArguments { symbol, since, output } = arguments;
    let broker = broker(&settings(options)?).await?;
    let since = since.map(|since| match since {
        TailStart::Time(time) => time,
        TailStart::Ago(period) => clock::now().before(period, Period::SECOND).unwrap_or(Timestamp::EPOCH),
    });
    let symbol = symbol.map_or_else(|| "*".to_owned(), |symbol| symbol.subject_token().into_owned());
    let messages = stream_follow::follow(&broker, "TICKS", &format!("ticks.*.{symbol}"), since).await?;
    tail(messages, &output).await?;
    Ok(Exit::Done)
}

/// Prints what arrives, until whoever reads the lines has gone.
async fn tail(
    messages: impl Stream<Item = Result<Message, ServiceError>>,
    output: &OutputOptions,
) -> Result<(), ServiceError> {
    let mut messages = std::pin::pin!(messages);
    while !print::is_closed()
        && let Some(message) = messages.next().await
    {
        let message = message?;
        match message.read(TickPage::TYPE, |body| lines(body, message.sequence, output.json)) {
            Ok(lines) => lines.iter().for_each(|line| print(line)),
            Err(error) => eprint(&format!("Message {} is no page of ticks: {error}", message.sequence)),
        }
    }
    Ok(())
}

/// Returns a line for each tick of a page. A tick that cannot be read is left out: the history-writer gives it up.
fn lines(body: &[u8], sequence: u64, is_json: bool) -> Result<Vec<String>, serde_json::Error> {
    let mut ticks = Vec::new();
    let mut index = 0_u16;
    let head = read_page(body, |tick| {
        if let Ok(PageTick { id, at, price, size }) = tick {
            ticks.push((index, PageTick { id: id.to_owned(), at, price, size }));
        }
        index += 1;
    })?;
    let line = |(index, PageTick { id, at, price, size }): (u16, PageTick)| {
        if is_json {
            let tick = json!({
                "at": at, "venue": head.venue, "symbol": head.symbol, "price": price, "size": size, "id": id,
                "kind": head.kind, "source": head.source, "received_at": head.received_at,
                "stream_sequence": sequence, "stream_index": index,
            });
            return tick.to_string();
        }
        let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        format!("{at} {} {} {price} {size} {}", head.venue, head.symbol, id.escape_debug())
    };
    Ok(ticks.into_iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"venue":"test","symbol":"BTC-USD","kind":"trade","source":"live","received_at":"2018-04-05T13:45:00Z",
        "ticks":[{"id":"7","at":"2018-04-05T13:45:00.0019Z","price":"6804.90","size":"0.5"},{"id":"8"},
                 {"id":"a\nb","at":"2018-04-05T13:45:01Z","price":"5","size":null}]}"#;

    #[test]
    fn each_tick_is_a_line_for_people_or_programs() {
        let text = lines(PAGE.as_bytes(), 17, false).expect("a page");
        assert_eq!(
            text,
            [
                "2018-04-05T13:45:00.001900Z test BTC-USD 6804.90 0.5 7",
                r"2018-04-05T13:45:01.000000Z test BTC-USD 5 - a\nb",
            ]
        );
        let json = lines(PAGE.as_bytes(), 17, true).expect("a page");
        let last: serde_json::Value = serde_json::from_str(&json[1]).expect("JSON");
        assert_eq!(
            (&last["stream_sequence"], &last["stream_index"], &last["size"]),
            (&json!(17), &json!(2), &json!(null))
        );
        assert!(lines(b"{}", 17, false).is_err());
    }

    #[test]
    fn a_beginning_is_a_time_or_how_long_ago() {
        assert!(matches!(since("2018-04-05T13:45:00Z"), Ok(TailStart::Time(_))));
        assert!(matches!(since("5m"), Ok(TailStart::Ago(period)) if period == Period::seconds(300)));
        assert!(since("yesterday").is_err_and(|error| error.contains("like 30s")));
    }
}
