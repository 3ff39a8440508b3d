//! Tests of the feeds of exchanges: what is followed, how far it was published, and what was missed, with the rights of the services.

use events::feed::{GapBounds, GapReason, GapState};
use market_data::{GapOutcome, GapSpan};
use platform::Health;
use serde_json::json;
use store::{
    Error, Store,
    consumer::lease,
    feeds::{
        followed::{self, AddedFeed, DesiredState},
        gaps,
        progress::{self, FeedProgress, FeedState, OpenGap, ReportRow, StateRow},
        status,
    },
};

use crate::{
    database::Database,
    samples::{at, symbol, venue},
};

const LEASE: &str = "price-ingestor-venue-coinbase";

async fn seeded(database: &Database) -> Store {
    let store = database.store_as("tickbell_price_ingestor").await;
    followed::seed(&store, &venue("coinbase"), &[symbol("BTC-USD"), symbol("ETH-USD")]).await.expect("seeded");
    let listed = ["BTC-USD", "BTC-EUR", "DOGE-USD", "ETH-USD"].map(symbol);
    followed::save_listed(&store, &venue("coinbase"), &listed).await.expect("saved");
    store
}

async fn leads(store: &Store) -> lease::Lease {
    lease::acquire(store, LEASE, &Health::default().check("leader")).await.expect("the lease is free")
}

fn report(lower_bound: u64, state: GapState) -> ReportRow {
    ReportRow {
        symbol: symbol("BTC-USD"),
        lower_bound,
        bounds: GapBounds::Ids,
        from: at(0),
        to: state.is_final().then(|| at(9)),
        first_missing_id: Some(lower_bound),
        last_missing_id: state.is_final().then(|| lower_bound + 2),
        reason: GapReason::Disconnected,
        state,
        filled: 3,
    }
}

fn words(store: &[(events::Symbol, DesiredState)]) -> Vec<String> {
    store.iter().map(|(symbol, desired)| format!("{symbol} {desired:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_say_once_what_is_followed_and_then_operators_do() {
    let database = Database::new().await;
    let ingestor = seeded(&database).await;
    let coinbase = venue("coinbase");
    for operator in ["tickbell_gateway", "tickbell_operator"] {
        let store = database.store_as(operator).await;
        let add = async |venue_name: &str, name: &str| {
            followed::add(&store, &venue(venue_name), &symbol(name)).await.expect("an answer")
        };
        assert_eq!(add("coinbase", "DOGE-USD").await, AddedFeed::New);
        assert_eq!(add("coinbase", "BTC-USD").await, AddedFeed::Known);
        let refused = add("coinbase", "DOG-USD").await;
        assert_eq!(refused, AddedFeed::NotListed(vec![symbol("DOGE-USD")]));
        let said = refused.refusal(&coinbase, &symbol("DOG-USD"));
        assert_eq!(said.as_deref(), Some("coinbase does not list DOG-USD; it lists DOGE-USD"));
        assert_eq!(add("kraken", "BTC-USD").await, AddedFeed::UnknownVenue(vec![venue("coinbase")]));
        assert!(followed::set(&store, &coinbase, &symbol("ETH-USD"), DesiredState::Paused).await.expect("an answer"));
        assert!(!followed::set(&store, &coinbase, &symbol("XYZ-USD"), DesiredState::Paused).await.expect("an answer"));
        // The settings name other symbols at the next start, and the rows stay.
        let again = followed::seed(&ingestor, &coinbase, &[symbol("BTC-EUR")]).await.expect("an answer");
        assert_eq!(words(&again.symbols), ["BTC-USD Followed", "DOGE-USD Followed", "ETH-USD Paused"]);
        assert_eq!(followed::revision(&ingestor, &coinbase).await.expect("an answer"), Some(again.revision));
        assert!(followed::remove(&store, &coinbase, &symbol("DOGE-USD")).await.expect("an answer"));
        assert!(!followed::remove(&store, &coinbase, &symbol("DOGE-USD")).await.expect("an answer"));
        assert!(followed::set(&store, &coinbase, &symbol("ETH-USD"), DesiredState::Followed).await.expect("an answer"));
        let now = followed::read(&ingestor, &coinbase).await.expect("an answer");
        assert_eq!(words(&now.symbols), ["BTC-USD Followed", "ETH-USD Followed"]);
        assert!(now.revision > again.revision);
    }
    let denied =
        followed::set(&ingestor, &coinbase, &symbol("BTC-USD"), DesiredState::Paused).await.expect_err("it may not");
    assert!(!denied.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_and_its_open_gaps_are_read_as_they_were_saved_and_each_report_is_published() {
    let database = Database::new().await;
    let store = seeded(&database).await;
    let _lease = leads(&store).await;
    let (coinbase, btc) = (venue("coinbase"), symbol("BTC-USD"));
    let save = async |progress| progress::save(&store, &coinbase, LEASE, progress).await.expect("saved");
    let open = |lower_bound| OpenGap { symbol: btc.clone(), lower_bound, document: json!({ "gap": lower_bound }) };
    save(FeedProgress {
        positions: vec![(btc.clone(), Some(u64::MAX / 2), at(5))],
        reports: vec![report(7, GapState::Open), report(20, GapState::Open)],
        open_gaps: vec![open(7), open(20)],
        ..FeedProgress::default()
    })
    .await;
    let loaded = progress::load(&store, &coinbase).await.expect("positions");
    let [(loaded_symbol, position)] = loaded.as_slice() else { panic!("{loaded:?}") };
    assert_eq!((loaded_symbol, position.last_id, position.last_at), (&btc, Some(u64::MAX / 2), at(5)));
    assert_eq!(position.gaps, [json!({ "gap": 7 }), json!({ "gap": 20 })]);

    let gaps = async |name, times: (i64, i64), limit| {
        let times = (at(times.0), at(times.1));
        let found = status::list_gaps(&database.store, (&btc, &venue(name)), times, limit).await.expect("gaps");
        found.into_iter().map(|gap| (gap.first_missing_id, gap.state)).collect::<Vec<_>>()
    };
    assert_eq!(gaps("coinbase", (0, 0), 9).await, [(Some(20), GapState::Open), (Some(7), GapState::Open)]);
    assert_eq!(gaps("coinbase", (0, 9), 1).await, [(Some(20), GapState::Open)]);
    assert_eq!(gaps("coinbase", (1, 9), 9).await, []);
    assert_eq!(gaps("kraken", (0, 9), 9).await, []);
    let within = async |from, to, limit| {
        let range = (at(from), at(to));
        let found = progress::gaps_within(&database.store, (&coinbase, &btc), range, limit).await.expect("gaps");
        found.into_iter().map(|gap| gap.first_missing_id).collect::<Vec<_>>()
    };
    assert_eq!(within(5, 9, 9).await, [Some(7), Some(20)], "an open gap reaches into every later range");
    assert_eq!(within(0, 9, 1).await, [Some(7)]);
    assert_eq!(within(-9, 0, 9).await, [], "the end does not belong to the range");

    // Ids that say nothing, a gap that is filled, and one that is removed with its symbol.
    save(FeedProgress {
        positions: vec![(btc.clone(), None, at(6))],
        reports: vec![report(7, GapState::Filling), report(7, GapState::Filled)],
        ..FeedProgress::default()
    })
    .await;
    let (_, position) = progress::load(&store, &coinbase).await.expect("positions").remove(0);
    assert_eq!((position.last_id, position.gaps), (None, vec![json!({ "gap": 20 })]));
    save(FeedProgress { removed: vec![btc.clone()], ..FeedProgress::default() }).await;
    assert_eq!(progress::load(&store, &coinbase).await.expect("positions"), []);

    assert_eq!(database.outbox_subjects().await, ["feeds.coinbase.BTC-USD"; 5]);
    let (ids,): (String,) = database.row("SELECT string_agg(message_id, ' ' ORDER BY id) FROM outbox").await;
    let expected = ["7-open-1", "20-open-1", "7-filling-2", "7-filled-3", "20-unfillable-2"];
    assert_eq!(ids, expected.map(|id| format!("coinbase:BTC-USD:{id}")).join(" "));
    let (before, after) = (progress::delete_filled(&store, &coinbase, at(9)), at(10));
    assert_eq!(before.await.expect("deleted"), 0);
    assert_eq!(progress::delete_filled(&store, &coinbase, after).await.expect("deleted"), 1);
    assert_eq!(database.count("SELECT count(*) FROM feed_gaps").await, 1, "what is missing stays known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_removed_and_added_again_begins_anew() {
    let database = Database::new().await;
    let store = seeded(&database).await;
    let _lease = leads(&store).await;
    let (coinbase, btc) = (venue("coinbase"), symbol("BTC-USD"));
    let save = async |progress| progress::save(&store, &coinbase, LEASE, progress).await.expect("saved");
    save(FeedProgress {
        positions: vec![(btc.clone(), Some(6), at(5))],
        reports: vec![report(7, GapState::Open)],
        ..FeedProgress::default()
    })
    .await;
    let state = StateRow { symbol: btc.clone(), state: FeedState::Live, detail: None, trades_per_minute: 1 };
    save(FeedProgress {
        positions: vec![(btc.clone(), Some(20), at(9))],
        states: vec![state],
        removed: vec![btc.clone()],
        ..FeedProgress::default()
    })
    .await;
    let (_, position) = progress::load(&store, &coinbase).await.expect("positions").remove(0);
    assert_eq!((position.last_id, position.gaps), (Some(20), Vec::new()));
    let count = "SELECT count(*) FROM feed_states WHERE state = 'live'";
    assert_eq!(database.count(count).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_venue_another_one_has_taken_saves_nothing() {
    let database = Database::new().await;
    let first = seeded(&database).await;
    let _lease = leads(&first).await;
    let second = database.store_as("tickbell_price_ingestor").await;
    let _seized = lease::seize(&second, LEASE).await.expect("it is seized");
    let progress = || FeedProgress { positions: vec![(symbol("BTC-USD"), Some(1), at(5))], ..FeedProgress::default() };
    let fenced = progress::save(&first, &venue("coinbase"), LEASE, progress()).await.expect_err("it is stale");
    assert!(matches!(fenced, Error::Fenced(_)), "{fenced:?}");
    progress::save(&second, &venue("coinbase"), LEASE, progress()).await.expect("it leads");
    assert_eq!(database.count("SELECT count(*) FROM feed_states").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_as_it_was_reported_unless_nobody_reports_it() {
    let database = Database::new().await;
    let store = seeded(&database).await;
    let _lease = leads(&store).await;
    let btc = symbol("BTC-USD");
    let state = StateRow {
        symbol: btc.clone(),
        state: FeedState::Refused,
        detail: Some("delisted".into()),
        trades_per_minute: 42,
    };
    let progress = FeedProgress {
        positions: vec![(btc, Some(1), at(5))],
        states: vec![state],
        reports: vec![report(7, GapState::Open)],
        ..FeedProgress::default()
    };
    progress::save(&store, &venue("coinbase"), LEASE, progress).await.expect("saved");
    let gateway = database.store_as("tickbell_gateway").await;
    let said = async || {
        let feeds = status::list(&gateway, Some(&venue("coinbase"))).await.expect("feeds");
        let said = feeds.iter().map(|feed| {
            format!(
                "{} {} {} {} {}",
                feed.symbol,
                feed.state().as_str(),
                feed.detail().unwrap_or("-"),
                feed.trades_per_minute,
                feed.open_gaps
            )
        });
        said.collect::<Vec<_>>()
    };
    assert_eq!(said().await, ["BTC-USD refused delisted 42 1", "ETH-USD starting - 0 0"]);
    database.run("UPDATE feed_venues SET reported_at = now() - interval '1 minute'").await;
    assert_eq!(said().await[1], "ETH-USD down no price-ingestor follows the venue 0 0");
    followed::set(&gateway, &venue("coinbase"), &symbol("ETH-USD"), DesiredState::Paused).await.expect("an answer");
    assert_eq!(said().await[1], "ETH-USD paused - 0 0");
    assert_eq!(status::list(&gateway, Some(&venue("kraken"))).await.expect("feeds"), []);
    assert_eq!(status::list(&gateway, None).await.expect("feeds").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_say_which_gaps_they_rest_on() {
    let database = Database::new().await;
    let store = seeded(&database).await;
    let _lease = leads(&store).await;
    let nothing_missed = ReportRow { filled: 0, ..report(30, GapState::Filled) };
    let reports =
        vec![report(7, GapState::Filled), report(20, GapState::Unfillable), report(40, GapState::Open), nothing_missed];
    let progress = FeedProgress { reports, ..FeedProgress::default() };
    progress::save(&store, &venue("coinbase"), LEASE, progress).await.expect("saved");
    let gateway = database.store_as("tickbell_gateway").await;
    let list = async |name: &str, from, to| {
        gaps::list(&gateway, (&symbol("BTC-USD"), &venue(name)), (at(from), at(to))).await.expect("gaps")
    };
    let gap = |to: Option<i64>, outcome| GapSpan { from: at(0), to: to.map(at), outcome };
    let mut all = list("coinbase", 5, 10).await;
    all.sort_by_key(|gap| (gap.to, gap.outcome == GapOutcome::Backfilled));
    let expected =
        [gap(None, GapOutcome::Missing), gap(Some(9), GapOutcome::Missing), gap(Some(9), GapOutcome::Backfilled)];
    assert_eq!(all, expected);
    assert_eq!(list("coinbase", 10, 20).await, [gap(None, GapOutcome::Missing)]);
    assert_eq!(list("coinbase", -9, 0).await, []);
    assert_eq!(list("kraken", 5, 10).await, []);
    let of_symbol = async |venue: Option<&str>, times: (i64, i64), limit| {
        let (symbol, venue) = (symbol("BTC-USD"), venue.map(crate::samples::venue));
        let times = (at(times.0), at(times.1));
        let found = gaps::list_of_symbol(&gateway, (&symbol, venue.as_ref()), times, limit).await.expect("gaps");
        let mut states: Vec<_> = found.into_iter().map(|gap| gap.state.as_str()).collect();
        states.sort_unstable();
        states
    };
    assert_eq!(of_symbol(None, (5, 10), 9).await, ["filled", "open", "unfillable"]);
    let all = gaps::list_of_symbol(&gateway, (&symbol("BTC-USD"), None), (at(5), at(10)), 9).await.expect("gaps");
    let mut ids: Vec<_> = all.iter().map(|gap| (gap.first_missing_id, gap.last_missing_id)).collect();
    ids.sort_unstable();
    assert_eq!(ids, [(Some(7), Some(9)), (Some(20), Some(22)), (Some(40), None)]);
    assert_eq!(of_symbol(Some("coinbase"), (10, 20), 9).await, ["open"]);
    assert_eq!(of_symbol(Some("coinbase"), (5, 10), 2).await.len(), 2);
    assert!(of_symbol(Some("kraken"), (5, 10), 9).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_the_gaps_of_a_market_is_counted() {
    let database = Database::new().await;
    let store = seeded(&database).await;
    let _lease = leads(&store).await;
    let coinbase = venue("coinbase");
    let save = async |progress| progress::save(&store, &coinbase, LEASE, progress).await.expect("saved");
    let changes = async || database.count("SELECT coalesce(sum(changes), 0)::bigint FROM feed_gap_changes").await;
    save(FeedProgress { positions: vec![(symbol("BTC-USD"), Some(1), at(5))], ..FeedProgress::default() }).await;
    assert_eq!(changes().await, 0, "nothing is known of a gap");
    let reports = vec![report(7, GapState::Open), report(20, GapState::Open)];
    save(FeedProgress { reports, ..FeedProgress::default() }).await;
    assert_eq!(changes().await, 1, "they changed together");
    save(FeedProgress { reports: vec![report(7, GapState::Filled)], ..FeedProgress::default() }).await;
    save(FeedProgress { removed: vec![symbol("ETH-USD")], ..FeedProgress::default() }).await;
    assert_eq!(changes().await, 2, "the other symbol had no gap");
    save(FeedProgress { removed: vec![symbol("BTC-USD")], ..FeedProgress::default() }).await;
    assert_eq!(changes().await, 3, "one was given up");
    assert_eq!(progress::delete_filled(&store, &coinbase, at(10)).await.expect("deleted"), 1);
    assert_eq!(changes().await, 4);
    assert_eq!(progress::delete_filled(&store, &coinbase, at(10)).await.expect("deleted"), 0);
    assert_eq!(changes().await, 4);
    // The next gap may have the id of the newest one, so that its revisions go on.
    save(FeedProgress { reports: vec![report(20, GapState::Filled)], ..FeedProgress::default() }).await;
    assert_eq!(progress::delete_filled(&store, &coinbase, at(10)).await.expect("deleted"), 0);
    save(FeedProgress { reports: vec![report(20, GapState::Open)], ..FeedProgress::default() }).await;
    assert_eq!(database.count("SELECT max(revision)::bigint FROM feed_gaps").await, 4);
}
