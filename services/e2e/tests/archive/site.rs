//! The page of prices as files, in a folder and in a store that speaks S3.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Json, Router, extract::State, http::StatusCode, http::Uri, routing::get};
use e2e::{System, process::use_complete_build};
use events::Timestamp;
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use crate::{few, object_store::ObjectStore};

/// An API of prices whose answer the test chooses: bitcoin's price and its time, or none.
type Now = Arc<Mutex<Option<(&'static str, Timestamp)>>>;

async fn serve(now: Now) -> String {
    let answer = |State(now): State<Now>| async move {
        let (price, at) = now.lock().expect("a lock").ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let value: Value = serde_json::from_str(price).expect("a number");
        Ok::<_, StatusCode>(Json(json!({ "value": value, "updated_at": at })))
    };
    let router = Router::new()
        .route("/api/data", get(|| async { Json(json!(["bitcoin"])) }))
        .route("/api/data/bitcoin", get(answer))
        .route("/api/data/bitcoin/history", get(|| async { Json(json!([])) }))
        .with_state(now);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("coinnews:http://{address}")
}

/// The program in a folder, with no server that it could ask.
struct Alone {
    home: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Alone {
    fn new(settings: &[(&'static str, String)]) -> Self {
        use_complete_build();
        Self { home: tempfile::tempdir().expect("a folder"), settings: settings.to_vec() }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::from(e2e::process::tickbell(self.home.path()));
        command.args(arguments).kill_on_drop(true);
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).output().await.expect("it runs")
    }

    /// Runs what must succeed, and returns what it says.
    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let text = text(&output);
        assert!(output.status.success(), "{arguments:?}: {}: {text}", output.status);
        text
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn prices(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("prices.json")).expect("prices")).expect("JSON")
}

fn page(folder: &Path) -> String {
    fs::read_to_string(folder.join("index.html")).expect("a page")
}

fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::from_micros(platform::clock::now().micros() - hours * 3_600_000_000).expect("a time")
}

#[tokio::test]
async fn the_page_has_the_prices_of_the_history_and_is_that_of_the_gateway() {
    let mut system = few().await;
    let folder = system.home().join("site");
    let output = system.run(&["export", "site", "--output", folder.to_str().expect("text")]).await;
    assert!(output.status.success() && text(&output).contains("symbols=1 omitted=0"), "{}", text(&output));
    let (prices, page) = (prices(&folder), page(&folder));
    let [item] = prices["items"].as_array().expect("a list").as_slice() else { panic!("{prices}") };
    let api: Value = system.api.get("/v1/prices").await.json();
    for (name, value) in api["items"][0].as_object().expect("an object") {
        assert_eq!(&item[name], value, "{name}");
    }
    assert_eq!((&item["price"], item["points"].as_array().map(Vec::len)), (&json!("699.25"), Some(1)));
    assert!(page.contains("<data value=\"699.25\">699.25</data>") && !page.contains("<script"), "{page}");

    let table = |page: &str| {
        page.split_once("<table>").and_then(|(_, rest)| rest.split_once("</table>")).map(|(table, _)| table.to_owned())
    };
    let served = system.api.get("/prices").await.expect_status(200).text;
    assert!(table(&page).is_some() && table(&page) == table(&served), "{served}");
    system.stop().await;
}

#[tokio::test]
async fn an_api_is_asked_without_servers_and_the_day_goes_on_from_the_page_before() {
    let now = Now::new(Mutex::new(Some(("100", hours_ago(25)))));
    let source = serve(now.clone()).await;
    let alone = Alone::new(&[]);
    let folder = alone.home.path().join("site");
    let export = ["export", "site", "--output", "site", "--source", source.as_str()];
    alone.succeeds(&export).await;
    assert_eq!(prices(&folder)["items"][0]["change_24h_percent"], json!(null));
    for (price, hours) in [("103", 12), ("101.5", 1)] {
        *now.lock().expect("a lock") = Some((price, hours_ago(hours)));
        alone.succeeds(&export).await;
    }
    let second = prices(&folder);
    let item = &second["items"][0];
    assert_eq!(
        (&item["symbol"], &item["price"], &item["change_24h_percent"]),
        (&json!("BTC-USD"), &json!("101.5"), &json!("1.5000"))
    );
    let shown = page(&folder);
    assert!(shown.contains("+1.50 %") && shown.contains("<path d=\"M"), "{shown}");
    // The same price again changes nothing but the time of the page.
    alone.succeeds(&export).await;
    assert_eq!(prices(&folder)["items"], second["items"]);

    // An API that gives no price ends the run, and the page stays.
    *now.lock().expect("a lock") = None;
    let before = page(&folder);
    let failed = alone.run(&export).await;
    assert_eq!(failed.status.code(), Some(69), "{}", text(&failed));
    assert_eq!(page(&folder), before);
    let wrong = alone.run(&["export", "site", "--output", "site", "--source", "simulator"]).await;
    assert!(wrong.status.code() == Some(64) && text(&wrong).contains("coinnews:URL"), "{}", text(&wrong));
}

#[tokio::test]
async fn a_bucket_says_how_long_a_page_may_be_shown() {
    use_complete_build();
    let mut system = System::start().await;
    let store = ObjectStore::start(&system, &[]).await;
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let mut settings = store.settings("site");
    let alone = Alone::new(&settings);
    let url = settings[0].1.clone();
    let export = ["export", "site", "--output", url.as_str(), "--source", source.as_str()];
    alone.succeeds(&export).await;
    alone.succeeds(&export).await;
    for (name, content_type) in [("index.html", "text/html; charset=utf-8"), ("prices.json", "application/json")] {
        let headers = store.headers(&format!("site/{name}"));
        assert_eq!((&headers["Cache-Control"], &headers["Content-Type"]), (&json!("max-age=60"), &json!(content_type)));
    }
    let copy = system.home().join("copy");
    store.copy("site", &copy);
    assert!(page(&copy).ends_with("</html>") && prices(&copy)["items"][0]["price"] == "100");

    settings[4].1 = "wrong".into();
    let refused = Alone::new(&settings).run(&export).await;
    let text = text(&refused);
    assert!(
        refused.status.code() == Some(1) && text.contains("AWS_SECRET_ACCESS_KEY") && !text.contains("wrong"),
        "{text}"
    );
    system.stop().await;
}

/// Serves a site as its readers see it. While it `fails`, everything is an error once blue is live.
async fn serve_site(folder: PathBuf, fails: Arc<AtomicBool>) -> String {
    let answer = move |uri: Uri| {
        let (folder, fails) = (folder.clone(), fails.clone());
        async move {
            let path = uri.path().trim_start_matches('/');
            let read = |path: &str| fs::read(folder.join(path)).map_err(|_| StatusCode::NOT_FOUND);
            let live = read("index.html").unwrap_or_default();
            if fails.load(Ordering::Relaxed) && String::from_utf8_lossy(&live).contains("url=blue/") {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            read(if path.is_empty() { "index.html" } else { path })
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    format!("http://{address}")
}

/// What `tickbell site status --json` says.
async fn status(alone: &Alone, site: &str) -> Value {
    let output = alone.run(&["site", "status", "--site", site, "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

async fn fails(alone: &Alone, arguments: &[&str], because: &str) {
    let output = alone.run(arguments).await;
    let text = text(&output);
    assert!(output.status.code() == Some(1) && text.contains(because), "{arguments:?}: {}: {text}", output.status);
}

#[tokio::test]
async fn green_is_written_first_and_an_unhealthy_copy_is_not_made_live() {
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let alone = Alone::new(&[]);
    let folder = alone.home.path().join("site");
    let both = ["export", "site", "--output", "site", "--colour", "both", "--source", source.as_str()];
    alone.succeeds(&both).await;
    let first = status(&alone, "site").await;
    assert_eq!(
        (&first["live"], &first["former"], &first["copies"]["blue"]["healthy"]),
        (&json!("green"), &json!(null), &json!(true))
    );
    assert!(page(&folder).contains("url=green/index.html"));
    alone.succeeds(&both).await;
    assert_eq!(status(&alone, "site").await["live"], "blue");

    // A page without copies would replace the pointer.
    let pointer = page(&folder);
    fails(&alone, &["export", "site", "--output", "site", "--source", source.as_str()], "add --colour").await;
    assert_eq!(page(&folder), pointer);

    // Back to green, once, which has grown old by the time that it is needed.
    let green = folder.join("green");
    let mut old = prices(&green);
    old["made_at"] = json!(hours_ago(1));
    fs::write(green.join("prices.json"), old.to_string()).expect("an old page");
    fails(&alone, &["site", "rollback", "--site", "site", "--fresh", "900"], "green was made 1h").await;
    assert!(alone.succeeds(&["site", "rollback", "--site", "site"]).await.contains("green is live."));
    assert!(alone.succeeds(&["site", "rollback", "--site", "site"]).await.contains("green is live already."));

    let promote = ["site", "promote", "--site", "site"];
    let blue = folder.join("blue");
    let whole = page(&blue);
    fs::write(blue.join("index.html"), &whole[..whole.len() / 2]).expect("a cut page");
    fails(&alone, &promote, "green stays live: blue/index.html is not the page that blue/prices.json belongs to").await;
    fs::write(blue.join("index.html"), &whole).expect("a whole page");
    let mut old = prices(&blue);
    old["made_at"] = json!(hours_ago(1));
    fs::write(blue.join("prices.json"), old.to_string()).expect("an old page");
    fails(&alone, &promote, "blue was made 1h").await;
    fails(&alone, &["site", "promote", "--site", "site", "--fresh", "0", "--release", "abc"], "not of abc").await;
    fs::remove_file(blue.join("prices.json")).expect("it is there");
    fails(&alone, &promote, "blue/prices.json is not there").await;
    assert_eq!(status(&alone, "site").await["live"], "green");

    alone.succeeds(&["export", "site", "--output", "site", "--colour", "idle", "--source", source.as_str()]).await;
    assert!(alone.succeeds(&promote).await.contains("blue is live."));

    // A page that was written without copies is no pointer.
    alone.succeeds(&["export", "site", "--output", "plain", "--source", source.as_str()]).await;
    fails(&alone, &["site", "promote", "--site", "plain"], "leads to no colour").await;
}

#[tokio::test]
async fn the_pointer_is_taken_back_when_readers_do_not_see_the_copy() {
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let alone = Alone::new(&[]);
    let breaks = Arc::new(AtomicBool::new(true));
    let url = serve_site(alone.home.path().join("site"), breaks.clone()).await;
    let export = ["export", "site", "--output", "site", "--colour", "both", "--source", source.as_str()];
    let checked = [&export[..], &["--url", &url, "--wait", "2"]].concat();
    alone.succeeds(&checked).await;
    let green = prices(&alone.home.path().join("site/green"))["made_at"].clone();
    // Blue is healthy until it is live.
    fails(&alone, &checked, "so green is live again").await;
    let after = status(&alone, "site").await;
    assert_eq!(
        (&after["live"], &after["former"], &after["copies"]["green"]["made_at"]),
        (&json!("green"), &json!(null), &green)
    );
    breaks.store(false, Ordering::Relaxed);
    alone.succeeds(&["site", "promote", "--site", "site", "--url", &url, "--wait", "2"]).await;
    assert_eq!(status(&alone, "site").await["live"], "blue");
    // Where nobody answers, nothing is switched.
    let away = ["site", "promote", "--site", "site", "--url", "http://127.0.0.1:1", "--wait", "0"];
    fails(&alone, &away, "Nothing was switched, and blue stays live").await;
}

#[tokio::test]
async fn what_an_operator_promotes_while_a_page_is_made_stays() {
    let alone = Arc::new(Alone::new(&[]));
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let both = ["export", "site", "--output", "site", "--colour", "both", "--source"];
    alone.succeeds(&[&both[..], &[source.as_str()]].concat()).await;
    let folder = alone.home.path().join("site");
    let blue = (page(&folder.join("blue")), prices(&folder.join("blue")));
    // The operator promotes blue while the API is asked, when the run has decided to write blue.
    let operator = alone.clone();
    let slow = move || {
        let operator = operator.clone();
        async move {
            operator.succeeds(&["site", "promote", "--site", "site"]).await;
            Json(json!({ "value": 101, "updated_at": hours_ago(0) }))
        }
    };
    let router = Router::new()
        .route("/api/data", get(|| async { Json(json!(["bitcoin"])) }))
        .route("/api/data/bitcoin", get(slow))
        .route("/api/data/bitcoin/history", get(|| async { Json(json!([])) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let source = format!("coinnews:http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let run = [&both[..], &[source.as_str()]].concat();
    fails(&alone, &run, "somebody else has switched the pointer meanwhile").await;
    let after = status(&alone, "site").await;
    assert_eq!((&after["live"], &after["former"]), (&json!("blue"), &json!("green")));
    assert!(blue == (page(&folder.join("blue")), prices(&folder.join("blue"))), "the live copy was written over");
}

/// A PNG of one pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

#[tokio::test]
async fn an_icon_is_put_bounded_and_shown_by_the_next_page() {
    use_complete_build();
    let mut system = System::start().await;
    let store = ObjectStore::start(&system, &[]).await;
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let settings = store.settings("icons-of-site");
    let alone = Alone::new(&settings);
    let url = settings[0].1.clone();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(alone.home.path().join(name), bytes).expect("a file");
    };
    file("btc.png", PNG);
    file("evil.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>");
    file("large.png", &[PNG, &vec![0; 64 << 10]].concat());
    let icon = |name| ["assets", "icon", "BTC", name, "--site", url.as_str()];
    fails(&alone, &icon("evil.png"), "neither PNG nor WebP").await;
    fails(&alone, &icon("large.png"), "an icon has at most 65536").await;
    fails(&alone, &icon("absent.png"), "absent.png").await;
    alone.succeeds(&icon("btc.png")).await;
    let headers = store.headers("icons-of-site/icons/BTC.png");
    assert_eq!((&headers["Content-Type"], &headers["Cache-Control"]), (&json!("image/png"), &json!("max-age=3600")));
    let export = ["export", "site", "--output", url.as_str(), "--colour", "both", "--source", source.as_str()];
    alone.succeeds(&export).await;
    let copy = system.home().join("copy");
    store.copy("icons-of-site", &copy);
    assert!(page(&copy.join("green")).contains("src=\"../icons/BTC.png\""), "{}", page(&copy.join("green")));
    alone.succeeds(&["assets", "icon", "BTC", "--remove", "--site", &url]).await;
    alone.succeeds(&export).await;
    let copy = system.home().join("copy2");
    store.copy("icons-of-site", &copy);
    assert!(!page(&copy.join("blue")).contains("<img"));
    system.stop().await;
}

#[tokio::test]
async fn of_two_promotions_at_once_none_is_lost() {
    use_complete_build();
    let mut system = System::start().await;
    let store = ObjectStore::start(&system, &[]).await;
    let source = serve(Now::new(Mutex::new(Some(("100", hours_ago(1)))))).await;
    let mut settings = store.settings("copies");
    let alone = Alone::new(&settings);
    let url = settings[0].1.clone();
    alone.succeeds(&["export", "site", "--output", &url, "--colour", "both", "--source", &source]).await;
    assert_eq!(store.headers("copies/index.html")["Cache-Control"], "no-cache");
    let promote = ["site", "promote", "--site", url.as_str()];
    for _ in 0..5 {
        let before = status(&alone, &url).await;
        let outputs = futures::future::join_all([alone.run(&promote), alone.run(&promote), alone.run(&promote)]).await;
        let switched = outputs.iter().filter(|output| output.status.success()).count();
        for refused in outputs.iter().filter(|output| !output.status.success()) {
            assert!(text(refused).contains("somebody else has switched the pointer"), "{}", text(refused));
        }
        let after = status(&alone, &url).await;
        assert!(
            switched > 0 && (before["live"] == after["live"]) == (switched % 2 == 0),
            "{switched}: {before} {after}"
        );
    }
    settings[4].1 = "wrong".into();
    fails(&Alone::new(&settings), &promote, "AWS_SECRET_ACCESS_KEY").await;
    system.stop().await;
}
