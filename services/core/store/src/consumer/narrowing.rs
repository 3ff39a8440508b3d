//! Narrowing: finds the one item for which the database refuses a batch. An item is a message, or one tick of a page.
//!
//! A refusal undoes the whole batch, and the state in memory is ahead of the database by what it decided. So the run is
//! opened anew from the committed positions, and reads batches of half the size, until one of a single item is refused.
//! This item becomes a dead letter, with the sentence of the database as the reason. Batches then grow again, each to
//! twice the size of the one before.

use crate::{Refusal, consumer::service::BrokenConstraint};

/// The items of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The number of items.
    pub(super) items: usize,
    /// The last one.
    pub(super) last: Option<ItemKey>,
}

/// One item of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ItemKey {
    /// The index of the message's consumer.
    pub(super) consumer: usize,
    /// The sequence of the message.
    pub(super) sequence: u64,
    /// The index of the item.
    pub(super) item: usize,
    /// The number of items of the message; none where it was not decoded.
    pub(super) of: Option<usize>,
}

/// The number of items that a batch may have, and the item that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Narrowing {
    /// The number of items of a batch when nothing is wrong.
    most: usize,
    limit: usize,
    /// The number of items, from what is committed on, one of which is known to be bad; 0 when none is.
    suspects: usize,
    /// The item that the database refuses, and why.
    rejected: Option<(ItemKey, String)>,
    /// The last item that is committed of the message behind the position, where a part of that message was a batch.
    applied: Option<ItemKey>,
    on_broken_constraint: BrokenConstraint,
    /// Whether the state was rebuilt after a broken constraint, and nothing was committed since.
    is_rebuilt: bool,
}

impl Narrowing {
    pub(super) fn new(most: usize, on_broken_constraint: BrokenConstraint) -> Self {
        let (suspects, rejected, applied) = (0, None, None);
        Self { most, limit: most, suspects, rejected, applied, on_broken_constraint, is_rebuilt: false }
    }

    /// Returns the number of items that a batch may have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether a batch may have fewer items than when nothing is wrong. It then has no more than the limit, which
    /// is otherwise approximate.
    pub(super) fn is_narrowed(&self) -> bool {
        self.limit < self.most
    }

    /// Returns why an item is given up, and the number of items of its message where that was decoded.
    pub(super) fn rejection(&self, consumer: usize, sequence: u64, item: usize) -> Option<(Option<usize>, &str)> {
        let is_it = |key: &ItemKey| (key.consumer, key.sequence, key.item) == (consumer, sequence, item);
        let rejected = self.rejected.as_ref().filter(|(rejected, _)| is_it(rejected));
        rejected.map(|(rejected, reason)| (rejected.of, reason.as_str()))
    }

    /// Returns how many items of a message are committed, although the position is before it.
    pub(super) fn applied_items(&self, consumer: usize, sequence: u64) -> usize {
        let applied = self.applied.filter(|key| (key.consumer, key.sequence) == (consumer, sequence));
        applied.map_or(0, |key| key.item + 1)
    }

    /// Decides what follows from the refusal of a batch. Returns `false` when opening the run anew would not help.
    pub(super) fn refuse(&mut self, refusal: Refusal, batch: Contents, reason: String) -> bool {
        if refusal == Refusal::BrokenConstraint && self.on_broken_constraint == BrokenConstraint::Stop {
            return !std::mem::replace(&mut self.is_rebuilt, true);
        }
        match (batch.items, batch.last) {
            (1, Some(key)) if self.rejection(key.consumer, key.sequence, key.item).is_none() => {
                self.limit = 1;
                self.rejected = Some((key, reason));
                true
            }
            (2.., _) => {
                self.suspects = batch.items;
                self.limit = batch.items / 2;
                true
            }
            // Nothing was decided, or even the dead letter is refused.
            _ => false,
        }
    }

    /// Decides how many items the next batch may have when one of so many was committed. Once the bad item is found,
    /// batches grow again, but not at the dead letter itself: bad items often come together. `part` is the last item where it
    /// is not the last one of its message.
    pub(super) fn committed(&mut self, items: usize, part: Option<ItemKey>) {
        self.is_rebuilt = false;
        self.applied = part;
        if self.rejected.take().is_some() {
            self.suspects = 0;
            return;
        }
        self.suspects = self.suspects.saturating_sub(items);
        self.limit = match self.suspects {
            0 => self.limit.saturating_mul(2).min(self.most),
            suspects => suspects.div_ceil(2),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: usize, sequence: u64) -> Contents {
        Contents { items, last: Some(ItemKey { consumer: 0, sequence, item: 0, of: Some(1) }) }
    }

    /// Reads a stream of `messages`, some of which are bad, and returns the dead letters and the number of refusals.
    fn read(messages: u64, bad: &[u64], most: usize) -> (Vec<u64>, usize) {
        let mut narrowing = Narrowing::new(most, BrokenConstraint::RejectMessage);
        let (mut position, mut dead_letters, mut refusals) = (0, Vec::new(), 0);
        while position < messages {
            let last = messages.min(position + narrowing.limit() as u64);
            let given_up = |sequence: &u64| narrowing.rejection(0, *sequence, 0).is_some();
            let rejected: Vec<u64> = (position + 1..=last).filter(given_up).collect();
            let refused =
                (position + 1..=last).any(|sequence| bad.contains(&sequence) && !rejected.contains(&sequence));
            if refused {
                refusals += 1;
                let contents = batch((last - position) as usize, last);
                assert!(narrowing.refuse(Refusal::Data, contents, "bad".into()), "{narrowing:?}");
            } else {
                dead_letters.extend(rejected);
                narrowing.committed((last - position) as usize, None);
                position = last;
            }
        }
        assert!(refusals <= bad.len() * 14, "{refusals} refusals of {} messages", bad.len());
        (dead_letters, refusals)
    }

    #[test]
    fn exactly_the_bad_messages_are_given_up() {
        for (messages, bad, most) in [
            (1, vec![1], 1),
            (5_000, vec![1], 5_000),
            (5_000, vec![5_000], 5_000),
            (5_000, vec![2_345], 1_000),
            (10_000, vec![17, 18, 19, 5_000, 9_999], 5_000),
            (300, (1..=300).collect(), 1_000),
        ] {
            assert_eq!(read(messages, &bad, most).0, bad);
        }
        assert_eq!(read(100, &[], 10), (Vec::new(), 0));
    }

    #[test]
    fn a_message_is_found_in_as_many_steps_as_halves() {
        let (_, refusals) = read(5_000, &[2_345], 4_096);
        assert!(refusals <= 13, "{refusals}");
        let (_, refusals) = read(300, &Vec::from_iter(1..=300), 1_000);
        assert!(refusals <= 310, "one each when bad messages come together: {refusals}");
    }

    #[test]
    fn a_part_of_a_message_is_applied_once_also_when_the_run_is_opened_anew() {
        let mut narrowing = Narrowing::new(8, BrokenConstraint::RejectMessage);
        let key = |item| ItemKey { consumer: 0, sequence: 7, item, of: Some(8) };
        assert!(narrowing.refuse(Refusal::Data, Contents { items: 8, last: Some(key(7)) }, "bad".into()));
        narrowing.committed(4, Some(key(3)));
        assert_eq!((narrowing.applied_items(0, 7), narrowing.limit()), (4, 2));
        assert!(narrowing.refuse(Refusal::Data, Contents { items: 2, last: Some(key(5)) }, "bad".into()));
        assert_eq!((narrowing.applied_items(0, 7), narrowing.limit()), (4, 1));
        assert!(narrowing.refuse(Refusal::Data, Contents { items: 1, last: Some(key(4)) }, "bad".into()));
        assert_eq!(narrowing.rejection(0, 7, 4), Some((Some(8), "bad")));
        narrowing.committed(1, Some(key(4)));
        narrowing.committed(1, Some(key(5)));
        narrowing.committed(2, None);
        assert_eq!((narrowing.applied_items(0, 7), narrowing.limit()), (0, 4));
    }

    #[test]
    fn what_is_refused_even_as_a_dead_letter_ends_the_run() {
        let mut narrowing = Narrowing::new(8, BrokenConstraint::RejectMessage);
        assert!(narrowing.refuse(Refusal::Data, batch(1, 7), "bad".into()));
        assert_eq!(narrowing.rejection(0, 7, 0), Some((Some(1), "bad")));
        assert_eq!((narrowing.rejection(1, 7, 0), narrowing.rejection(0, 7, 1)), (None, None));
        assert!(!narrowing.refuse(Refusal::Data, batch(1, 7), "bad".into()));
        assert!(!narrowing.refuse(Refusal::Data, Contents::default(), "bad".into()), "no message is to blame");
    }

    #[test]
    fn a_broken_constraint_of_the_ledger_is_tried_once_more_and_blamed_on_no_message() {
        let mut narrowing = Narrowing::new(8, BrokenConstraint::Stop);
        assert!(narrowing.refuse(Refusal::BrokenConstraint, batch(1, 7), "wrong".into()), "the state is rebuilt");
        assert_eq!((narrowing.limit(), narrowing.rejection(0, 7, 0)), (8, None));
        narrowing.committed(8, None);
        assert!(narrowing.refuse(Refusal::BrokenConstraint, batch(8, 16), "wrong".into()), "it was right in between");
        assert!(!narrowing.refuse(Refusal::BrokenConstraint, batch(8, 16), "wrong".into()));
        assert!(narrowing.refuse(Refusal::Data, batch(8, 16), "bad".into()), "data is narrowed down there too");
        assert_eq!(narrowing.limit(), 4);
    }
}
