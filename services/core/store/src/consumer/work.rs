//! The messages that have arrived, and how they are cut into batches.
//!
//! What a batch may have is counted in items: a page of ticks has many, every other message is one. A page is decided whole,
//! unless batches are narrowed: then a part of it is a batch of its own, which does not move the position. Reading the page
//! again after a crash repeats that part, and repeats change nothing.

use std::{collections::VecDeque, ops::Range};

use platform::Message;

use crate::consumer::{
    narrowing::{Contents, ItemKey, Narrowing},
    service::ConsumerService,
};

/// The messages that have arrived and are not decided, each with the index of its consumer.
#[derive(Debug, Default)]
pub(super) struct Arrived(VecDeque<(usize, Message)>);

/// A message to decide, or a part of one.
pub(super) struct Work<E> {
    pub(super) consumer: usize,
    pub(super) message: Message,
    /// The event, which has the items of this part only, or why it is given up.
    pub(super) event: Result<E, String>,
    /// The items of this part.
    pub(super) items: Range<usize>,
    /// Whether the given-up event is one item of the message and not all of it.
    pub(super) is_item: bool,
    /// Whether nothing of the message is left behind this part.
    pub(super) ends: bool,
}

impl Arrived {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn extend(&mut self, messages: Vec<(usize, Message)>) {
        self.0.extend(messages);
    }

    /// Takes the next messages, up to the first with which they have `most` items; where batches are narrowed, no more than that.
    /// `deciding` says at each moment what was taken, in case that decoding panics.
    pub(super) fn take<S: ConsumerService>(
        &mut self,
        service: &S,
        narrowing: &Narrowing,
        most: usize,
        deciding: &mut Contents,
    ) -> Vec<Work<S::Event>> {
        let (before, mut works) = (deciding.items, Vec::new());
        while deciding.items - before < most {
            let Some((consumer, message)) = self.0.front() else { break };
            let (consumer, sequence) = (*consumer, message.sequence);
            let first = narrowing.applied_items(consumer, sequence);
            let taken = deciding.items;
            let last = ItemKey { consumer, sequence, item: first, of: None };
            *deciding = Contents { items: taken + 1, last: Some(last) };
            let (event, items, of, is_item) = match narrowing.rejection(consumer, sequence, first) {
                Some((Some(of), reason)) => (Err(reason.to_owned()), first..first + 1, of, true),
                Some((None, reason)) => (Err(reason.to_owned()), first..first + 1, first + 1, false),
                None => match service.decode(consumer, message) {
                    Err(reason) => (Err(reason.to_string()), first..first + 1, first + 1, false),
                    Ok(mut event) => {
                        let of = service.items(&event).max(first + 1);
                        let end = if narrowing.is_narrowed() { of.min(first + most - (taken - before)) } else { of };
                        if (first, end) != (0, of) {
                            service.keep(&mut event, &(first..end));
                        }
                        (Ok(event), first..end, of, false)
                    }
                },
            };
            let key = ItemKey { consumer, sequence, item: items.end - 1, of: event.is_ok().then_some(of) };
            *deciding = Contents { items: taken + items.len(), last: Some(key) };
            let ends = items.end == of;
            let message = if ends { self.0.pop_front().map(|(_, message)| message) } else { Some(message.clone()) };
            works.extend(message.map(|message| Work { consumer, message, event, items, is_item, ends }));
            if !ends {
                break;
            }
        }
        works
    }
}
