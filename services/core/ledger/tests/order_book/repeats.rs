//! Repeats of ticks, which the settler holds back from the book by the filter of market data.

use events::Tick;
use ledger::rows::{OrderState, TradeRow, TransferRow};
use market_data::{StoredTick, TickFilter};
use proptest::{prelude::*, sample::Index};
use serde_json::json;

use crate::harness::{Harness, tick};

#[derive(Debug, Clone)]
enum Step {
    Tick {
        after: i64,
        cents: u32,
    },
    Place {
        is_buy: bool,
        kind: u8,
        cents: u32,
    },
    Restart,
    /// One of the last ticks once more; left out of the run without repeats.
    Repeat(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cents = || 495_000..505_000_u32;
    let step = prop_oneof![
        6 => (prop_oneof![2 => Just(0), 2 => 1..3_i64, 1 => -2..0_i64], cents())
            .prop_map(|(after, cents)| Step::Tick { after, cents }),
        3 => (any::<bool>(), 0..3_u8, cents()).prop_map(|(is_buy, kind, cents)| Step::Place { is_buy, kind, cents }),
        1 => Just(Step::Restart),
        6 => any::<Index>().prop_map(Step::Repeat),
    ];
    prop::collection::vec(step, 1..80)
}

/// Applies the steps as the settler does and returns what it has saved.
fn run(steps: &[Step], with_repeats: bool) -> (Vec<TradeRow>, Vec<OrderState>, Vec<TransferRow>) {
    let (mut harness, mut filter, mut saved) = (Harness::funded(), TickFilter::default(), Vec::new());
    let (mut ticks, mut at): (Vec<Tick>, _) = (Vec::new(), 1);
    let apply = |harness: &mut Harness, filter: &mut TickFilter, ticks: &[Tick], index: usize| {
        // The first tick of the harness is number 1.
        let number = index as u64 + 2;
        let id = number.to_string();
        let tick = StoredTick::of(&ticks[index], &id, number, 0);
        if filter.admits(&tick) {
            harness.book.apply_tick(&tick, tick.at);
            harness.save();
        }
    };
    for step in steps {
        match step {
            Step::Tick { after, cents } => {
                at += after;
                ticks.push(tick("BTC-USD", &price(*cents), at.max(1)));
                apply(&mut harness, &mut filter, &ticks, ticks.len() - 1);
            }
            Step::Repeat(index) if with_repeats && !ticks.is_empty() => {
                let recent = ticks.len().min(5);
                apply(&mut harness, &mut filter, &ticks, ticks.len() - 1 - index.index(recent));
            }
            Step::Repeat(_) => {}
            Step::Place { is_buy, kind, cents } => {
                let side = if *is_buy { "buy" } else { "sell" };
                _ = harness.place(match kind {
                    0 => json!({ "side": side, "type": "market", "size": "0.01" }),
                    1 => json!({ "side": side, "type": "limit", "size": "0.01", "price": price(*cents) }),
                    _ => json!({ "side": side, "type": "stop", "size": "0.01", "stop_price": price(*cents) }),
                });
            }
            Step::Restart => {
                harness.restart();
                let changed = filter.take_changes();
                saved = if changed.is_empty() { saved } else { changed };
                filter = TickFilter::restore(saved.clone());
            }
        }
    }
    let mut orders: Vec<_> = harness.store.orders.into_values().collect();
    orders.sort_by_key(|order| order.order_id);
    (harness.store.trades.into_values().collect(), orders, harness.store.transfers)
}

fn price(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn repeats_anywhere_change_no_trade_no_order_and_no_transfer(steps in steps()) {
        prop_assert_eq!(run(&steps, true), run(&steps, false));
    }
}
