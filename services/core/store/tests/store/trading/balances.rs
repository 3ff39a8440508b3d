//! Tests of the balances, trades and postings of a user.

use rust_decimal::Decimal;
use store::trading::{balances, postings, trades};

use crate::{
    samples::id,
    trading::settlement::{ORDER, filled, opened, ready, settle},
};

#[tokio::test(flavor = "multi_thread")]
async fn balances_trades_and_postings_follow_a_fill() {
    let (database, ada) = ready().await;
    let store = &database.store;
    settle(store, opened(ada)).await.expect("it is committed");
    let found = balances::list(store, ada).await.expect("balances");
    assert_eq!((found[0].available, found[0].held), (Decimal::from(600), Decimal::from(400)));
    assert_eq!(found[0].available.scale(), 2, "the amount has its asset's scale");
    settle(store, filled(ada)).await.expect("it is committed");
    let found = balances::list(store, ada).await.expect("balances");
    let shown: Vec<_> = found.iter().map(|b| (b.asset.as_str(), b.available.to_string(), b.held.to_string())).collect();
    let expected = [("BTC", "1.00000000", "0E-8"), ("USD", "600.00", "0.00")];
    assert_eq!(shown.len(), expected.len(), "{shown:?}");
    assert_eq!((shown[1].0, shown[1].1.as_str()), (expected[1].0, expected[1].1));

    let all = trades::list(store, ada, None, None, 9).await.expect("trades");
    assert_eq!(all.iter().map(|trade| trade.order_id).collect::<Vec<_>>(), [ORDER]);
    assert!(trades::list(store, ada, Some(id(9)), None, 9).await.expect("trades").is_empty());
    assert!(trades::list(store, ada, None, Some(3), 9).await.expect("trades").is_empty());

    let page = postings::list(store, ada, None, 2).await.expect("a page");
    assert_eq!(page.iter().map(|posting| posting.id).collect::<Vec<_>>(), [3, 2]);
    let next = postings::list(store, ada, Some(2), 2).await.expect("a page");
    assert_eq!((next.len(), next[0].kind.as_str(), next[0].entries.len()), (1, "deposit", 1));
    assert_eq!(page[1].entries.len(), 2, "a hold moves two accounts of the user");
}
