//! `tickbell ledger`: verifies the ledger.

use std::io::{IsTerminal, stderr};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::hash_chain::Hash;
use serde_json::json;
use trade_settler::verify::{Report, VerifyOptions, verify};

use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{eprint, print},
};

/// The number of wrong rows that are printed.
const MAX_PRINTED: usize = 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Recompute every balance and every hash, and compare postings, orders, holds, trades and the stream of orders
    Verify {
        #[command(flatten)]
        output: OutputOptions,
        /// Skip the comparison with the stream of orders; no broker is needed then
        #[arg(long)]
        without_streams: bool,
        /// Hash of a posting that was the last one earlier; fail if no posting has this hash any more
        #[arg(long, value_name = "HEX", value_parser = parse_hash)]
        head: Option<Hash>,
    },
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    let mut hash = Hash::default();
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * hash.len());
    let digits = digits.ok_or("must be the hash of a posting: 64 hexadecimal digits")?;
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| 16 * byte + digit);
    }
    Ok(hash)
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let Command::Verify { output, without_streams, head } = command;
    let settings = settings(options)?;
    let store = store(&settings).await?;
    let broker = if without_streams { None } else { Some(broker(&settings).await?) };
    let bar = progress_bar();
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let options = VerifyOptions { broker: broker.as_ref(), expected_hash: head.map(Vec::from) };
    let report = verify(&store, options, progress).await?;
    bar.finish_and_clear();
    print(&if output.json { to_json(&report) } else { to_text(&report) });
    let Some(first) = report.findings.named.first() else { return Ok(Exit::Done) };
    if !output.json {
        eprint(&format!("First wrong row: {first}"));
    }
    Ok(Exit::Failed)
}

fn progress_bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} postings, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn to_json(report: &Report) -> String {
    let findings = report.findings.named.iter().map(|finding| json!({ "row": finding.row, "problem": finding.wrong }));
    let findings: Vec<_> = findings.collect();
    let Report { postings, orders, streamed, deposits, head, .. } = report;
    json!({
        "ok": findings.is_empty(), "postings": postings, "orders": orders, "stream_orders": streamed,
        "stream_deposits": deposits, "head": head, "findings": findings, "more": report.findings.more,
    })
    .to_string()
}

fn to_text(report: &Report) -> String {
    let Report { postings, orders, streamed, deposits, head, findings } = report;
    let stream = format!("{streamed} orders and {deposits} deposits from the stream");
    let verified = format!("{postings} postings, {orders} orders, {stream}.");
    if findings.count() == 0 {
        let head = if head.is_empty() { String::new() } else { format!("\nHash of the last posting: {head}") };
        return format!("The ledger is consistent. Verified {verified}{head}");
    }
    let mut lines = vec![format!("The ledger is INCONSISTENT in {} rows. Verified {verified}", findings.count())];
    lines.extend(findings.named.iter().take(MAX_PRINTED).map(|finding| format!("  {finding}")));
    let more = findings.count().saturating_sub(MAX_PRINTED as u64);
    if more > 0 {
        lines.push(format!("  and {more} more; --json lists up to 10,000"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_parsed_from_its_printed_form() {
        let hash: Hash = std::array::from_fn(|index| 7 * index as u8);
        assert_eq!(parse_hash(&ledger::hash_chain::hex(&hash)), Ok(hash));
        for bad in ["", "00", &"0g".repeat(32), &"00".repeat(33)] {
            parse_hash(bad).expect_err(bad);
        }
    }
}
