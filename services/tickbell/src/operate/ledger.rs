//! `tickbell ledger`: whether the money is right.

use std::io::{IsTerminal, stderr};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::hash_chain::Hash;
use serde_json::json;
use trade_settler::verify::{Report, VerifyOptions, verify};

use super::{broker, settings, store};
use crate::{
    cli::{Common, Output},
    exit::Exit,
    print::{complain, say},
};

/// How many wrong rows are named.
const NAMED: usize = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Re-compute every balance and every hash from the rows, and compare orders, holds, trades and the stream of orders
    Verify {
        #[command(flatten)]
        output: Output,
        /// Do not compare the stream of orders with the tables, where there is no broker
        #[arg(long)]
        without_streams: bool,
        /// The last posting's hash as it was noted once: fail unless that posting is there still
        #[arg(long, value_name = "HEX", value_parser = head)]
        head: Option<Hash>,
    },
}

fn head(text: &str) -> Result<Hash, String> {
    let mut hash = Hash::default();
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * hash.len());
    let digits = digits.ok_or("must be the 64 hexadecimal digits of a posting's hash")?;
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| 16 * byte + digit);
    }
    Ok(hash)
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let Command::Verify { output, without_streams, head } = command;
    let settings = settings(common)?;
    let store = store(&settings).await?;
    let broker = if without_streams { None } else { Some(broker(&settings).await?) };
    let bar = bar();
    let progress = |seen, all| {
        bar.set_length(all);
        bar.set_position(seen);
    };
    let options = VerifyOptions { broker: broker.as_ref(), expected_hash: head.map(Vec::from) };
    let report = verify(&store, options, progress).await?;
    bar.finish_and_clear();
    say(&if output.json { as_json(&report) } else { in_words(&report) });
    let Some(first) = report.findings.named.first() else { return Ok(Exit::Done) };
    if !output.json {
        complain(&format!("The first row that is wrong is {first}."));
    }
    Ok(Exit::Failed)
}

fn bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} postings, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn as_json(report: &Report) -> String {
    let findings = report.findings.named.iter().map(|finding| json!({ "row": finding.row, "wrong": finding.wrong }));
    let findings: Vec<_> = findings.collect();
    let Report { postings, orders, streamed, deposits, head, .. } = report;
    json!({
        "right": findings.is_empty(), "postings": postings, "orders": orders, "orders_of_the_stream": streamed,
        "deposits_of_the_stream": deposits, "head": head, "findings": findings, "more": report.findings.more,
    })
    .to_string()
}

fn in_words(report: &Report) -> String {
    let Report { postings, orders, streamed, deposits, head, findings } = report;
    let stream = format!("{streamed} orders and {deposits} deposits of the stream");
    let seen = format!("{postings} postings, {orders} orders, {stream}.");
    if findings.count() == 0 {
        let head = if head.is_empty() { String::new() } else { format!("\nThe last posting's hash is {head}.") };
        return format!("The ledger is right: {seen}{head}");
    }
    let mut lines = vec![format!("The ledger is WRONG in {} rows: {seen}", findings.count())];
    lines.extend(findings.named.iter().take(NAMED).map(|finding| format!("  {finding}")));
    let more = findings.count().saturating_sub(NAMED as u64);
    if more > 0 {
        lines.push(format!("  and {more} more; --json names up to ten thousand"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_said() {
        let hash: Hash = std::array::from_fn(|index| 7 * index as u8);
        assert_eq!(head(&ledger::hash_chain::hex(&hash)), Ok(hash));
        for bad in ["", "00", &"0g".repeat(32), &"00".repeat(33)] {
            head(bad).expect_err(bad);
        }
    }
}
