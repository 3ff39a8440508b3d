//! Which products of a connection are subscribed, refused, or not answered yet. No I/O and no clock.
//!
//! Some venues refuse a whole request because of one product, and say which in a sentence. The others of that request are then
//! asked for again, and where no product can be found in the sentence, each by itself: one product's trouble is not that of
//! the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::sources::exchange::{
    adapter::{Action, Adapter, Request},
    message::Refusal,
};

/// The most times that a product is asked for on one connection.
const MAX_ATTEMPTS: u32 = 3;

/// A product of which a connection is to bring the trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedProduct {
    pub(crate) name: String,
    /// Counts how often the product was added: one that is removed and added again is subscribed again.
    pub(crate) generation: u64,
}

/// A product that the venue refuses, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedProduct {
    pub(crate) product: String,
    pub(crate) reason: String,
}

/// The subscriptions of one connection.
pub(crate) struct Subscriptions {
    adapter: &'static dyn Adapter,
    next_number: u64,
    /// The products and their generations.
    wanted: BTreeMap<String, u64>,
    to_send: VecDeque<Request>,
    /// The requests that were sent and are not answered for all their products.
    sent: BTreeMap<u64, Vec<String>>,
    subscribed: BTreeSet<String>,
    attempts: BTreeMap<String, u32>,
}

impl Subscriptions {
    /// Returns the subscriptions of a connection on which nothing was sent.
    pub(crate) fn new(adapter: &'static dyn Adapter, products: &[WantedProduct]) -> Self {
        let mut subscriptions = Self {
            adapter,
            next_number: 1,
            wanted: BTreeMap::new(),
            to_send: VecDeque::new(),
            sent: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            attempts: BTreeMap::new(),
        };
        subscriptions.change(products);
        subscriptions
    }

    /// Ends the subscriptions of products that are not wanted any more, and asks for those that are wanted now.
    pub(crate) fn change(&mut self, products: &[WantedProduct]) {
        let wanted: BTreeMap<String, u64> =
            products.iter().map(|wanted| (wanted.name.clone(), wanted.generation)).collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        let removed: Vec<String> = before
            .iter()
            .filter(|(name, generation)| self.wanted.get(*name) != Some(*generation))
            .map(|(name, _)| name.clone())
            .collect();
        let added: Vec<String> = products
            .iter()
            .filter(|wanted| before.get(&wanted.name) != Some(&wanted.generation))
            .map(|wanted| wanted.name.clone())
            .collect();
        self.end(&removed);
        for product in &added {
            self.attempts.remove(product);
        }
        self.request(&added);
    }

    fn end(&mut self, products: &[String]) {
        let subscribed = self.give_up(products);
        self.to_send.iter_mut().for_each(|request| request.products.retain(|product| !products.contains(product)));
        let names: Vec<&str> = subscribed.iter().map(String::as_str).collect();
        if !names.is_empty() {
            let requests = self.adapter.subscription(Action::Unsubscribe, &names, self.next_number);
            self.next_number = requests.iter().map(|request| request.number + 1).max().unwrap_or(self.next_number);
            // No trades depend on the answer.
            self.to_send.extend(requests.into_iter().map(|request| Request { products: Vec::new(), ..request }));
        }
    }

    fn request(&mut self, products: &[String]) {
        if products.is_empty() {
            return;
        }
        for product in products {
            *self.attempts.entry(product.clone()).or_default() += 1;
        }
        let names: Vec<&str> = products.iter().map(String::as_str).collect();
        let requests = self.adapter.subscription(Action::Subscribe, &names, self.next_number);
        self.next_number = requests.iter().map(|request| request.number + 1).max().unwrap_or(self.next_number);
        self.to_send.extend(requests);
    }

    /// Returns the text of the next request, which counts as sent.
    pub(crate) fn next_to_send(&mut self) -> Option<String> {
        let Request { number, text, products } = self.to_send.pop_front()?;
        if !products.is_empty() {
            self.sent.insert(number, products);
        }
        Some(text)
    }

    /// Returns whether a request waits to be sent.
    pub(crate) fn has_more_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// Returns whether everything that was sent is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.to_send.is_empty()
    }

    /// Returns whether a product is subscribed.
    pub(crate) fn has_any(&self) -> bool {
        !self.subscribed.is_empty()
    }

    /// Notes that products are subscribed; returns those that were not before.
    pub(crate) fn confirm<'a>(&mut self, products: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut added = Vec::new();
        for product in products {
            // What nobody asked for is not followed.
            let is_asked = self.sent.values().flatten().any(|sent| sent == product);
            if is_asked && self.subscribed.insert(product.to_owned()) {
                added.push(product.to_owned());
            }
        }
        self.sent.retain(|_, products| {
            products.retain(|product| !self.subscribed.contains(product));
            !products.is_empty()
        });
        added
    }

    /// Notes that a request was accepted; returns its products.
    pub(crate) fn accept(&mut self, number: u64) -> Vec<String> {
        let products = self.sent.get(&number).cloned().unwrap_or_default();
        self.confirm(products.iter().map(String::as_str))
    }

    /// Notes a refusal; returns the products that are given up.
    pub(crate) fn refuse(&mut self, refusal: &Refusal<'_>) -> Vec<RefusedProduct> {
        let Refusal { product, request, reason } = refusal;
        let refused = |product: String| RefusedProduct { product, reason: reason.to_string() };
        if let Some(product) = product.as_deref() {
            return self.give_up(&[product.to_owned()]).into_iter().map(refused).collect();
        }
        let asked: Vec<String> = match request {
            Some(number) => self.sent.remove(number).unwrap_or_default(),
            None => std::mem::take(&mut self.sent).into_values().flatten().collect(),
        };
        let named: Vec<String> = asked.iter().filter(|product| names(reason, product)).cloned().collect();
        let (others, named) = match (named.is_empty(), asked.len()) {
            // The only product of a request is the one that is meant.
            (true, 1) if request.is_some() => (Vec::new(), asked),
            _ => (asked.into_iter().filter(|product| !named.contains(product)).collect::<Vec<_>>(), named),
        };
        let is_exhausted =
            |product: &String| self.attempts.get(product).is_some_and(|attempts| *attempts >= MAX_ATTEMPTS);
        let (exhausted, again): (Vec<_>, Vec<_>) = others.into_iter().partition(is_exhausted);
        if named.is_empty() {
            for product in &again {
                self.request(std::slice::from_ref(product));
            }
        } else {
            self.request(&again);
        }
        named.into_iter().chain(exhausted).map(refused).collect()
    }

    /// Asks again for what was not answered in time; returns what was asked for too often.
    pub(crate) fn retry_unanswered(&mut self) -> Vec<RefusedProduct> {
        let unanswered = Refusal { product: None, request: None, reason: "the venue did not answer in time".into() };
        self.refuse(&unanswered)
    }

    fn give_up(&mut self, products: &[String]) -> Vec<String> {
        let mut given_up = Vec::new();
        self.sent.retain(|_, sent| {
            given_up.extend(sent.extract_if(.., |product| products.contains(product)));
            !sent.is_empty()
        });
        // A product that was subscribed may be refused later, when it is delisted.
        given_up.extend(products.iter().filter(|product| self.subscribed.remove(*product)).cloned());
        given_up
    }
}

/// Returns whether a sentence has the name of a product as a word.
fn names(sentence: &str, product: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_');
    sentence.match_indices(product).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| sentence.as_bytes()[before]);
        let after = sentence.as_bytes().get(at + product.len()).copied();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::exchange::venues::venue;

    fn subscriptions(name: &str, products: &[&str]) -> Subscriptions {
        Subscriptions::new(venue(name).expect("a venue"), &wanted(products))
    }

    fn wanted(products: &[&str]) -> Vec<WantedProduct> {
        products.iter().map(|product| WantedProduct { name: (*product).to_owned(), generation: 1 }).collect()
    }

    fn refusal(product: Option<&'static str>, request: Option<u64>, reason: &'static str) -> Refusal<'static> {
        Refusal { product: product.map(Into::into), request, reason: reason.into() }
    }

    fn send_all(subscriptions: &mut Subscriptions) -> Vec<String> {
        std::iter::from_fn(|| subscriptions.next_to_send()).collect()
    }

    #[test]
    fn a_request_that_is_refused_because_of_one_product_is_made_again_without_it() {
        let mut subscribed = subscriptions("coinbase", &["BTC-USD", "XYZ-USD", "ETH-USD"]);
        assert_eq!(send_all(&mut subscribed).len(), 1);
        let refused = subscribed.refuse(&refusal(None, None, "Failed to subscribe: XYZ-USD is not a valid product"));
        assert_eq!(refused.iter().map(|refused| refused.product.as_str()).collect::<Vec<_>>(), ["XYZ-USD"]);
        let again = send_all(&mut subscribed);
        assert!(again.len() == 1 && again[0].contains("ETH-USD") && !again[0].contains("XYZ-USD"), "{again:?}");
        assert_eq!(subscribed.confirm(["BTC-USD", "ETH-USD", "OTHER-USD"]), ["BTC-USD", "ETH-USD"]);
        assert!(subscribed.is_settled() && subscribed.has_any());
    }

    #[test]
    fn products_that_a_refusal_does_not_name_are_asked_for_one_by_one_and_not_for_ever() {
        let mut subscribed = subscriptions("binance", &["A", "B"]);
        send_all(&mut subscribed);
        assert_eq!(subscribed.refuse(&refusal(None, Some(1), "invalid stream")), []);
        assert_eq!(send_all(&mut subscribed).len(), 2);
        assert_eq!(subscribed.accept(2), ["A"]);
        let refused = subscribed.refuse(&refusal(None, Some(3), "invalid stream"));
        assert_eq!(refused, [RefusedProduct { product: "B".into(), reason: "invalid stream".into() }]);
        assert!(subscribed.is_settled());

        let mut silent = subscriptions("kraken", &["A/USD"]);
        for _ in 1..MAX_ATTEMPTS {
            send_all(&mut silent);
            assert_eq!(silent.retry_unanswered(), []);
        }
        send_all(&mut silent);
        assert_eq!(silent.retry_unanswered().len(), 1);
        assert!(silent.is_settled() && !silent.has_any());
    }

    #[test]
    fn a_product_that_is_delisted_costs_only_itself() {
        let mut subscribed = subscriptions("kraken", &["A/USD", "B/USD"]);
        send_all(&mut subscribed);
        assert_eq!(subscribed.confirm(["A/USD", "B/USD"]).len(), 2);
        assert_eq!(subscribed.refuse(&refusal(Some("A/USD"), None, "delisted")).len(), 1);
        assert!(subscribed.has_any() && subscribed.is_settled());
    }

    #[test]
    fn what_is_added_and_removed_later_touches_no_other_product() {
        let mut subscribed = subscriptions("kraken", &["A/USD", "B/USD"]);
        send_all(&mut subscribed);
        subscribed.confirm(["A/USD", "B/USD"]);
        subscribed.change(&wanted(&["B/USD", "C/USD"]));
        let sent = send_all(&mut subscribed);
        assert!(sent.len() == 2 && sent.iter().all(|text| !text.contains("B/USD")), "{sent:?}");
        assert!(sent[0].contains("unsubscribe") && sent[0].contains("A/USD"), "{sent:?}");
        assert!(!subscribed.is_settled());
        // An answer that is late is not followed.
        assert_eq!(subscribed.confirm(["A/USD", "C/USD"]), ["C/USD"]);
        assert!(subscribed.is_settled());
        // A product that was removed and added again between two looks is subscribed again.
        let again = WantedProduct { name: "C/USD".to_owned(), generation: 2 };
        subscribed.change(&[wanted(&["B/USD"]), vec![again]].concat());
        assert_eq!(send_all(&mut subscribed).len(), 2);
        assert_eq!(subscribed.confirm(["C/USD"]), ["C/USD"]);
    }

    #[test]
    fn a_name_is_found_as_a_word_only() {
        assert!(names("XYZ-USD is no product", "XYZ-USD") && names("instId:XYZ-USD doesn't", "XYZ-USD"));
        assert!(!names("XYZ-USDT is no product", "XYZ-USD") && !names("WXYZ-USD", "XYZ-USD"));
    }
}
