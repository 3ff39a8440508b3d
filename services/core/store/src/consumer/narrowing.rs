//! Narrowing: finds the one message for which the database refuses a batch.
//!
//! A refusal undoes the whole batch, and the state in memory is ahead of the database by what it decided. So the run is
//! opened anew from the committed positions, and reads batches of half the size, until one of a single message is refused.
//! This message becomes a dead letter, with the sentence of the database as the reason. Batches then grow again, each to
//! twice the size of the one before.

use crate::{Refusal, consumer::service::BrokenConstraint};

/// The messages of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The number of messages.
    pub(super) messages: usize,
    /// The index of the consumer of the last one, and its sequence.
    pub(super) last: Option<MessageKey>,
}

/// The index of a message's consumer, and its sequence.
pub(super) type MessageKey = (usize, u64);

/// The number of messages that a batch may have, and the message that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Narrowing {
    /// The number of messages of a batch when nothing is wrong.
    most: usize,
    limit: usize,
    /// The number of messages, from the committed position on, one of which is known to be bad; 0 when none is.
    suspects: usize,
    /// The message that the database refuses, and why.
    rejected: Option<(MessageKey, String)>,
    on_broken_constraint: BrokenConstraint,
    /// Whether the state was rebuilt after a broken constraint, and nothing was committed since.
    is_rebuilt: bool,
}

impl Narrowing {
    pub(super) fn new(most: usize, on_broken_constraint: BrokenConstraint) -> Self {
        Self { most, limit: most, suspects: 0, rejected: None, on_broken_constraint, is_rebuilt: false }
    }

    /// Returns the number of messages that a batch may have.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether a batch may have fewer messages than when nothing is wrong. It then has no more than the limit, which
    /// is otherwise approximate.
    pub(super) fn is_narrowed(&self) -> bool {
        self.limit < self.most
    }

    /// Returns why a message is given up.
    pub(super) fn rejection(&self, message: MessageKey) -> Option<&str> {
        let rejected = self.rejected.as_ref().filter(|(rejected, _)| *rejected == message);
        rejected.map(|(_, reason)| reason.as_str())
    }

    /// Decides what follows from the refusal of a batch. Returns `false` when opening the run anew would not help.
    pub(super) fn refuse(&mut self, refusal: Refusal, batch: Contents, reason: String) -> bool {
        if refusal == Refusal::BrokenConstraint && self.on_broken_constraint == BrokenConstraint::Stop {
            return !std::mem::replace(&mut self.is_rebuilt, true);
        }
        match (batch.messages, batch.last) {
            (1, Some(message)) if self.rejection(message).is_none() => {
                self.limit = 1;
                self.rejected = Some((message, reason));
                true
            }
            (2.., _) => {
                self.suspects = batch.messages;
                self.limit = batch.messages / 2;
                true
            }
            // Nothing was decided, or even the dead letter is refused.
            _ => false,
        }
    }

    /// Decides how many messages the next batch may have when one of so many was committed. Once the bad message is found,
    /// batches grow again, but not at the dead letter itself: bad messages often come together.
    pub(super) fn committed(&mut self, messages: usize) {
        self.is_rebuilt = false;
        if self.rejected.take().is_some() {
            self.suspects = 0;
            return;
        }
        self.suspects = self.suspects.saturating_sub(messages);
        self.limit = match self.suspects {
            0 => self.limit.saturating_mul(2).min(self.most),
            suspects => suspects.div_ceil(2),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: usize, last: u64) -> Contents {
        Contents { messages, last: Some((0, last)) }
    }

    /// Reads a stream of `messages`, some of which are bad, and returns the dead letters and the number of refusals.
    fn read(messages: u64, bad: &[u64], most: usize) -> (Vec<u64>, usize) {
        let mut narrowing = Narrowing::new(most, BrokenConstraint::RejectMessage);
        let (mut position, mut dead_letters, mut refusals) = (0, Vec::new(), 0);
        while position < messages {
            let last = messages.min(position + narrowing.limit() as u64);
            let given_up = |sequence: &u64| narrowing.rejection((0, *sequence)).is_some();
            let rejected: Vec<u64> = (position + 1..=last).filter(given_up).collect();
            let refused =
                (position + 1..=last).any(|sequence| bad.contains(&sequence) && !rejected.contains(&sequence));
            if refused {
                refusals += 1;
                let contents = batch((last - position) as usize, last);
                assert!(narrowing.refuse(Refusal::Data, contents, "bad".into()), "{narrowing:?}");
            } else {
                dead_letters.extend(rejected);
                narrowing.committed((last - position) as usize);
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
    fn what_is_refused_even_as_a_dead_letter_ends_the_run() {
        let mut narrowing = Narrowing::new(8, BrokenConstraint::RejectMessage);
        assert!(narrowing.refuse(Refusal::Data, batch(1, 7), "bad".into()));
        assert_eq!((narrowing.rejection((0, 7)), narrowing.rejection((1, 7))), (Some("bad"), None));
        assert!(!narrowing.refuse(Refusal::Data, batch(1, 7), "bad".into()));
        assert!(!narrowing.refuse(Refusal::Data, Contents::default(), "bad".into()), "no message is to blame");
    }

    #[test]
    fn a_broken_constraint_of_the_ledger_is_tried_once_more_and_blamed_on_no_message() {
        let mut narrowing = Narrowing::new(8, BrokenConstraint::Stop);
        assert!(narrowing.refuse(Refusal::BrokenConstraint, batch(1, 7), "wrong".into()), "the state is rebuilt");
        assert_eq!((narrowing.limit(), narrowing.rejection((0, 7))), (8, None));
        narrowing.committed(8);
        assert!(narrowing.refuse(Refusal::BrokenConstraint, batch(8, 16), "wrong".into()), "it was right in between");
        assert!(!narrowing.refuse(Refusal::BrokenConstraint, batch(8, 16), "wrong".into()));
        assert!(narrowing.refuse(Refusal::Data, batch(8, 16), "bad".into()), "data is narrowed down there too");
        assert_eq!(narrowing.limit(), 4);
    }
}
