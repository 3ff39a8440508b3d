//! The HTTP API as a client sees it.

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use rust_decimal::Decimal;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The API of one gateway.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
}

/// An HTTP response, read to its end.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
}

/// An alert rule, and the token that manages it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Alert {
    /// The rule's id.
    pub id: String,
    /// `pending`, `active`, `paused`, `done`, `expired`.
    pub status: String,
    /// Shown once, when it was made.
    pub manage_token: String,
}

/// One firing of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Firing {
    /// The id of the firing, `<rule id>-<number>`.
    pub id: String,
    /// The number of the firing, counted from 1.
    pub number: i64,
    /// The id of the rule.
    pub rule_id: String,
    /// The symbol of the tick.
    pub symbol: String,
    /// The venue of the tick.
    pub venue: String,
    /// The time of the tick.
    pub fired_at: String,
    /// The price of the tick.
    pub price: Decimal,
    /// The price that it was compared with.
    pub reference_price: Option<Decimal>,
    /// The time of the reference price.
    pub reference_at: Option<String>,
    /// The change against the reference price, in percent.
    pub change_percent: Option<Decimal>,
    /// The id of the tick.
    pub trade_id: String,
    /// The sequence of the tick's page in its stream.
    pub stream_sequence: u64,
    /// The index of the tick in its page.
    pub stream_index: u16,
    /// The reason why no mail was sent.
    pub suppressed: Option<String>,
}

/// One tick of the history.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredTick {
    /// The venue of the tick.
    pub venue: String,
    /// The time of the trade.
    pub at: String,
    /// The price of one unit.
    pub price: Decimal,
    /// The number of units that were traded.
    pub size: Option<Decimal>,
    /// The venue's id of the trade.
    pub trade_id: String,
    /// The sequence of its page in its stream.
    pub stream_sequence: u64,
    /// The index in its page.
    pub stream_index: u16,
}

/// The ticks of one interval.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the standard terms")]
pub struct Candle {
    pub start: String,
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
    pub volume: Decimal,
    pub trades: i64,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl ApiResponse {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in answer {}: {}", self.status, self.text))
    }

    /// Itself, when the status is this one.
    ///
    /// # Panics
    /// When it is another.
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Api {
    /// The API at `base`, like `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Self {
        // The second test of a run finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(std::time::Duration::from_secs(20)).build().expect("a client");
        Self { base: base.to_owned(), client }
    }

    /// The address of the API, without a path.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to fill; `path` may also be a whole URL, like one out of a mail.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.client.request(method, url)
    }

    /// Sends a request; `None` when nobody answers.
    pub async fn try_send(request: RequestBuilder) -> Option<ApiResponse> {
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A stream of events has no end.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream { String::new() } else { response.text().await.ok()? };
        Some(ApiResponse { status, headers, text })
    }

    /// Sends a request.
    pub async fn send(request: RequestBuilder) -> ApiResponse {
        Self::try_send(request).await.expect("the gateway answers")
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> ApiResponse {
        Self::send(self.request(Method::GET, path)).await
    }

    /// Sends a POST request with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> ApiResponse {
        Self::send(self.request(Method::POST, path).json(body)).await
    }

    /// Creates a rule; where `rule` has no `notify`, it notifies ada@example.com.
    pub async fn subscribe(&self, rule: Value) -> Alert {
        let mut body = json!({ "notify": { "email": "ada@example.com" } });
        let fields = rule.as_object().expect("a rule is an object").clone();
        body.as_object_mut().expect("an object").extend(fields);
        self.post("/v1/alerts", &body).await.expect_status(201).json()
    }

    /// Sends a request about a rule with its manage token.
    pub async fn manage(&self, method: Method, alert: &Alert, body: Option<Value>) -> ApiResponse {
        let request = self.request(method, &format!("/v1/alerts/{}", alert.id)).bearer_auth(&alert.manage_token);
        Self::send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Returns the status of a rule.
    pub async fn status_of(&self, alert: &Alert) -> String {
        let rule: Value = self.manage(Method::GET, alert, None).await.expect_status(200).json();
        rule["status"].as_str().expect("a status").to_owned()
    }

    /// All firings of a rule, oldest first.
    pub async fn firings(&self, alert: &Alert) -> Vec<Firing> {
        let path = format!("/v1/alerts/{}/firings?limit=1000", alert.id);
        let mut firings = self.pages(&path, Some(&alert.manage_token)).await;
        firings.reverse();
        firings
    }

    /// All ticks of a symbol, `limit` to a page.
    pub async fn history(&self, symbol: &str, order: &str, limit: usize) -> Vec<StoredTick> {
        self.pages(&format!("/v1/prices/{symbol}/history?order={order}&limit={limit}"), None).await
    }

    /// All candles of a symbol, oldest first; `query` begins with the interval.
    pub async fn candles(&self, symbol: &str, query: &str) -> Vec<Candle> {
        self.pages(&format!("/v1/prices/{symbol}/candles?interval={query}"), None).await
    }

    /// A list from its first page to its last; `path` has a query already.
    pub async fn pages<T: DeserializeOwned>(&self, path: &str, token: Option<&str>) -> Vec<T> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut request = self.request(Method::GET, &format!("{path}{cursor}"));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let page: Page<T> = Self::send(request).await.expect_status(200).json();
            assert!(!page.items.is_empty() || page.next_cursor.is_none(), "an empty page that is not the last: {path}");
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
