//! `tickbell ledger`: whether the money is right.

use std::io::{IsTerminal, stderr};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use trade_settler::verify::{Report, verify};

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
    },
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let Command::Verify { output, without_streams } = command;
    let settings = settings(common)?;
    let store = store(&settings).await?;
    let broker = if without_streams { None } else { Some(broker(&settings).await?) };
    let bar = bar();
    let progress = |seen, all| {
        bar.set_length(all);
        bar.set_position(seen);
    };
    let report = verify(&store, broker.as_ref(), progress).await?;
    bar.finish_and_clear();
    say(&if output.json { as_json(&report) } else { in_words(&report) });
    let Some(first) = report.findings.first() else { return Ok(Exit::Done) };
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
    let findings = report.findings.iter().map(|finding| json!({ "row": finding.row, "wrong": finding.wrong }));
    let findings: Vec<_> = findings.collect();
    let Report { postings, orders, streamed, head, .. } = report;
    json!({
        "right": findings.is_empty(), "postings": postings, "orders": orders, "orders_of_the_stream": streamed,
        "head": head, "findings": findings,
    })
    .to_string()
}

fn in_words(report: &Report) -> String {
    let Report { postings, orders, streamed, head, findings } = report;
    let seen = format!("{postings} postings, {orders} orders, {streamed} orders of the stream.");
    if findings.is_empty() {
        let head = if head.is_empty() { String::new() } else { format!("\nThe last posting's hash is {head}.") };
        return format!("The ledger is right: {seen}{head}");
    }
    let mut lines = vec![format!("The ledger is WRONG in {} rows: {seen}", findings.len())];
    lines.extend(findings.iter().take(NAMED).map(|finding| format!("  {finding}")));
    if findings.len() > NAMED {
        lines.push(format!("  and {} more; --json names all", findings.len() - NAMED));
    }
    lines.join("\n")
}
