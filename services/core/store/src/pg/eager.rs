//! Connecting without waiting for everybody else.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The number of times that a future is polled in a row.
const POLLS: usize = 64;

/// Polls a future that connects to the server again at once while it is pending, so that its many yields cost little.
///
/// The library yields after every fifth of the 4,096 rounds in which a password is hashed. Where other tasks are busy, each of
/// these 819 yields waits for all of them, and a connection takes seconds to open: the busier the process, the longer.
pub(crate) fn eagerly<F: Future + Unpin>(connecting: F) -> impl Future<Output = F::Output> {
    Eagerly(connecting)
}

struct Eagerly<F>(F);

impl<F: Future + Unpin> Future for Eagerly<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        for _ in 0..POLLS {
            if let Poll::Ready(output) = Pin::new(&mut self.0).poll(context) {
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_future_that_yields_often_is_ready_after_few_polls() {
        let yields = async {
            for _ in 0..819 {
                tokio::task::yield_now().await;
            }
        };
        let mut connecting = Box::pin(eagerly(Box::pin(yields)));
        let mut context = Context::from_waker(Waker::noop());
        let polls = (1..).find(|_| connecting.as_mut().poll(&mut context).is_ready());
        assert_eq!(polls, Some(13));
    }
}
