//! Polls a small server that answers with recorded bodies of the coinnews API.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, Uri},
    routing::get,
};

use events::{Symbol, Venue};
use market_data::MaxAhead;
use platform::{ServiceError, runtime::error::error_chain};
use reqwest::Url;

use super::{
    client::Client,
    poller::{Poller, assign_symbols, symbol},
    settings::{HistoryPolicy, Settings},
};

const BITCOIN: &str = r#"{"name": "bitcoin", "value": 499, "market_value": 499, "roc": -0.2,
    "updated_at": "2023-06-01T09:45:46.4501+03:30"}"#;
const BITCOIN_HISTORY: &str = r#"[{"value": 499, "date": "2023-06-01T09:45:46.4501+03:30"},
    {"value": 500.25, "date": "2023-06-01T09:42:46+03:30"}, {"value": 0, "date": "2023-06-01T09:39:46+03:30"}]"#;

/// Serves the bodies by their paths, and 404 for other paths. Returns the URL of the server.
async fn serve(bodies: impl IntoIterator<Item = (&'static str, &'static str)>) -> Url {
    let bodies: BTreeMap<_, _> = bodies.into_iter().collect();
    let answer = move |uri: Uri| {
        let body = bodies.get(uri.path()).map_or(Err(StatusCode::NOT_FOUND), |body| Ok(*body));
        async move { body }
    };
    listen(Router::new().fallback(answer)).await
}

async fn listen(router: Router) -> Url {
    // reqwest needs a TLS provider even for plain HTTP. The result is ignored: another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/").parse().expect("a URL")
}

fn poller<'settings>(url: &Url, settings: &'settings Settings) -> Poller<'settings> {
    let client = Client::new(url, settings.timeout).expect("a client");
    Poller::new(client, settings, Venue::parse("coinnews").expect("a venue"), MaxAhead::DEFAULT)
}

/// Polls once; returns the ids and prices of the ticks.
async fn poll(poller: &mut Poller<'_>) -> Result<Vec<String>, ServiceError> {
    let mut published = Vec::new();
    let mut round = poller.start_round().await?;
    while let Some(ticks) = round.next_ticks().await {
        let prices = ticks.iter().map(|tick| (tick.derived_trade_id(), tick.price));
        published.extend(prices.map(|(id, price)| format!("{id} {price}")));
    }
    round.finish()?;
    Ok(published)
}

#[tokio::test]
async fn the_first_poll_publishes_the_history_and_the_second_only_new_prices() {
    let bodies = [
        ("/api/data", r#"["bitcoin"]"#),
        ("/api/data/bitcoin", BITCOIN),
        ("/api/data/bitcoin/history", BITCOIN_HISTORY),
    ];
    let settings = Settings::default();
    let mut poller = poller(&serve(bodies).await, &settings);
    let first = poll(&mut poller).await.expect("a poll");
    let expected = ["1685599966000000/500.25//0 500.25", "1685600146450100/499//0 499"];
    assert_eq!(first, expected);
    assert_eq!(poll(&mut poller).await.expect("a poll"), Vec::<String>::new());
}

#[test]
fn a_symbol_of_the_settings_wins_over_the_known_ticker() {
    let euro = BTreeMap::from([("bitcoin".to_owned(), Symbol::parse("BTC-EUR").expect("a symbol"))]);
    let read = |coin| symbol(coin, &euro).map(|symbol| symbol.to_string());
    assert_eq!([read("bitcoin"), read("ripple")], [Ok("BTC-EUR".into()), Ok("XRP-USD".into())]);
}

#[test]
fn two_coins_do_not_share_a_symbol() {
    let parsed = |text: &str| Symbol::parse(text).expect("a symbol");
    let mut owners = BTreeMap::new();
    let mut assign = |coins: &[&str], settings: &[(&str, &str)]| {
        let coins: BTreeSet<String> = coins.iter().map(|coin| (*coin).to_owned()).collect();
        let settings = settings.iter().map(|(coin, symbol)| ((*coin).to_owned(), parsed(symbol))).collect();
        let symbols = assign_symbols(&mut owners, &coins, &settings);
        coins
            .into_iter()
            .zip(symbols)
            .map(|(coin, symbol)| match symbol {
                Ok(symbol) => format!("{coin}: {symbol}"),
                Err(error) => format!("{coin}: {error}"),
            })
            .collect::<Vec<_>>()
    };
    let refused = "its symbol XRP-USD is the one of the coin \"xrp\"; give it another, as in \
                   price_ingestor.coinnews.symbols.ripple = \"NAME-USD\"";
    assert_eq!(assign(&["xrp"], &[]), ["xrp: XRP-USD"]);
    assert_eq!(assign(&["ripple", "xrp"], &[]), [format!("ripple: {refused}"), "xrp: XRP-USD".to_owned()]);
    assert_eq!(assign(&["ripple", "xrp"], &[("ripple", "XRPOLD-USD")]), ["ripple: XRPOLD-USD", "xrp: XRP-USD"]);
    let settings = assign(&["ripple", "xrp"], &[("ripple", "XRP-USD")]);
    assert!(settings[0] == "ripple: XRP-USD" && settings[1].contains("symbols.xrp"), "{settings:?}");
}

#[tokio::test]
async fn a_price_from_the_future_costs_only_itself() {
    let bodies = [
        ("/api/data", r#"["bitcoin", "dogecoin"]"#),
        ("/api/data/bitcoin", r#"{"value": 1, "updated_at": "2099-01-01T00:00:00Z"}"#),
        ("/api/data/dogecoin", r#"{"value": 0.00004841587973576128, "updated_at": "2024-09-01T00:00:00Z"}"#),
    ];
    let settings = Settings { history: HistoryPolicy::Never, ..Settings::default() };
    let url = serve(bodies).await;
    let mut poller = poller(&url, &settings);
    let mut round = poller.start_round().await.expect("a list");
    let ticks = round.next_ticks().await.expect("a price");
    assert_eq!(ticks[0].price.to_string(), "0.000048415879735761");
    assert!(round.next_ticks().await.is_none());
    assert_eq!((round.counts(), round.rounded()), ((2, 1), 1));
}

#[tokio::test]
async fn one_coins_failure_does_not_stop_the_others() {
    let coins = r#"["bitcoin", "missing", "garbage", "币", "a/../b"]"#;
    let bodies = [("/api/data", coins), ("/api/data/bitcoin", BITCOIN), ("/api/data/garbage", "<html>")];
    let settings = Settings { history: HistoryPolicy::Never, ..Settings::default() };
    let published = poll(&mut poller(&serve(bodies).await, &settings)).await.expect("a poll");
    assert_eq!(published, ["1685600146450100/499//0 499"]);
}

#[tokio::test]
async fn a_poll_without_any_price_is_a_transient_error() {
    let settings = Settings::default();
    for bodies in [vec![], vec![("/api/data", r#"["bitcoin", "dogecoin"]"#)], vec![("/api/data", "[1]")]] {
        let outcome = poll(&mut poller(&serve(bodies).await, &settings)).await;
        assert!(matches!(outcome, Err(ServiceError::Transient(..))));
    }
    let empty = serve([("/api/data", "[]")]).await;
    assert_eq!(
        poll(&mut poller(&empty, &settings)).await.expect("a list without coins is not a failure"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_request_that_fails_is_retried_within_the_poll() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let quote = move |Path(_): Path<String>| {
        let fails = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if fails { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(BITCOIN) } }
    };
    let list = || async { r#"["bitcoin"]"# };
    let router = Router::new().route("/v2/api/data", get(list)).route("/v2/api/data/{coin}", get(quote));
    let url = listen(router).await.join("v2").expect("a URL");
    let settings = Settings::default();
    assert_eq!(poll(&mut poller(&url, &settings)).await.expect("a poll").len(), 1);
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read_to_its_end() {
    let list = || async { vec![b' '; 2 * 1024 * 1024] };
    let url = listen(Router::new().route("/api/data", get(list))).await;
    let settings = Settings::default();
    let error = poll(&mut poller(&url, &settings)).await.expect_err("too long");
    assert!(error_chain(&error).contains("more than 1048576 bytes"), "{error}");
}
