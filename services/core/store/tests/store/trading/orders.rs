//! Tests of orders and deposits as users and operators request them.

use events::{Amount, Asset, OrderStatus};
use store::trading::{
    assets::{self, AssetKind},
    deposits::{self, AccountOwner, NewDeposit, Requested},
    orders::{self, Cancellation, OrderFilter, OrderKey, Placed},
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, id, order, symbol, terms, user},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_saved_once_by_each_of_its_keys() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    let request = |number, client: Option<&str>, key: Option<&str>, size| {
        let mut order = order(number, ada);
        (order.terms, order.idempotency_key) = (terms(client, size), key.map(str::to_owned));
        orders::place(store, order)
    };
    assert!(matches!(request(1, Some("a"), None, "0.1").await.expect("an answer"), Placed::New(_)));
    for _ in 0..2 {
        let again = request(2, Some("a"), Some("key"), "0.1").await.expect("an answer");
        assert!(matches!(&again, Placed::Duplicate(found) if found.id == id(1)), "{again:?}");
    }
    let other = request(3, Some("a"), None, "0.2").await.expect("an answer");
    assert_eq!(other, Placed::Conflict(OrderKey::ClientOrderId));
    let other = request(4, None, Some("key"), "0.2").await.expect("an answer");
    assert_eq!(other, Placed::Conflict(OrderKey::IdempotencyKey));
    assert_eq!(orders::place(store, order(5, id(99))).await.expect("an answer"), Placed::NoAccount);
    assert_eq!(database.outbox_subjects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_at_the_same_time_place_one_order() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    let requests = (1..=10).map(|number| {
        let mut order = order(number, ada);
        order.idempotency_key = Some("key".into());
        orders::place(&database.store, order)
    });
    let placed = futures::future::join_all(requests).await;
    let new = placed.iter().filter(|placed| matches!(placed, Ok(Placed::New(_)))).count();
    assert_eq!(new, 1, "{placed:?}");
    assert_eq!(database.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_found_and_listed_by_their_owner_only() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    for number in 1..=3 {
        orders::place(store, order(number, ada)).await.expect("it is placed");
    }
    let found = orders::find(store, ada, id(2)).await.expect("an answer").expect("an order");
    assert_eq!((found.status(), found.placed_at), (OrderStatus::Received, at(0)));
    assert!(orders::find(store, id(99), id(2)).await.expect("an answer").is_none());
    let list = |filter: OrderFilter| async move {
        let found = orders::list(store, ada, &filter, 2).await.expect("a page");
        found.iter().map(|order| order.id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(list(OrderFilter::default()).await, [3, 2]);
    assert_eq!(list(OrderFilter { before: Some(id(2)), ..OrderFilter::default() }).await, [1]);
    assert_eq!(list(OrderFilter { status: Some(OrderStatus::Filled), ..OrderFilter::default() }).await, [0u128; 0]);
    assert_eq!(list(OrderFilter { symbol: Some(symbol("ETH-USD")), ..OrderFilter::default() }).await, [0u128; 0]);
    let hash = ledger::hash_chain::fingerprint(&found.terms).expect("a hash");
    let (stored,): (Vec<u8>,) = database.row("SELECT fingerprint FROM orders LIMIT 1").await;
    assert_eq!(stored, hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_requested_unless_the_order_is_final() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    orders::place(store, order(1, ada)).await.expect("it is placed");
    let cancel = |user| orders::request_cancel(store, user, id(1), at(1));
    assert_eq!(cancel(id(99)).await.expect("an answer"), Cancellation::Missing);
    assert!(matches!(cancel(ada).await.expect("an answer"), Cancellation::Requested(_)));
    database.run("INSERT INTO order_states SELECT id, user_id, 1, 'cancelled', NULL, 1, NULL, 0, NULL, NULL, 0, now() FROM orders").await;
    assert_eq!(cancel(ada).await.expect("an answer"), Cancellation::Final(OrderStatus::Cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_requested_once_by_its_reference() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    let request = |number, user_id: Uuid, amount: &str| {
        let amount = Amount::new(amount.parse().expect("a number")).expect("an amount");
        let deposit = NewDeposit {
            id: id(number),
            user_id,
            asset: Asset::parse("USD").expect("an asset"),
            amount,
            reference: Some("transfer 7".into()),
            requested_by: "operator".into(),
            requested_at: at(0),
        };
        deposits::request(store, "operator", deposit)
    };
    assert_eq!(request(1, id(99), "5").await.expect("an answer"), Requested::NoAccount);
    assert!(matches!(request(1, ada, "5").await.expect("an answer"), Requested::New(_)));
    assert!(matches!(request(2, ada, "5").await.expect("an answer"), Requested::Known(found) if found.id == id(1)));
    assert_eq!(request(3, ada, "6").await.expect("an answer"), Requested::Conflict);
    for owner in [AccountOwner::Email("ADA@example.com".into()), AccountOwner::Id(ada)] {
        assert_eq!(deposits::find_account(store, &owner).await.expect("an answer"), Some(ada));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_is_added_once_with_a_fixed_scale() {
    let database = Database::new().await;
    let store = &database.store;
    let acme = Asset::parse("ACME").expect("an asset");
    assert!(assets::add(store, &(acme.clone(), 3), &AssetKind::Currency).await.expect("an answer"));
    assert!(!assets::add(store, &(acme.clone(), 5), &AssetKind::Currency).await.expect("an answer"));
    let codes = [acme.clone(), Asset::parse("NONE").expect("an asset")];
    for _ in 0..2 {
        assert_eq!(assets::find(store, &codes).await.expect("assets"), [(acme.clone(), 3)]);
    }
    assert!(assets::list(store).await.expect("assets").contains(&(acme, 3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_says_what_it_is_traded_in() {
    let database = Database::new().await;
    let store = &database.store;
    let asset = |code: &str| Asset::parse(code).expect("an asset");
    let share = |quote: &str| AssetKind::Share { quote: asset(quote) };
    assert!(assets::add(store, &(asset("BRK.B"), 6), &share("EUR")).await.expect("an answer"));
    assert!(assets::add(store, &(asset("ACME"), 6), &share("NONE")).await.is_err(), "its currency does not exist");
    for (code, kind) in [
        ("BRK.B", Some(share("EUR"))),
        ("SPY", Some(share("USD"))),
        ("USD", Some(AssetKind::Currency)),
        ("BTC", Some(AssetKind::Currency)),
        ("ACME", None),
    ] {
        assert_eq!(assets::find_kind(store, &asset(code)).await.expect("an answer"), kind, "{code}");
    }
    let listed = assets::list_with_kinds(store).await.expect("assets");
    assert!(listed.contains(&((asset("BRK.B"), 6), share("EUR"))), "{listed:?}");
}
