//! The page of prices as files, in a folder and in a store that speaks S3.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use e2e::{System, process::use_export_build};
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
        use_export_build();
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
    use_export_build();
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
