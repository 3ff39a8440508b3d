//! Invalid requests: each answer is a problem document that names the field or parameter, and never a server error.

use e2e::{Api, ApiResponse, System};
use reqwest::Method;
use serde_json::{Value, json};

/// More than the gateway accepts as a body, and little enough that it still reads the rest and answers.
const LARGE: usize = 10 * 1024 * 1024;

/// Checks that an answer is a problem document (RFC 9457) whose list `errors` names this field or parameter.
fn assert_refused(what: &str, answer: &ApiResponse, status: u16, place: Option<&str>) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    let problem: Value = answer.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|text| text.len() > 3), "{what}: {problem}");
    }
    let Some(place) = place else { return };
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{what}: no errors in {problem}"));
    let named = |error: &Value| error["pointer"] == place || error["parameter"] == place;
    assert!(errors.iter().any(named), "{what}: {place} is not named in {problem}");
}

#[tokio::test]
async fn bad_requests_are_refused_by_the_name_of_the_field() {
    let mut system = System::start().await;
    let api = &system.api;
    bad_short_forms(api).await;
    bad_full_forms(api).await;
    bad_bodies(api).await;
    bad_queries(api).await;
    bad_tokens_and_paths(api).await;
    bad_accounts(api).await;
    bad_deposits(&system).await;
    assert_eq!(system.logged_errors(), [""; 0], "no request of this test is a server error");
    system.stop().await;
}

async fn bad_short_forms(api: &Api) {
    let long = format!("{}@example.com", "a".repeat(300));
    let cases = [
        ("percent", json!("0")),
        ("percent", json!(-5)),
        ("percent", json!("0.0099")),
        ("percent", json!("1000.01")),
        ("percent", json!("1e30")),
        ("percent", json!("1e-30")),
        ("percent", json!("five")),
        ("percent", json!("NaN")),
        ("percent", json!(true)),
        ("percent", json!([5])),
        ("percent", json!(null)),
        ("email", json!("")),
        ("email", json!("ada")),
        ("email", json!("ada@example.com\r\nBcc: eve@example.com")),
        ("email", json!("ada@example.com\n")),
        ("email", json!("Ada <ada@example.com>")),
        ("email", json!("ada@example.com,eve@example.com")),
        ("email", json!("ada\u{0}@example.com")),
        ("email", json!(long)),
        ("email", json!(7)),
        ("symbol", json!("btc-usd")),
        ("symbol", json!("BTC//USD")),
        ("symbol", json!("BRK-B")),
        ("symbol", json!("BRK/B")),
        ("symbol", json!("BTC.*")),
        ("symbol", json!(">")),
        ("symbol", json!("ABCDEFGHIJKLMNOPQRSTU-USD")),
        ("symbol", json!("BTC-USD'; DROP TABLE rules; --")),
        ("symbol", json!({})),
        ("colour", json!("red")),
        ("id", json!("00000000-0000-0000-0000-000000000000")),
    ];
    for (field, value) in cases {
        let mut body = json!({ "email": "ada@example.com", "symbol": "BTC-USD", "percent": "5" });
        body[field] = value;
        let answer = api.post("/v1/alerts", &body).await;
        assert_refused(&body.to_string(), &answer, 422, Some(&format!("/{field}")));
    }
    // JSON numbers beyond the range of common libraries.
    for number in ["1e400", "99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001"] {
        let body = format!(r#"{{"email": "ada@example.com", "symbol": "BTC-USD", "percent": {number}}}"#);
        assert_refused(&body, &send(api, "application/json", body.clone()).await, 422, Some("/percent"));
    }
}

async fn bad_full_forms(api: &Api) {
    let cases = [
        ("venue", json!("Coinbase"), "/venue"),
        ("venue", json!(5), "/venue"),
        ("repeat", json!("twice"), "/repeat"),
        ("cooldown", json!("-5m"), "/cooldown"),
        ("cooldown", json!(60), "/cooldown"),
        ("expires_at", json!("tomorrow"), "/expires_at"),
        ("expires_at", json!("2001-01-01T00:00:00Z"), "/expires_at"),
        ("notify", json!({}), "/notify/email"),
        ("notify", json!({ "email": "ada@example.com", "sms": "5" }), "/notify/sms"),
        ("condition", json!({}), "/condition"),
        ("condition", json!({ "volume": { "above": "5" } }), "/condition"),
        ("condition", json!({ "price": { "above": "-1" } }), "/condition/price/above"),
        ("condition", json!({ "price": { "below": "1e20" } }), "/condition/price/below"),
        ("condition", json!({ "price": { "above": "1", "below": "2" } }), "/condition/price"),
        ("condition", json!({ "change": { "percent": "5", "since": "9s" } }), "/condition/change/since"),
        ("condition", json!({ "change": { "percent": "5", "since": "8d" } }), "/condition/change/since"),
        ("condition", json!({ "change": { "percent": "100", "direction": "down" } }), "/condition/change/percent"),
        ("condition", json!({ "change": { "percent": "5", "direction": "left" } }), "/condition/change/direction"),
    ];
    for (field, value, place) in cases {
        let condition = json!({ "price": { "above": "5" } });
        let mut body = json!({ "symbol": "SPY", "condition": condition, "notify": { "email": "ada@example.com" } });
        body[field] = value;
        assert_refused(&body.to_string(), &api.post("/v1/alerts", &body).await, 422, Some(place));
    }
    assert_refused("{}", &api.post("/v1/alerts", &json!({})).await, 422, Some("/symbol"));
}

async fn send(api: &Api, kind: &str, body: String) -> ApiResponse {
    Api::send(api.request(Method::POST, "/v1/alerts").header("content-type", kind).body(body)).await
}

async fn bad_bodies(api: &Api) {
    let json = "application/json";
    for body in ["", "{", "not json", "{\"symbol\": \"SPY\",}", "\u{feff}{}"] {
        let answer = send(api, json, body.to_owned()).await;
        assert_refused(body, &answer, 400, None);
    }
    for body in ["[]", "5", "\"SPY\"", "null"] {
        assert_refused(body, &send(api, json, body.to_owned()).await, 422, Some(""));
    }
    assert_refused("a form", &send(api, "text/plain", "{}".into()).await, 415, None);
    for (what, body) in [("60000 brackets", "[".repeat(60_000)), ("half a character", r#"{"symbol": "\ud800"}"#.into())]
    {
        let answer = send(api, json, body).await;
        assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
    }
    let large = format!(r#"{{"symbol": "{}"}}"#, "A".repeat(LARGE));
    assert_refused("ten megabytes", &send(api, json, large).await, 413, None);
}

async fn bad_queries(api: &Api) {
    for (query, parameter) in [
        ("prices?limit=0", "limit"),
        ("prices?limit=1001", "limit"),
        ("prices?limit=-1", "limit"),
        ("prices?limit=ten", "limit"),
        ("prices?limit=99999999999999999999", "limit"),
        ("prices?cursor=%00", "cursor"),
        ("prices?colour=red", "colour"),
        ("prices/BTC-USD/history?cursor=AAAA", "cursor"),
        ("prices/BTC-USD/history?order=sideways", "order"),
        ("prices/BTC-USD/history?from=yesterday", "from"),
        ("prices/BTC-USD/history?from=2019-01-01T00:00:00Z&to=2018-01-01T00:00:00Z", "from"),
        ("prices/BTC-USD/history?venue=A.B", "venue"),
        ("prices/BTC-USD/history?limit=1&limit=2", "limit"),
        ("prices/BTC-USD/candles", "interval"),
        ("prices/BTC-USD/candles?interval=7m", "interval"),
        ("prices/BTC-USD/candles?interval=1m&cursor=nonsense", "cursor"),
        ("prices/btc-usd", "symbol"),
        ("prices/BTC%2F%2FUSD/history", "symbol"),
        ("prices/%FF", "symbol"),
    ] {
        assert_refused(query, &api.get(&format!("/v1/{query}")).await, 422, Some(parameter));
    }
    for path in ["prices/BRK-B", "prices/BRK_B/history"] {
        assert_refused("no currency", &api.get(&format!("/v1/{path}")).await, 404, None);
    }
}

async fn bad_tokens_and_paths(api: &Api) {
    let rule = json!({ "symbol": "SPY", "condition": { "price": { "above": "5" } } });
    let (own, other) = (api.subscribe(rule.clone()).await, api.subscribe(rule).await);
    let path = format!("/v1/alerts/{}", own.id);
    for path in [path.clone(), format!("{path}/firings")] {
        assert_refused("no token", &api.get(&path).await, 401, None);
        let request = api.request(Method::GET, &path).bearer_auth(&other.manage_token);
        assert_refused("another's token", &Api::send(request).await, 404, None);
        let request = api.request(Method::GET, &path).header("authorization", "Basic YWRhOmFkYQ==");
        assert_refused("another scheme", &Api::send(request).await, 401, None);
    }
    for (body, place) in [
        (json!({ "status": "done" }), "/status"),
        (json!({ "status": 5 }), "/status"),
        (json!({}), "/status"),
        (json!({ "status": "paused", "symbol": "SPY" }), "/symbol"),
    ] {
        assert_refused(&body.to_string(), &api.manage(Method::PATCH, &own, Some(body.clone())).await, 422, Some(place));
    }
    let request = api.request(Method::GET, &format!("{path}/firings?cursor=x")).bearer_auth(&own.manage_token);
    assert_refused("a cursor", &Api::send(request).await, 422, Some("cursor"));
    let request = api.request(Method::GET, "/v1/alerts/not-a-uuid").bearer_auth(&own.manage_token);
    assert_refused("no UUID", &Api::send(request).await, 404, None);
    for path in ["/v1", "/v2/alerts", "/v1/alerts/", "/v1/prices/BTC-USD/", "/v1/../etc/passwd"] {
        assert_refused(path, &api.get(path).await, 404, None);
    }
    for (method, path) in [(Method::PUT, "/v1/alerts"), (Method::GET, "/v1/users"), (Method::DELETE, "/v1/prices")] {
        let answer = Api::send(api.request(method, path)).await;
        assert_refused(path, &answer, 405, None);
        assert!(answer.headers.contains_key("allow"), "{path}");
    }
    // The pages behind links in mails answer in HTML.
    for path in ["/confirm/nonsense", "/unsubscribe/nonsense", "/join/nonsense", "/reset/nonsense"] {
        let form = api.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        let answer = Api::send(form.body("password=correct+horse+battery")).await.expect_status(404);
        assert!(answer.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/html")));
    }
}

async fn bad_accounts(api: &Api) {
    let good = json!({ "email": "ada@example.com", "password": "correct horse battery staple" });
    for path in ["/v1/users", "/v1/sessions"] {
        for (field, value) in [
            ("email", json!("ada")),
            ("email", json!(5)),
            ("email", json!("ada@example.com\r\nBcc: eve@example.com")),
            ("password", json!(123_456_789_012_i64)),
            ("password", json!(null)),
            ("password", json!({ "hunter2": 1 })),
            ("role", json!("operator")),
        ] {
            let mut body = good.clone();
            body[field] = value;
            let answer = api.post(path, &body).await;
            assert_refused(&body.to_string(), &answer, 422, Some(&format!("/{field}")));
            assert!(!answer.text.contains("123456") && !answer.text.contains("hunter2"), "{}", answer.text);
        }
        for field in ["email", "password"] {
            let mut body = good.clone();
            body.as_object_mut().expect("an object").remove(field);
            assert_refused(field, &api.post(path, &body).await, 422, Some(&format!("/{field}")));
        }
    }
    for password in ["", "elevenchars", &"a".repeat(129)] {
        let mut body = good.clone();
        body["password"] = json!(password);
        assert_refused(password, &api.post("/v1/users", &body).await, 422, Some("/password"));
    }
    assert_refused("no address", &api.post("/v1/password-resets", &json!({ "email": "" })).await, 422, Some("/email"));
    let reset = api.post("/v1/password-resets/nonsense", &json!({ "password": "correct horse battery" })).await;
    assert_refused("no link", &reset, 404, None);

    api.post("/v1/users", &good).await.expect_status(202);
    let token = api.sign_in("ada@example.com").await;
    for (body, place) in [
        (json!({ "scopes": ["read"] }), "/name"),
        (json!({ "name": "", "scopes": ["read"] }), "/name"),
        (json!({ "name": "a\nb", "scopes": ["read"] }), "/name"),
        (json!({ "name": "a" }), "/scopes"),
        (json!({ "name": "a", "scopes": [] }), "/scopes"),
        (json!({ "name": "a", "scopes": ["write"] }), "/scopes/0"),
        (json!({ "name": "a", "scopes": "read" }), "/scopes"),
        (json!({ "name": "a", "scopes": ["read"], "key": "tbk_mine" }), "/key"),
    ] {
        let answer = api.call_with(&token, Method::POST, "/v1/api-keys", &body).await;
        assert_refused(&body.to_string(), &answer, 422, Some(place));
    }
    for (query, parameter) in [
        ("alerts?adoptable=maybe", "adoptable"),
        ("alerts?cursor=x", "cursor"),
        ("api-keys?cursor=x", "cursor"),
        ("api-keys?limit=0", "limit"),
    ] {
        let answer = api.call(&token, Method::GET, &format!("/v1/{query}")).await;
        assert_refused(query, &answer, 422, Some(parameter));
    }
    for token in ["tbs_", "tbk_AAAA", "nonsense", &format!("{token}A")] {
        assert_refused(token, &api.call(token, Method::GET, "/v1/me").await, 401, None);
    }
}

async fn bad_deposits(system: &System) {
    let (api, operator) = (&system.api, "bob@example.com");
    system.sign_up(operator).await;
    assert!(system.run(&["accounts", "role", operator, "operator"]).await.status.success());
    let token = api.sign_in(operator).await;
    for (field, value) in [
        ("email", json!("a\u{0}")),
        ("email", json!("ada")),
        ("email", json!("nobody@example.com")),
        ("email", json!(5)),
        ("asset", json!("usd")),
        ("asset", json!("NONE")),
        ("amount", json!("0")),
        ("amount", json!("-1")),
        ("amount", json!("0.001")),
        ("amount", json!("1e400")),
        ("reference", json!("a\u{0}")),
        ("reference", json!("a".repeat(101))),
        ("colour", json!("red")),
    ] {
        let mut body = json!({ "email": operator, "asset": "USD", "amount": "1" });
        body[field] = value;
        let answer = api.call_with(&token, Method::POST, "/v1/deposits", &body).await;
        assert_refused(&body.to_string(), &answer, 422, Some(&format!("/{field}")));
    }
    for id in [json!("00000000-0000-7000-8000-000000000000"), json!("no id"), json!(5)] {
        let body = json!({ "user_id": id, "asset": "USD", "amount": "1" });
        let answer = api.call_with(&token, Method::POST, "/v1/deposits", &body).await;
        assert_refused(&body.to_string(), &answer, 422, Some("/user_id"));
    }
}
