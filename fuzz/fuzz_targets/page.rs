//! Pages of ticks: whatever the body is, reading it does not panic, a bad tick costs only itself, and each tick is the same in a
//! page of its own.

#![no_main]

use events::{
    TickPage, Timestamp,
    tick::{page_of_one, read_page},
};
use libfuzzer_sys::fuzz_target;
use market_data::{MaxAhead, StoredPage};

const HEAD: &str =
    r#""venue":"test","symbol":"BTC-USD","kind":"trade","source":"live","received_at":"2024-08-11T00:00:00Z""#;

fuzz_target!(|input: &[u8]| {
    check(input);
    // Few inputs are a page with a good head.
    check(&[b"{", HEAD.as_bytes(), b",\"ticks\":[", input, b"]}"].concat());
});

fn check(body: &[u8]) {
    let stored_at = Timestamp::LAST;
    let mut ticks = Vec::new();
    let head =
        read_page(body, |tick| ticks.push(tick.map(|tick| (tick.id.to_owned(), tick.at, tick.price, tick.size)).ok()));
    if let Ok(page) = serde_json::from_slice::<TickPage>(body) {
        let whole = page.ticks.into_iter().map(|tick| Some((tick.id, tick.at, tick.price, tick.size)));
        assert!(head.is_ok() && whole.eq(ticks.iter().cloned()), "a page is read as it is written");
    }
    let Ok(page) = StoredPage::read(body, 7, stored_at, MaxAhead::DEFAULT) else {
        assert!(head.is_err());
        return;
    };
    assert_eq!((page.len(), page.ticks().len() + page.refused().len()), (ticks.len(), ticks.len()));
    assert!((1..=TickPage::MAX_TICKS).contains(&page.len()));
    assert!(page_of_one(body, page.len()).is_none());
    for index in 0..page.len() {
        let one = page_of_one(body, index).expect("the page has the tick");
        let one = StoredPage::read(&one, 7, stored_at, MaxAhead::DEFAULT).expect("a page");
        let (mut part, mut alone) = (page.clone(), one.ticks());
        part.keep(&(index..index + 1));
        let found = alone.next().map(|tick| (tick.id.to_owned(), tick.at, tick.price, tick.size));
        assert_eq!(part.ticks().next().map(|tick| (tick.id.to_owned(), tick.at, tick.price, tick.size)), found);
        assert_eq!((one.len(), one.head()), (1, page.head()));
    }
}
