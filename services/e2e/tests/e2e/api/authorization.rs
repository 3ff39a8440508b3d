//! Who may do what, by the API's own description: what is added to it is tried here, or fails.

use std::collections::BTreeMap;

use e2e::{Api, ApiResponse, System};
use reqwest::Method;
use serde_json::{Value, json};

/// What anybody may ask for; everything else must say what it needs.
const PUBLIC: [&str; 9] = [
    "post /v1/users",
    "post /v1/sessions",
    "post /v1/password-resets",
    "post /v1/password-resets/{token}",
    "get /v1/assets",
    "get /v1/prices",
    "get /v1/prices/{symbol}",
    "get /v1/prices/{symbol}/history",
    "get /v1/prices/{symbol}/candles",
];
/// What an operator's session is needed for; OpenAPI has no word for it.
const OPERATORS: [&str; 1] = ["post /v1/deposits"];
const SCOPES: [&str; 3] = ["read", "trade", "alerts"];
const MISSING: &str = "00000000-0000-7000-8000-000000000000";

/// One operation, and what may stand behind `Authorization: Bearer`.
struct Operation {
    name: String,
    method: Method,
    path: String,
    /// The schemes of which one is enough; an empty one is nothing.
    schemes: Vec<String>,
    /// The scopes of an API key, where one will do.
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
            assert!(requirement.len() <= 1, "{verb} {path}: this test knows one token to a request");
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

    /// Asks for it, with `id` where the path has one and a body that says nothing.
    async fn call(&self, api: &Api, token: Option<&str>, id: &str) -> ApiResponse {
        let path = self.path.replace("{id}", id).replace("{symbol}", "BTC-USD").replace("{token}", "none");
        assert!(!path.contains('{'), "{}: this test does not know what stands there", self.name);
        let mut request = api.request(self.method.clone(), &path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Api::send(if self.method == Method::GET { request } else { request.json(&json!({})) }).await
    }
}

/// What of Ada's a path with an id may be about.
struct Things {
    order: String,
    alert: String,
    key: String,
    /// Of that alert, and of another one.
    manage_tokens: [String; 2],
}

impl Things {
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
        let id = |thing: &Value| thing["id"].as_str().expect("an id").to_owned();
        let manage_tokens = [&alert, &other].map(|alert| alert["manage_token"].as_str().expect("a token").to_owned());
        Self { order: id(&order), alert: id(&alert), key: id(&key), manage_tokens }
    }

    fn named_by(&self, path: &str) -> &str {
        let kinds = [("/v1/orders/", &self.order), ("/v1/alerts/", &self.alert), ("/v1/api-keys/", &self.key)];
        let found = kinds.iter().find(|(begin, _)| path.starts_with(begin));
        found.map(|(_, id)| id.as_str()).unwrap_or_else(|| panic!("{path}: this test has nothing of Ada's there"))
    }
}

impl Things {
    /// Where the path has no id, what is given.
    fn named_by_or<'a>(&'a self, path: &str, otherwise: &'a str) -> &'a str {
        if path.contains("{id}") { self.named_by(path) } else { otherwise }
    }
}

/// A refusal without what is different in every answer.
fn said(answer: &ApiResponse) -> Value {
    let mut problem: Value = answer.json();
    problem.as_object_mut().expect("a problem").remove("trace_id");
    problem
}

#[tokio::test]
async fn every_operation_is_refused_to_whoever_may_not() {
    let system = System::start().await;
    let api = &system.api;
    for email in ["ada@example.com", "bob@example.com"] {
        system.sign_up(email).await;
    }
    let (ada, bob) = (api.sign_in("ada@example.com").await, api.sign_in("bob@example.com").await);
    let things = Things::of(api, &ada).await;
    let document: Value = api.get("/openapi.json").await.expect_status(200).json();
    let operations = Operation::all(&document);
    assert!(operations.len() > 25, "{} operations", operations.len());
    let full = api.create_api_key(&bob, &SCOPES).await;
    let mut without = Vec::new();
    for lacking in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != lacking).collect();
        without.push((lacking, api.create_api_key(&bob, &others).await));
    }

    let mut keys = BTreeMap::new();
    for operation in &operations {
        let name = operation.name.as_str();
        // Nobody.
        let nobody = operation.call(api, None, MISSING).await;
        if PUBLIC.contains(&name) {
            assert!(operation.schemes.is_empty(), "{name} is public");
            assert!(![401, 403].contains(&nobody.status), "{name}: {}", nobody.text);
            continue;
        }
        assert!(
            !operation.schemes.is_empty(),
            "{name} does not say what it needs: add its security, or make it PUBLIC"
        );
        if operation.takes("") {
            assert!(![401, 403].contains(&nobody.status), "{name}: {}", nobody.text);
        } else {
            assert_eq!(nobody.status, 401, "{name}: {}", nobody.text);
            assert!(nobody.headers.contains_key("www-authenticate"), "{name}");
        }
        // Tokens that never were.
        for forged in
            ["tbs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "tbk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let refused = operation.call(api, Some(forged), MISSING).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
        }
        // A key without one of the scopes, or where no key will do; one with what is written is enough.
        let exact = exact_key(api, &bob, &mut keys, operation).await;
        if let Some(key) = &exact {
            assert!(!operation.scopes.is_empty(), "{name} takes any key");
            let admitted = operation.call(api, Some(key), MISSING).await;
            assert!(![401, 403].contains(&admitted.status), "{name} with its scopes: {}", admitted.text);
        } else {
            assert_eq!(operation.call(api, Some(&full), MISSING).await.status, 403, "{name} takes a key");
        }
        for (lacking, key) in
            without.iter().filter(|(lacking, _)| operation.scopes.iter().any(|scope| scope == lacking))
        {
            assert_eq!(operation.call(api, Some(key), MISSING).await.status, 403, "{name} without {lacking}");
        }
        if OPERATORS.contains(&name) {
            assert_eq!(operation.call(api, Some(&bob), MISSING).await.status, 403, "{name} is an operator's");
        }
        // Somebody else: as if it were not there.
        if operation.path.contains("{id}") {
            for token in std::iter::once(&bob).chain(&exact) {
                let [foreign, missing] =
                    [things.named_by(&operation.path), MISSING].map(|id| operation.call(api, Some(token), id));
                let (foreign, missing) = (foreign.await, missing.await);
                assert_eq!(foreign.status, 404, "{name}: {}", foreign.text);
                assert_eq!(said(&foreign), said(&missing), "{name}");
            }
        }
        // The token of an alert is for that alert, and for what says so.
        let [own, other] = &things.manage_tokens;
        if operation.takes("manage_token") {
            let foreign = operation.call(api, Some(other), things.named_by(&operation.path)).await;
            assert_eq!(foreign.status, 404, "{name}: {}", foreign.text);
        } else if !operation.takes("") {
            let refused = operation.call(api, Some(own), things.named_by_or(&operation.path, MISSING)).await;
            assert_eq!(refused.status, 401, "{name}: {}", refused.text);
        }
    }

    // And what is allowed is not refused, or all of the above would be easy.
    let mut keys = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.method == Method::GET) {
        let id = things.named_by_or(&operation.path, MISSING);
        let exact = exact_key(api, &ada, &mut keys, operation).await;
        let own = operation.takes("manage_token").then(|| things.manage_tokens[0].clone());
        for token in [Some(ada.clone()), exact, own].into_iter().flatten() {
            let seen = operation.call(api, Some(&token), id).await;
            assert!(![401, 403].contains(&seen.status), "{}: {}", operation.name, seen.text);
            assert!(!operation.path.contains("{id}") || seen.status == 200, "{}: {}", operation.name, seen.text);
        }
    }
}

/// Somebody's key with the scopes that an operation asks for and no other, where a key will do.
async fn exact_key(
    api: &Api,
    session: &str,
    made: &mut BTreeMap<Vec<String>, String>,
    operation: &Operation,
) -> Option<String> {
    if !operation.takes("api_key") {
        return None;
    }
    if !made.contains_key(&operation.scopes) {
        let scopes: Vec<&str> = operation.scopes.iter().map(String::as_str).collect();
        made.insert(operation.scopes.clone(), api.create_api_key(session, &scopes).await);
    }
    made.get(&operation.scopes).cloned()
}
