//! Authorization of every operation in the OpenAPI document: who is refused, and who is not. An operation that is added
//! to the document is tested here without further work, or the test fails and says what it lacks.

use std::collections::BTreeMap;

use e2e::{Api, ApiResponse, System};
use reqwest::Method;
use serde_json::{Value, json};

/// The operations that need no credentials; every other one must declare its security.
const PUBLIC: [&str; 32] = [
    "post /v1/users",
    "post /v1/sessions",
    "post /v1/password-resets",
    "post /v1/password-resets/{token}",
    "get /v1/assets",
    "get /v1/feeds",
    "get /v1/system",
    "get /v1/prices",
    "get /v1/prices/{symbol}",
    "get /v1/prices/{symbol}/history",
    "get /v1/prices/{symbol}/candles",
    "get /v1/prices/{symbol}/history.csv",
    "get /v1/prices/{symbol}/candles.csv",
    "get /compat/coinbase/ws",
    "get /compat/coinbase-advanced/ws",
    "get /compat/coinbase/time",
    "get /compat/coinbase/currencies",
    "get /compat/coinbase/products",
    "get /compat/coinbase/products/spark-lines",
    "get /compat/coinbase/products/{product_id}",
    "get /compat/coinbase/products/{product_id}/candles",
    "get /compat/coinbase/products/{product_id}/stats",
    "get /compat/coinbase/products/{product_id}/ticker",
    "get /compat/coinbase/products/{product_id}/trades",
    "get /compat/coinbase-advanced/api/v3/brokerage/products",
    "get /compat/coinbase-advanced/api/v3/brokerage/products/{product_id}",
    "get /udf/config",
    "get /udf/history",
    "get /udf/quotes",
    "get /udf/search",
    "get /udf/symbols",
    "get /udf/time",
];
/// The operations that need an operator's session; OpenAPI cannot express this.
const OPERATORS: [&str; 5] = [
    "post /v1/deposits",
    "post /v1/feeds",
    "delete /v1/feeds/{venue}/{symbol}",
    "get /v1/dead-letters",
    "post /v1/dead-letters/{number}/replay",
];
/// The operations whose rights follow from the channels that a request names: `market/streams` tests them.
const BY_CHANNEL: [&str; 3] = ["get /v1/stream", "get /v1/ws", "post /v1/stream-tickets"];
const SCOPES: [&str; 3] = ["read", "trade", "alerts"];
const MISSING: &str = "00000000-0000-7000-8000-000000000000";

/// One operation, and the tokens that it accepts in `Authorization: Bearer`.
struct Operation {
    name: String,
    method: Method,
    path: String,
    /// The security schemes of which one is enough; an empty name means that no token is needed.
    schemes: Vec<String>,
    /// The scopes that an API key needs, where one is accepted.
    scopes: Vec<String>,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object().expect("operations").iter().map(move |(verb, operation)| Self::read(path, verb, operation))
        });
        operations.collect()
    }

    fn read(path: &str, verb: &str, operation: &Value) -> Self {
        let requirements = operation["security"].as_array().into_iter().flatten();
        let (mut schemes, mut scopes) = (Vec::new(), Vec::new());
        for requirement in requirements {
            let requirement = requirement.as_object().expect("a requirement");
            assert!(requirement.len() <= 1, "{verb} {path}: this test sends one token with a request");
            schemes.push(requirement.keys().next().cloned().unwrap_or_default());
            let named = requirement.values().flat_map(|scopes| scopes.as_array().expect("scopes"));
            scopes.extend(named.filter_map(|scope| Some(scope.as_str()?.to_owned())));
        }
        let method = Method::from_bytes(verb.to_uppercase().as_bytes()).expect("a method");
        Self { name: format!("{verb} {path}"), method, path: path.to_owned(), schemes, scopes }
    }

    fn takes(&self, scheme: &str) -> bool {
        self.schemes.iter().any(|known| known == scheme)
    }

    /// Sends a request with `id` where the path has one, and an empty object as its body.
    async fn call(&self, api: &Api, token: Option<&str>, id: &str) -> ApiResponse {
        let path = self.path.replace("{id}", id).replace("{symbol}", "BTC-USD").replace("{token}", "none");
        let path = path.replace("{venue}", "coinbase").replace("{product_id}", "BTC-USD");
        let path = path.replace("{number}", "1");
        assert!(!path.contains('{'), "{}: this test has no value for the parameter", self.name);
        let mut request = api.request(self.method.clone(), &path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Api::send(if self.method == Method::GET { request } else { request.json(&json!({})) }).await
    }
}

/// The resources of Ada's that the id in a path may name.
struct Resources {
    order: String,
    alert: String,
    key: String,
    /// The manage token of that alert, and that of another one.
    manage_tokens: [String; 2],
}

impl Resources {
    async fn of(api: &Api, session: &str) -> Self {
        let order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "1" });
        let order: Value = api.call_with(session, Method::POST, "/v1/orders", &order).await.expect_status(202).json();
        let alert = json!({ "symbol": "BTC-USD", "percent": "5" });
        let [alert, other]: [Value; 2] = [
            api.call_with(session, Method::POST, "/v1/alerts", &alert).await.expect_status(201).json(),
            api.call_with(session, Method::POST, "/v1/alerts", &alert).await.expect_status(201).json(),
        ];
        let key = json!({ "name": "hers", "scopes": ["read"] });
        let key: Value = api.call_with(session, Method::POST, "/v1/api-keys", &key).await.expect_status(201).json();
        let id = |resource: &Value| resource["id"].as_str().expect("an id").to_owned();
        let manage_tokens = [&alert, &other].map(|alert| alert["manage_token"].as_str().expect("a token").to_owned());
        Self { order: id(&order), alert: id(&alert), key: id(&key), manage_tokens }
    }

    fn named_by(&self, path: &str) -> &str {
        let kinds = [("/v1/orders/", &self.order), ("/v1/alerts/", &self.alert), ("/v1/api-keys/", &self.key)];
        let found = kinds.iter().find(|(begin, _)| path.starts_with(begin));
        found
            .map(|(_, id)| id.as_str())
            .unwrap_or_else(|| panic!("{path}: this test has no resource of Ada's for this path"))
    }
}

impl Resources {
    /// Returns `otherwise` where the path has no id.
    fn named_by_or<'a>(&'a self, path: &str, otherwise: &'a str) -> &'a str {
        if path.contains("{id}") { self.named_by(path) } else { otherwise }
    }
}

/// Returns the problem without its trace id, which differs in every answer.
fn refusal(answer: &ApiResponse) -> Value {
    let mut problem: Value = answer.json();
    problem.as_object_mut().expect("a problem").remove("trace_id");
    problem
}

#[tokio::test]
async fn every_operation_is_refused_without_the_right_credentials() {
    let system = System::start().await;
    let api = &system.api;
    for email in ["ada@example.com", "bob@example.com"] {
        system.sign_up(email).await;
    }
    let (ada, bob) = (api.sign_in("ada@example.com").await, api.sign_in("bob@example.com").await);
    let resources = Resources::of(api, &ada).await;
    let document: Value = api.get("/openapi.json").await.expect_status(200).json();
    let operations = Operation::all(&document);
    assert!(operations.len() > 25, "{} operations", operations.len());
    let full_key = api.create_api_key(&bob, &SCOPES).await;
    let mut without = Vec::new();
    for lacking in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != lacking).collect();
        without.push((lacking, api.create_api_key(&bob, &others).await));
    }

    let mut keys = BTreeMap::new();
    for operation in &operations {
        let name = operation.name.as_str();
        // Without a token.
        let anonymous = operation.call(api, None, MISSING).await;
        if PUBLIC.contains(&name) {
            assert!(operation.schemes.is_empty(), "{name} is public");
            assert!(![401, 403].contains(&anonymous.status), "{name}: {}", anonymous.text);
            continue;
        }
        assert!(!operation.schemes.is_empty(), "{name} declares no security: add it, or list the operation in PUBLIC");
        if operation.takes("") {
            assert!(![401, 403].contains(&anonymous.status), "{name}: {}", anonymous.text);
        } else {
            assert_eq!(anonymous.status, 401, "{name}: {}", anonymous.text);
            assert!(anonymous.headers.contains_key("www-authenticate"), "{name}");
        }
        // With tokens that were never issued.
        for forged in
            ["tbs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "tbk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let refused = operation.call(api, Some(forged), MISSING).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
        }
        if BY_CHANNEL.contains(&name) {
            continue;
        }
        // A key with exactly the declared scopes is accepted; one that lacks a scope is not, nor any key where the operation
        // accepts none.
        let exact = exact_key(api, &bob, &mut keys, operation).await;
        if let Some(key) = &exact {
            assert!(!operation.scopes.is_empty(), "{name} accepts any key");
            let admitted = operation.call(api, Some(key), MISSING).await;
            assert!(![401, 403].contains(&admitted.status), "{name} with its scopes: {}", admitted.text);
        } else {
            assert_eq!(operation.call(api, Some(&full_key), MISSING).await.status, 403, "{name} accepts a key");
        }
        for (lacking, key) in
            without.iter().filter(|(lacking, _)| operation.scopes.iter().any(|scope| scope == lacking))
        {
            assert_eq!(operation.call(api, Some(key), MISSING).await.status, 403, "{name} without {lacking}");
        }
        if OPERATORS.contains(&name) {
            assert_eq!(operation.call(api, Some(&bob), MISSING).await.status, 403, "{name} needs an operator");
        }
        // Another user's resource answers like one that does not exist.
        if operation.path.contains("{id}") {
            for token in std::iter::once(&bob).chain(&exact) {
                let [foreign, missing] =
                    [resources.named_by(&operation.path), MISSING].map(|id| operation.call(api, Some(token), id));
                let (foreign, missing) = (foreign.await, missing.await);
                assert_eq!(foreign.status, 404, "{name}: {}", foreign.text);
                assert_eq!(refusal(&foreign), refusal(&missing), "{name}");
            }
        }
        // A manage token is valid for its own alert, in the operations that declare it.
        let [own, other] = &resources.manage_tokens;
        if operation.takes("manage_token") {
            let foreign = operation.call(api, Some(other), resources.named_by(&operation.path)).await;
            assert_eq!(foreign.status, 404, "{name}: {}", foreign.text);
        } else if !operation.takes("") {
            let refused = operation.call(api, Some(own), resources.named_by_or(&operation.path, MISSING)).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
        }
    }

    // A caller with the right credentials is not refused: a server that refuses everything would pass the checks above.
    let mut keys = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.method == Method::GET) {
        let id = resources.named_by_or(&operation.path, MISSING);
        let exact = exact_key(api, &ada, &mut keys, operation).await;
        let takes_own = operation.takes("manage_token") && operation.path.contains("{id}");
        let own = takes_own.then(|| resources.manage_tokens[0].clone());
        for token in [Some(ada.clone()), exact, own].into_iter().flatten() {
            let seen = operation.call(api, Some(&token), id).await;
            let is_operators = OPERATORS.contains(&operation.name.as_str());
            assert!(seen.status != 401 && (seen.status == 403) == is_operators, "{}: {}", operation.name, seen.text);
            assert!(!operation.path.contains("{id}") || seen.status == 200, "{}: {}", operation.name, seen.text);
        }
    }
}

/// Returns a key of the session's user with exactly the scopes of an operation, where it accepts a key.
async fn exact_key(
    api: &Api,
    session: &str,
    keys: &mut BTreeMap<Vec<String>, String>,
    operation: &Operation,
) -> Option<String> {
    if !operation.takes("api_key") {
        return None;
    }
    if !keys.contains_key(&operation.scopes) {
        let scopes: Vec<&str> = operation.scopes.iter().map(String::as_str).collect();
        keys.insert(operation.scopes.clone(), api.create_api_key(session, &scopes).await);
    }
    keys.get(&operation.scopes).cloned()
}
