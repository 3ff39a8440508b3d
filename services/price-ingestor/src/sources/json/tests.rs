//! An API of somebody else, on a real server with faults.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, StatusCode, header},
};
use events::Venue;
use market_data::MaxAhead;
use tokio::time::Instant;

use super::{
    config::JsonConfig,
    poller::Poller,
    settings::{Calendars, JsonSettings, JsonSource, JsonTables},
};

/// What the server answers next, and what it was asked.
#[derive(Clone, Default)]
struct Api {
    answers: Arc<Mutex<Vec<Response<Body>>>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl Api {
    /// Serves these answers, one for each request, and returns the base URL.
    async fn start(answers: Vec<Response<Body>>) -> (Self, String) {
        // reqwest needs a TLS provider even for plain HTTP. The result is ignored: another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api = Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() };
        let serving = api.clone();
        let router = Router::new().fallback(move |request: Request| {
            let answer = serving.answer(&request);
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (api, format!("http://{address}"))
    }

    fn answer(&self, request: &Request) -> Response<Body> {
        let asked = (request.uri().to_string(), request.headers().clone());
        self.asked.lock().expect("no panic before").push(asked);
        let mut answers = self.answers.lock().expect("no panic before");
        if answers.is_empty() { answer(StatusCode::GONE, &[], "") } else { answers.remove(0) }
    }

    fn asked(&self) -> Vec<(String, HeaderMap)> {
        self.asked.lock().expect("no panic before").clone()
    }
}

fn answer(status: StatusCode, headers: &[(header::HeaderName, &str)], body: &str) -> Response<Body> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, *value);
    }
    builder.body(Body::from(body.to_owned())).expect("an answer")
}

fn ok(body: &str) -> Response<Body> {
    answer(StatusCode::OK, &[], body)
}

fn settings(base: &str) -> JsonSettings {
    JsonSettings {
        url: format!("{base}/price?ids={{names}}"),
        symbols: "BTC-USD=bitcoin,ETH-USD=ethereum".to_owned(),
        price: "/{name}/usd".to_owned(),
        time: "/{name}/at".to_owned(),
        requests_per_minute: 6_000,
        timeout: Duration::from_millis(500),
        ..JsonSettings::default()
    }
}

fn poller(settings: JsonSettings) -> Poller {
    let tables = JsonTables::from([("coins".to_owned(), settings)]);
    let source = JsonSource::parse("coins").expect("a source");
    let config = JsonConfig::new(&source, &tables, &Calendars::new(), &[]).expect("settings");
    Poller::new(Venue::parse("coins").expect("a venue"), config, MaxAhead::DEFAULT).expect("a poller")
}

/// Makes all requests once. Returns the prices, what could not be read, and what fails now.
async fn poll(poller: &mut Poller) -> (Vec<String>, Vec<String>, Option<String>) {
    let (mut prices, mut bad) = (Vec::new(), Vec::new());
    for request in 0..poller.requests() {
        let answered = poller.ask(request).await;
        prices.extend(answered.found.ticks.iter().map(|(tick, id)| format!("{} {} {id}", tick.symbol, tick.price)));
        bad.extend(answered.bad.map(|bad| bad.reason));
        if answered.is_limited {
            break;
        }
    }
    (prices, bad, poller.quotes.judge(platform::clock::now()))
}

const BOTH: &str = r#"{"bitcoin":{"usd":67187.3358936566,"at":1711356300},"ethereum":{"usd":"3.5e3","at":1711356300}}"#;

#[tokio::test]
async fn prices_are_asked_for_with_the_key_and_an_etag_and_published_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, "secret\n").expect("written");
    let etag = [(header::ETAG, "\"v1\"")];
    let answers = vec![
        answer(StatusCode::OK, &etag, BOTH),
        answer(StatusCode::NOT_MODIFIED, &etag, ""),
        ok(BOTH),
        ok(&BOTH.replace("67187.3358936566", "67188").replace("1711356300", "1711356301")),
    ];
    let (api, base) = Api::start(answers).await;
    let header_files = format!("x-api-key={}", path.display());
    let mut poller = poller(JsonSettings { header_files, ..settings(&base) });
    let (prices, bad, failing) = poll(&mut poller).await;
    let expected =
        ["BTC-USD 67187.3358936566 1711356300000000/67187.3358936566//0", "ETH-USD 3500 1711356300000000/3500//0"];
    assert_eq!((prices, bad, failing), (expected.map(str::to_owned).to_vec(), vec![], None));
    for count in [0, 0, 2] {
        let (prices, bad, failing) = poll(&mut poller).await;
        assert_eq!((prices.len(), bad, failing), (count, vec![], None));
    }
    let asked = api.asked();
    assert_eq!(asked.len(), 4);
    assert!(
        asked.iter().all(|(url, headers)| url == "/price?ids=bitcoin,ethereum" && headers["x-api-key"] == "secret")
    );
    let etags: Vec<_> =
        asked.iter().map(|(_, headers)| headers.get("if-none-match").map(|value| value.as_bytes())).collect();
    assert_eq!(etags, [None, Some(&b"\"v1\""[..]), Some(&b"\"v1\""[..]), None]);
}

#[tokio::test]
async fn what_cannot_be_read_costs_one_answer_or_one_symbol() {
    let answers = vec![
        ok("<html>"),
        ok(r#"{"bitcoin":{"usd":1,"at":1711356300}}"#),
        ok(r#"{"bitcoin":{"usd":"1,5","at":1711356301},"ethereum":{"usd":2,"at":1711356301}}"#),
        answer(StatusCode::INTERNAL_SERVER_ERROR, &[], ""),
        ok(BOTH),
    ];
    let (_, base) = Api::start(answers).await;
    let mut poller = poller(settings(&base));
    let (prices, bad, failing) = poll(&mut poller).await;
    assert!(prices.is_empty() && bad[0].starts_with("the answer is no JSON"), "{bad:?}");
    assert!(failing.is_some_and(|why| why.contains("BTC-USD: the answer is no JSON") && why.contains("ETH-USD")));
    let (prices, bad, failing) = poll(&mut poller).await;
    assert_eq!((prices.len(), bad.len()), (1, 1));
    assert_eq!(failing.as_deref(), Some("ETH-USD: the answer has no price at \"/ethereum/usd\""));
    let (prices, bad, failing) = poll(&mut poller).await;
    assert_eq!((prices.as_slice(), bad.len()), (&["ETH-USD 2 1711356301000000/2//0".to_owned()][..], 1));
    assert!(failing.is_some_and(|why| why.starts_with("BTC-USD: the price 1,5 must be a decimal")));
    let (_, _, failing) = poll(&mut poller).await;
    assert!(failing.is_some_and(|why| why.contains("status 500")));
    let (_, _, failing) = poll(&mut poller).await;
    assert_eq!(failing, None);
}

#[tokio::test]
async fn an_api_that_asks_to_wait_is_left_alone() {
    let busy = |status, seconds| answer(status, &[(header::RETRY_AFTER, seconds)], "");
    let answers = vec![busy(StatusCode::TOO_MANY_REQUESTS, "1"), ok(r#"{"usd":5}"#), ok(r#"{"usd":6}"#)];
    let (api, base) = Api::start(answers).await;
    let each = JsonSettings {
        url: format!("{base}/{{name}}"),
        price: "/usd".to_owned(),
        time: String::new(),
        ..settings(&base)
    };
    let mut poller = poller(each);
    let started = Instant::now();
    let (prices, _, failing) = poll(&mut poller).await;
    assert!(prices.is_empty() && failing.is_some_and(|why| why.contains("asks to wait for 1s")));
    assert_eq!(api.asked().len(), 1, "the second symbol is not asked for");
    let (prices, _, failing) = poll(&mut poller).await;
    assert_eq!((prices.len(), failing), (2, None));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_same_host_and_the_key_stays_there() {
    let (other, other_base) = Api::start(vec![ok(BOTH)]).await;
    let to = |url: &str| answer(StatusCode::FOUND, &[(header::LOCATION, url)], "");
    let answers = vec![to("/v2"), ok(BOTH), to(&other_base), to("/1"), to("/2"), to("/3"), to("/4"), to("/5")];
    let (api, base) = Api::start(answers).await;
    let mut poller = poller(settings(&base));
    let (prices, _, failing) = poll(&mut poller).await;
    assert_eq!((prices.len(), failing), (2, None));
    let (_, _, failing) = poll(&mut poller).await;
    assert!(failing.is_some_and(|why| why.contains("redirects to another host")));
    assert!(other.asked().is_empty());
    let (_, _, failing) = poll(&mut poller).await;
    assert!(failing.is_some_and(|why| why.contains("redirects more than 3 times")));
    assert_eq!(api.asked().len(), 7);
}

#[tokio::test]
async fn a_slow_answer_and_an_endless_one_are_given_up() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let router = Router::new().fallback(move || {
        let is_slow = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if is_slow {
                std::future::pending::<()>().await;
            }
            vec![b' '; 9 << 20]
        }
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut poller = poller(JsonSettings { timeout: Duration::from_secs(2), ..settings(&base) });
    let (_, _, failing) = poll(&mut poller).await;
    assert!(failing.is_some_and(|why| why.contains("the API did not answer")));
    let (_, _, failing) = poll(&mut poller).await;
    assert!(failing.is_some_and(|why| why.contains("more than 8388608 bytes")));
}
