//! Judges gaps once their ticks are in the history, beside the evaluation of new ticks.
//!
//! The runner evaluates no ticks while a gap is looked up and while its verdicts are saved, which are a few short statements. Reading
//! and judging the ticks of the gap happens in a task of its own. The transaction that saves the verdicts also saves that the gap is
//! judged, so that a gap is judged once, whatever stops in between and however often its report is read.

use std::time::Duration;

use events::Timestamp;
use platform::{ServiceError, runtime::error::error_chain};
use rules::{Engine, GapReview, GapStage, LateDecision, MarketGap, PastTick};
use store::{
    Error, Store,
    rules::{
        late::{self, firings_around, firings_between},
        past_ticks,
    },
};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::SERVICE;

/// The interval at which the runner looks for a gap to judge.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The number of ticks of a gap that are read at a time.
const TICKS_AT_A_TIME: usize = 5_000;

/// The gap that is being judged, if there is one.
#[derive(Default)]
pub(crate) struct LateVerdicts {
    judging: JoinSet<(MarketGap, Result<Vec<LateDecision>, Error>)>,
}

impl LateVerdicts {
    /// Saves what was decided since the last call, and begins with the next gap. Returns whether there are events to be published.
    pub(crate) async fn go_on(&mut self, store: &Store, engine: &mut Engine) -> Result<bool, ServiceError> {
        let mut has_events = false;
        match self.judging.try_join_next() {
            Some(judged) => {
                let (gap, decisions) = judged.map_err(|error| ServiceError::transient("judging a gap", error))?;
                let decisions = match decisions {
                    // New ticks must not wait for a gap that can never be judged.
                    Err(error) if !error.is_transient() => {
                        warn!(gap = gap.gap_id, error = error_chain(&error), "a gap cannot be judged");
                        Vec::new()
                    }
                    decisions => decisions?,
                };
                has_events = save(store, engine, gap, decisions).await?;
            }
            None if !self.judging.is_empty() => return Ok(false),
            None => {}
        }
        let Some(gap) = engine.gap_to_judge() else { return Ok(has_events) };
        let GapStage::Known { until, .. } = gap.stage else { return Ok(has_events) };
        if late::history_has(store, until).await? {
            let (store, gap, review) = (store.clone(), gap.clone(), engine.review(gap));
            self.judging.spawn(async move {
                let decisions = match review {
                    Some(review) if !review.is_empty() => judge(&store, review).await,
                    _ => Ok(Vec::new()),
                };
                (gap, decisions)
            });
        }
        Ok(has_events)
    }
}

async fn judge(store: &Store, review: GapReview) -> Result<Vec<LateDecision>, Error> {
    let gap = review.gap.clone();
    let (Some(before), after) = past_ticks::around(store, &gap).await? else { return Ok(Vec::new()) };
    let firings = firings_around(store, &review.fired_since(), &before).await?;
    let mut judge = review.judge(&before, after.as_ref(), &firings);
    let mut behind = before;
    loop {
        let ticks = past_ticks::filled(store, &gap, &behind, TICKS_AT_A_TIME as i64).await?;
        ticks.iter().for_each(|tick| judge.evaluate(tick));
        let is_last = ticks.len() < TICKS_AT_A_TIME;
        match ticks.into_iter().next_back() {
            Some(last) if !is_last => behind = last,
            _ => break,
        }
    }
    let crossed = judge.crossed();
    if crossed.is_empty() {
        return Ok(Vec::new());
    }
    let until = after.as_ref().map_or(gap.to.unwrap_or(Timestamp::LAST), |after: &PastTick| after.at);
    let firings = firings_between(store, &crossed, (gap.from, until)).await?;
    Ok(judge.decide(after.as_ref(), &firings))
}

/// Saves the verdicts of a gap, and returns whether there are any.
async fn save(
    store: &Store,
    engine: &mut Engine,
    gap: MarketGap,
    decisions: Vec<LateDecision>,
) -> Result<bool, ServiceError> {
    engine.forget_gap(&gap);
    for decision in &decisions {
        if let Some(anchor) = decision.anchor {
            engine.re_anchor(decision.verdict.rule_id, anchor);
        }
    }
    let verdicts = decisions.len();
    let changes = engine.take_changes();
    late::save_verdicts(store, SERVICE, &gap, decisions, changes).await?;
    if verdicts == 0 {
        return Ok(false);
    }
    metrics::counter!("tickbell_late_verdicts_total").increment(verdicts as u64);
    info!(gap = gap.gap_id, verdicts, "rules would have fired in a gap that was filled in");
    Ok(true)
}

/// Registers the counter at zero, so that its first count is a step.
pub(crate) fn register_metrics() {
    metrics::counter!("tickbell_late_verdicts_total").increment(0);
}
