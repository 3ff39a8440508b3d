//! Random schedules of connections, holes and requests against a judge that knows every trade.

use std::collections::BTreeSet;

use events::Timestamp;
use proptest::prelude::*;

use super::{Admission, Continuity, FillOutcome, GapReason, GapReport, GapState, Missing, Origin};
use crate::sources::exchange::{adapter::TradeIds, message::TradeId};

fn at(id: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(id).expect("small") * 1_000_000).expect("a time")
}

fn admit(continuity: &mut Continuity, id: u64, origin: Origin) -> bool {
    continuity.admit(&TradeId::number(id), at(id), origin) == Admission::New
}

fn said(reports: &[GapReport]) -> Vec<String> {
    let second = |time: Timestamp| time.micros() / 1_000_000;
    let number = |id: Option<u64>| id.map_or("?".to_owned(), |id| id.to_string());
    let line = |report: &GapReport| {
        let GapReport { from, to, first_missing_id, last_missing_id, reason, state, filled, .. } = report;
        let (first, last) = (number(*first_missing_id), number(*last_missing_id));
        let to = to.map_or("?".to_owned(), |to| second(to).to_string());
        format!("{state:?} {reason:?} {first}..{last} between {} and {to}, {filled} filled", second(*from))
    };
    reports.iter().map(line).collect()
}

fn followed(ids: impl IntoIterator<Item = u64>) -> Continuity {
    let mut continuity = Continuity::new(TradeIds::Contiguous);
    for id in ids {
        assert!(admit(&mut continuity, id, Origin::Live), "{id}");
    }
    continuity
}

#[test]
fn an_id_that_jumps_opens_a_gap_with_exact_bounds_and_its_trades_fill_it() {
    let mut continuity = followed([10, 11, 15]);
    assert_eq!(said(&continuity.take_reports()), ["Open MissedIds 12..14 between 11 and ?, 0 filled"]);
    let missing = continuity.begin_filling(true).expect("a gap");
    assert_eq!((missing.first_id, missing.last_id), (Some(12), Some(14)));
    for (id, is_new) in [(11, false), (12, true), (13, true), (13, false), (14, true), (15, false), (16, false)] {
        assert_eq!(admit(&mut continuity, id, Origin::Rest), is_new, "{id}");
    }
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    let expected =
        ["Filling MissedIds 12..14 between 11 and 15, 0 filled", "Filled MissedIds 12..14 between 11 and 15, 3 filled"];
    assert_eq!(said(&continuity.take_reports()), expected);
    assert!(admit(&mut continuity, 16, Origin::Live), "what only a request has seen comes by the connection");
}

#[test]
fn what_the_venue_does_not_offer_is_unfillable() {
    let mut continuity = followed([10, 15]);
    let missing = continuity.begin_filling(true).expect("a gap");
    assert!(admit(&mut continuity, 12, Origin::Rest));
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    let last = continuity.take_reports().pop().expect("a report");
    assert_eq!(said(&[last]), ["Unfillable MissedIds 11..14 between 10 and 15, 1 filled"]);
    assert!(!continuity.has_open_gap(true) && !admit(&mut continuity, 13, Origin::Rest));
}

#[test]
fn holes_before_anything_is_asked_for_are_one_gap() {
    let mut continuity = followed([10, 12, 14, 16]);
    assert_eq!(continuity.take_reports().len(), 1);
    let missing = continuity.begin_filling(true).expect("a gap");
    assert_eq!((missing.first_id, missing.last_id), (Some(11), Some(15)));
    assert!([11, 13, 15].iter().all(|id| admit(&mut continuity, *id, Origin::Rest)));
    assert_eq!(
        said(&continuity.take_reports()).pop().expect("a report"),
        "Filled MissedIds 11..15 between 10 and 16, 3 filled"
    );
}

#[test]
fn a_lost_connection_is_a_gap_until_the_next_trade_says_what_was_missed() {
    let mut continuity = followed([10]);
    continuity.disconnect(GapReason::Disconnected);
    continuity.disconnect(GapReason::Stale);
    assert!(continuity.begin_filling(false).is_none(), "its end is not known while nobody listens");
    assert!(admit(&mut continuity, 11, Origin::Live));
    let expected =
        ["Open Disconnected 11..? between 10 and ?, 0 filled", "Filled Disconnected 11..? between 10 and 11, 0 filled"];
    assert_eq!(said(&continuity.take_reports()), expected);

    continuity.disconnect(GapReason::Stale);
    let missing = continuity.begin_filling(true).expect("a gap");
    assert_eq!((missing.first_id, missing.last_id, missing.to), (Some(12), None, None));
    assert!([12, 13].iter().all(|id| admit(&mut continuity, *id, Origin::Rest)));
    assert!(admit(&mut continuity, 16, Origin::Live) && admit(&mut continuity, 14, Origin::Rest));
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    let missing = continuity.begin_filling(true).expect("what was missed meanwhile");
    assert_eq!((missing.first_id, missing.last_id, missing.to), (Some(15), Some(15), Some(at(16))));
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    let last = continuity.take_reports().pop().expect("a report");
    assert_eq!(said(&[last]), ["Unfillable Stale 15..15 between 11 and 16, 3 filled"]);

    // A restart loses nothing of it, and neither does a trade that only a request has brought.
    continuity.disconnect(GapReason::Disconnected);
    assert!(continuity.begin_filling(true).is_some() && admit(&mut continuity, 18, Origin::Rest));
    let stored = serde_json::to_string(&continuity.checkpoint().expect("trades")).expect("JSON");
    let mut continuity = Continuity::restore(TradeIds::Contiguous, serde_json::from_str(&stored).expect("JSON"));
    assert!(admit(&mut continuity, 17, Origin::Rest) && admit(&mut continuity, 19, Origin::Live));
    let last = continuity.take_reports().pop().expect("a report");
    assert_eq!(said(&[last]), ["Filled Disconnected 17..18 between 16 and 19, 2 filled"]);
}

#[test]
fn what_is_missed_while_a_gap_is_filled_is_asked_for_too() {
    // The request was answered before 12 to 15 were traded, and the answer arrives after 16.
    let lost: fn(&mut Continuity) = |_| {};
    let cut: fn(&mut Continuity) = |continuity| continuity.disconnect(GapReason::Stale);
    for happens in [lost, cut] {
        let mut continuity = followed([10]);
        continuity.disconnect(GapReason::Disconnected);
        let missing = continuity.begin_filling(true).expect("a gap");
        happens(&mut continuity);
        assert!(admit(&mut continuity, 16, Origin::Live) && admit(&mut continuity, 11, Origin::Rest));
        continuity.end_filling(missing.gap, FillOutcome::Exhausted);
        let missing = continuity.begin_filling(true).expect("the rest of the gap");
        assert_eq!((missing.first_id, missing.last_id), (Some(12), Some(15)));
        assert!((12..=14).all(|id| admit(&mut continuity, id, Origin::Rest)));
        continuity.end_filling(missing.gap, FillOutcome::Exhausted);
        let last = continuity.take_reports().pop().expect("a report");
        assert_eq!(said(&[last]), ["Unfillable Disconnected 15..15 between 10 and 16, 4 filled"]);
    }
    let mut continuity = followed([10]);
    continuity.disconnect(GapReason::Disconnected);
    let missing = continuity.begin_filling(true).expect("a gap");
    (0..2).for_each(|_| continuity.hear_last(12));
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    assert_eq!(continuity.begin_filling(true).and_then(|missing| missing.first_id), Some(11));
}

#[test]
fn what_happened_while_no_process_ran_is_a_gap() {
    let continuity = followed([10, 11, 13]);
    let checkpoint = continuity.checkpoint().expect("trades");
    let stored = serde_json::to_string(&checkpoint).expect("JSON");
    let mut restored = Continuity::restore(TradeIds::Contiguous, serde_json::from_str(&stored).expect("JSON"));
    assert!(!admit(&mut restored, 11, Origin::Live), "a repeat across a restart");
    assert!(admit(&mut restored, 20, Origin::Live));
    assert_eq!(restored.open_gaps(), 2);
    let reports = said(&restored.take_reports());
    assert_eq!(reports, ["Open Down 14..? between 13 and ?, 0 filled"]);
    assert_eq!(restored.begin_filling(true).map(|missing| missing.first_id), Some(Some(12)));
    assert_eq!(
        restored.begin_filling(true).map(|missing| (missing.first_id, missing.last_id)),
        Some((Some(14), Some(19)))
    );
}

#[test]
fn a_heartbeat_that_names_a_trade_twice_opens_a_gap_and_zero_names_none() {
    let mut continuity = followed([10]);
    continuity.hear_last(12);
    assert_eq!(continuity.open_gaps(), 0, "the trade may be on its way");
    continuity.hear_last(12);
    assert_eq!(said(&continuity.take_reports()), ["Open MissedIds 11..12 between 10 and ?, 0 filled"]);
    assert!(admit(&mut continuity, 13, Origin::Live) && admit(&mut continuity, 12, Origin::Live));
}

#[test]
fn a_message_that_stands_for_several_trades_counts_each_once() {
    let range = |continuity: &mut Continuity, first, last| {
        continuity.admit(&TradeId::Numbers { first, last }, at(last), Origin::Live) == Admission::New
    };
    let mut continuity = followed([7]);
    assert!(range(&mut continuity, 8, 10) && !range(&mut continuity, 8, 10) && !range(&mut continuity, 9, 9));
    assert_eq!(continuity.open_gaps(), 0);
    assert!(
        range(&mut continuity, 14, 15) && range(&mut continuity, 11, 12) && admit(&mut continuity, 13, Origin::Rest)
    );
    assert_eq!(continuity.open_gaps(), 0);
    // One that reaches beyond what is published: the rest is asked for one by one.
    assert!(!range(&mut continuity, 15, 17));
    assert!(admit(&mut continuity, 16, Origin::Rest) && admit(&mut continuity, 17, Origin::Rest));
}

#[test]
fn a_venue_without_usable_ids_has_gaps_in_time() {
    let mut continuity = Continuity::new(TradeIds::TimeBased);
    let named = |continuity: &mut Continuity, name: &str, second, origin| {
        continuity.admit(&TradeId::Name(name.to_owned().into()), at(second), origin) == Admission::New
    };
    assert!(named(&mut continuity, "a", 10, Origin::Live) && !named(&mut continuity, "a", 10, Origin::Live));
    continuity.disconnect(GapReason::Disconnected);
    assert!(named(&mut continuity, "d", 20, Origin::Live));
    let missing = continuity.begin_filling(true).expect("a gap");
    assert_eq!((missing.from, missing.to), (at(10), Some(at(20))));
    for (name, second, is_new) in
        [("z", 5, false), ("a", 10, false), ("b", 10, true), ("c", 19, true), ("e", 21, false)]
    {
        assert_eq!(named(&mut continuity, name, second, Origin::Rest), is_new, "{name}");
    }
    continuity.end_filling(missing.gap, FillOutcome::Exhausted);
    continuity.disconnect(GapReason::Stale);
    assert!(named(&mut continuity, "f", 30, Origin::Live));
    let missing = continuity.begin_filling(true).expect("a gap");
    continuity.end_filling(missing.gap, FillOutcome::NotOffered);
    let states: Vec<GapState> = continuity.take_reports().iter().map(|report| report.state).collect();
    assert_eq!(
        states,
        [GapState::Open, GapState::Filling, GapState::Filled, GapState::Open, GapState::Filling, GapState::Unfillable]
    );
}

#[test]
fn a_gap_without_an_end_is_not_asked_for_again_where_the_venue_has_no_past_trades() {
    let asked = || {
        let mut continuity = followed([10]);
        continuity.disconnect(GapReason::Disconnected);
        let missing = continuity.begin_filling(true).expect("a gap");
        continuity.end_filling(missing.gap, FillOutcome::NotOffered);
        assert!(!continuity.has_open_gap(true) && continuity.begin_filling(true).is_none());
        assert_eq!(
            (continuity.take_reports().len(), continuity.open_gaps()),
            (2, 1),
            "it is open, and nothing new is said"
        );
        continuity
    };
    // The next trade ends it, and says how far it goes.
    let mut continuity = asked();
    assert!(admit(&mut continuity, 11, Origin::Live));
    assert_eq!(said(&continuity.take_reports()), ["Filled Disconnected 11..? between 10 and 11, 0 filled"]);
    let mut continuity = asked();
    assert!(admit(&mut continuity, 14, Origin::Live));
    let missing = continuity.begin_filling(true).expect("what is missing is known now");
    assert_eq!((missing.first_id, missing.last_id), (Some(11), Some(13)));
    continuity.end_filling(missing.gap, FillOutcome::NotOffered);
    let last = continuity.take_reports().pop().expect("a report");
    assert_eq!(said(&[last]), ["Unfillable Disconnected 11..13 between 10 and 14, 0 filled"]);
    // What else shows that something was missed lets it be asked for again.
    let mut continuity = asked();
    (0..2).for_each(|_| continuity.hear_last(12));
    assert_eq!(continuity.begin_filling(true).and_then(|missing| missing.first_id), Some(11));
    let mut continuity = asked();
    continuity.disconnect(GapReason::Stale);
    assert!(continuity.begin_filling(true).is_some());
    let checkpoint = asked().checkpoint().expect("trades");
    assert!(Continuity::restore(TradeIds::Contiguous, checkpoint).begin_filling(true).is_some());
}

#[test]
fn gaps_in_time_that_begin_at_one_time_have_identities_of_their_own() {
    let mut continuity = Continuity::new(TradeIds::TimeBased);
    let mut bounds = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let id = TradeId::Name(name.into());
        assert_eq!(continuity.admit(&id, at(10), Origin::Live), Admission::New);
        if let Some(missing) = continuity.begin_filling(true) {
            continuity.end_filling(missing.gap, FillOutcome::Exhausted);
        }
        continuity.disconnect(GapReason::Disconnected);
        bounds.extend(continuity.take_reports().iter().map(|report| report.lower_bound));
    }
    assert_eq!(bounds.len(), 3);
}

/// What happens to a feed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The market makes trades; the connection brings those that are not lost.
    Trades {
        count: u64,
        lost: u64,
        is_reversed: bool,
    },
    Disconnect,
    Reconnect,
    /// A gap is asked for. The venue has lost every trade whose id is a multiple of a number.
    Ask,
    /// What the venue had when it was asked arrives, or the request has failed and is made again.
    Answer {
        fails: bool,
    },
    Restart,
    Repeat,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u64, any::<u64>(), any::<bool>())
            .prop_map(|(count, lost, is_reversed)| Step::Trades { count, lost: lost & lost >> 1, is_reversed }),
        1 => Just(Step::Disconnect),
        2 => Just(Step::Reconnect),
        2 => Just(Step::Ask),
        2 => any::<bool>().prop_map(|fails| Step::Answer { fails }),
        1 => Just(Step::Restart),
        1 => Just(Step::Repeat),
    ]
}

proptest! {
    #[test]
    fn every_trade_that_was_sent_or_is_offered_comes_out_once(steps in prop::collection::vec(step(), 1..80), holes in 3..9_u64) {
        let mut continuity = Continuity::new(TradeIds::Contiguous);
        let (mut newest, mut is_live, mut published, mut sent) = (0, true, BTreeSet::new(), BTreeSet::new());
        let mut open: BTreeSet<u64> = BTreeSet::new();
        let mut take = |continuity: &mut Continuity, id: u64, origin| {
            // The first trade begins the feed, so that it may be any.
            if admit(continuity, id, origin) {
                assert!(published.insert(id), "{id} came out twice");
            }
        };
        // What was asked for, and what there was to answer then.
        let mut asked: Option<(u64, Vec<u64>)> = None;
        let ask = |missing: Missing, newest: u64| {
            let first = missing.first_id.expect("ids");
            let offered = (first..=missing.last_id.unwrap_or(newest)).filter(|id| id % holes != 0);
            (missing.gap, offered.collect())
        };
        let answer = |continuity: &mut Continuity, (gap, ids): (u64, Vec<u64>), take: &mut dyn FnMut(&mut Continuity, u64, Origin)| {
            ids.into_iter().for_each(|id| take(continuity, id, Origin::Rest));
            continuity.end_filling(gap, FillOutcome::Exhausted);
        };
        for step in steps {
            match step {
                Step::Trades { count, lost, is_reversed } => {
                    let mut ids: Vec<u64> = (newest + 1..=newest + count).collect();
                    newest += count;
                    if is_reversed && !sent.is_empty() {
                        ids.reverse();
                    }
                    if is_live {
                        let arrive = ids.into_iter().filter(|id| lost >> (id % 64) & 1 == 0);
                        for id in arrive {
                            sent.insert(id);
                            take(&mut continuity, id, Origin::Live);
                        }
                    }
                }
                Step::Disconnect if is_live => {
                    is_live = false;
                    continuity.disconnect(GapReason::Disconnected);
                }
                Step::Reconnect => is_live = true,
                Step::Ask if asked.is_none() => {
                    asked = continuity.begin_filling(is_live).map(|missing| ask(missing, newest));
                }
                Step::Answer { fails } => match asked.take() {
                    Some((gap, _)) if fails => {
                        asked = continuity.still_missing(gap).map(|missing| ask(missing, newest));
                    }
                    Some(asked) => answer(&mut continuity, asked, &mut take),
                    None => {}
                },
                Step::Restart => {
                    asked = None;
                    if let Some(checkpoint) = continuity.checkpoint() {
                        continuity = Continuity::restore(TradeIds::Contiguous, checkpoint);
                    }
                }
                Step::Repeat => {
                    for id in &sent {
                        take(&mut continuity, *id, Origin::Live);
                    }
                }
                Step::Disconnect | Step::Ask => {}
            }
            for report in continuity.take_reports() {
                match report.state {
                    GapState::Open => open.insert(report.lower_bound),
                    GapState::Filled | GapState::Unfillable => open.remove(&report.lower_bound),
                    GapState::Filling => false,
                };
                prop_assert!(report.to.is_none_or(|to| to >= report.from));
                let (first, last) = (report.first_missing_id.expect("ids"), report.last_missing_id);
                let is_known = report.filled > 0 && report.state == GapState::Filled || report.state == GapState::Unfillable;
                prop_assert!(last.is_some() || !is_known, "{:?}", report);
                prop_assert!(last.is_none_or(|last| last >= first && last <= newest), "{:?}", report);
            }
        }
        // In the end the market makes one more trade, and all gaps are asked for.
        newest += 1;
        sent.insert(newest);
        take(&mut continuity, newest, Origin::Live);
        while let Some(asked) = asked.take().or_else(|| Some(ask(continuity.begin_filling(true)?, newest))) {
            answer(&mut continuity, asked, &mut take);
        }
        let first = published.first().copied().expect("the last trade");
        for id in first..=newest {
            prop_assert!(published.contains(&id) || !sent.contains(&id) && id % holes == 0, "{} is missing", id);
        }
        prop_assert_eq!(continuity.open_gaps(), 0);
    }
}
