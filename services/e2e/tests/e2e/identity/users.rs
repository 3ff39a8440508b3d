//! Users: sign-up, sessions, API keys, passwords, alerts, and deletion.

use std::time::Duration;

use e2e::{Api, ApiResponse, Database, PASSWORD, System, wait_until};
use events::{
    OrderUpdated, TradeSettled,
    envelope::{CE_ID, CE_TYPE, NATS_MSG_ID},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const CONFIRMED: &[(&str, &str)] = &[("TICKBELL_GATEWAY__CONFIRMATION", "required")];
pub(crate) const OTHER_PASSWORD: &str = "another horse another staple";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the problem without its trace id, which differs in every answer.
pub(crate) fn refusal(answer: &ApiResponse) -> Value {
    let mut problem: Value = answer.json();
    problem.as_object_mut().expect("a problem").remove("trace_id");
    problem
}

#[tokio::test]
async fn a_user_signs_up_signs_in_and_deletes_the_account() {
    let mut system = System::with(CONFIRMED).await;
    let ada = "Ada@example.com";
    let api = system.api.clone();

    // There is no account before the address is confirmed, and opening the link shows a page with a button.
    api.post("/v1/users", &json!({ "email": ada, "password": PASSWORD })).await.expect_status(202);
    api.try_sign_in(ada, PASSWORD).await.expect_status(401);
    let link = system.mail_to(ada, "Confirm your Tickbell account").await.link("/join/");
    assert!(api.get(&link).await.expect_status(200).text.contains("Yes, create my account"));
    api.try_sign_in(ada, PASSWORD).await.expect_status(401);
    let joined = Api::send(api.request(Method::POST, &link)).await.expect_status(200);
    assert!(joined.text.contains("Your account is ready"), "{}", joined.text);
    assert!(api.get(&link).await.text.contains("Your account is ready"), "the link can be opened again");

    // Addresses are compared without regard to case.
    let first = api.sign_in("ada@EXAMPLE.com").await;
    let me: Value = api.call(&first, Method::GET, "/v1/me").await.expect_status(200).json();
    assert_eq!((&me["email"], &me["role"]), (&json!(ada), &json!("user")));

    // Signing in anew ends the session that is presented, and no other.
    let other = api.sign_in(ada).await;
    let body = json!({ "email": ada, "password": PASSWORD });
    let second: Value = api.call_with(&first, Method::POST, "/v1/sessions", &body).await.expect_status(201).json();
    let second = second["token"].as_str().expect("a token").to_owned();
    api.call(&first, Method::GET, "/v1/me").await.expect_status(401);
    api.call(&other, Method::GET, "/v1/me").await.expect_status(200);

    keys_do_what_their_scopes_say(&api, &second).await;

    // A new password ends every session, revokes the keys, invalidates earlier reset links, and is notified by mail.
    let key = api.create_api_key(&second, &["read"]).await;
    let resets = || system.mails().into_iter().filter(|mail| mail.subject == "Reset your Tickbell password");
    api.post("/v1/password-resets", &json!({ "email": ada })).await.expect_status(202);
    system.wait_until_processed().await;
    let outstanding = resets().next().expect("a mail").link("/reset/");
    let change = |current: &str| json!({ "current_password": current, "new_password": OTHER_PASSWORD });
    api.call_with(&second, Method::PUT, "/v1/me/password", &change("not my password")).await.expect_status(422);
    let changed: Value = api.call_with(&second, Method::PUT, "/v1/me/password", &change(PASSWORD)).await.json();
    let third = changed["token"].as_str().unwrap_or_else(|| panic!("no token in {changed}")).to_owned();
    for gone in [&second, &other, &key] {
        api.call(gone, Method::GET, "/v1/me").await.expect_status(401);
    }
    api.call(&third, Method::GET, "/v1/me").await.expect_status(200);
    assert!(api.get(&outstanding).await.expect_status(200).text.contains("used already"));
    system.mail_to(ada, "Your Tickbell password was changed").await;
    api.try_sign_in(ada, PASSWORD).await.expect_status(401);

    // A forgotten password is replaced through the link in a mail, once, on its page or by the API.
    let key = api.create_api_key(&third, &["read"]).await;
    api.post("/v1/password-resets", &json!({ "email": ada })).await.expect_status(202);
    system.wait_until_processed().await;
    let link = resets().map(|mail| mail.link("/reset/")).find(|link| *link != outstanding).expect("another mail");
    assert!(api.get(&link).await.expect_status(200).text.contains("type=\"password\""));
    let fill = async |password: &str| {
        let form = format!("password={}", password.replace(' ', "+"));
        Api::send(api.request(Method::POST, &link).header("content-type", FORM).body(form)).await
    };
    assert!(fill("too short").await.expect_status(422).text.contains("12 to 128"));
    assert!(fill(PASSWORD).await.expect_status(200).text.contains("Your password is set"));
    assert!(fill(OTHER_PASSWORD).await.expect_status(200).text.contains("used already"));
    let (_, token) = link.rsplit_once('/').expect("a link");
    let again = api.post(&format!("/v1/password-resets/{token}"), &json!({ "password": OTHER_PASSWORD })).await;
    again.expect_status(409);
    for gone in [&third, &key] {
        api.call(gone, Method::GET, "/v1/me").await.expect_status(401);
    }

    // Signing out ends one session; signing out everywhere ends all of them and revokes the keys.
    let (one, two) = (api.sign_in(ada).await, api.sign_in(ada).await);
    api.call(&one, Method::DELETE, "/v1/sessions/current").await.expect_status(204);
    api.call(&one, Method::GET, "/v1/me").await.expect_status(401);
    let three = api.sign_in(ada).await;
    let key = api.create_api_key(&three, &["read"]).await;
    api.call(&two, Method::DELETE, "/v1/sessions").await.expect_status(204);
    for gone in [&two, &three, &key] {
        api.call(gone, Method::GET, "/v1/me").await.expect_status(401);
    }
    system.mail_to(ada, "You are signed out of Tickbell everywhere").await;

    the_export_is_complete_and_deletion_removes_everything(&system, ada).await;
    for secret in [PASSWORD, OTHER_PASSWORD, token, "tbs_", "tbk_"] {
        assert!(!system.has_logged(secret), "{secret} in the log");
    }
    assert_eq!(system.logged_errors(), [""; 0], "no request of this test is a server error");
    system.stop().await;
}

async fn keys_do_what_their_scopes_say(api: &Api, session: &str) {
    let (reads, alerts) =
        (api.create_api_key(session, &["read"]).await, api.create_api_key(session, &["alerts"]).await);
    api.call(&reads, Method::GET, "/v1/me").await.expect_status(200);
    api.call(&alerts, Method::GET, "/v1/alerts").await.expect_status(200);
    for (key, path) in
        [(&alerts, "/v1/me"), (&reads, "/v1/alerts"), (&reads, "/v1/me/export"), (&reads, "/v1/api-keys")]
    {
        let refused = api.call(key, Method::GET, path).await.expect_status(403);
        assert_eq!(refused.json::<Value>()["type"], "urn:tickbell:problem:forbidden", "{path}");
    }
    let listed = api.call(session, Method::GET, "/v1/api-keys").await.expect_status(200);
    assert!(!listed.text.contains("tbk_"), "a key is shown once");
    let keys: Value = listed.json();
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(keys["items"][0]["scopes"], json!(["alerts"]), "newest first");
    let path = format!("/v1/api-keys/{}", keys["items"][0]["id"].as_str().expect("an id"));
    api.call(session, Method::DELETE, &path).await.expect_status(204);
    api.call(&alerts, Method::GET, "/v1/alerts").await.expect_status(401);
    api.call(session, Method::DELETE, "/v1/api-keys/00000000-0000-7000-8000-000000000000").await.expect_status(404);
}

async fn the_export_is_complete_and_deletion_removes_everything(system: &System, address: &str) {
    let api = &system.api;
    let session = api.sign_in(address).await;
    let rule = json!({ "symbol": "BTC-USD", "percent": 5 });
    api.call_with(&session, Method::POST, "/v1/alerts", &rule).await.expect_status(201);
    system.wait_until_processed().await;
    let answer = api.call(&session, Method::GET, "/v1/me/export").await.expect_status(200);
    let export: Value = answer.json();
    assert_eq!((&export["account"]["email"], &export["account"]["role"]), (&json!(address), &json!("user")));
    for (list, least) in [("sessions", 1), ("api_keys", 1), ("rules", 1), ("messages", 3), ("sign_ups", 1)] {
        assert!(export[list].as_array().is_some_and(|items| items.len() >= least), "{list} in {export}");
    }
    assert!(!answer.text.contains("hash") && !answer.text.contains("argon2"), "no secrets: {export}");

    api.call(&session, Method::DELETE, "/v1/me").await.expect_status(204);
    api.call(&session, Method::GET, "/v1/me").await.expect_status(401);
    api.try_sign_in(address, PASSWORD).await.expect_status(401);
    let output = system.run(&["person", "export", address]).await;
    let export: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(export["account"], Value::Null);
    for list in ["rules", "messages", "sign_ups", "sessions", "api_keys"] {
        assert_eq!(export[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn alerts_belong_to_the_user_and_those_of_its_address_can_be_adopted() {
    let mut system = System::with(CONFIRMED).await;
    let api = system.api.clone();
    let (ada, bob) = ("ada@example.com", "bob@example.com");
    let rule = json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "7000" } } });
    let before = api.subscribe(rule.clone()).await;
    let pending = api.subscribe(rule.clone()).await;
    system.wait_until_processed().await;
    let confirmation = |id: &str| {
        let mails = system.mails();
        mails
            .into_iter()
            .find(|mail| mail.header("X-Tickbell-Rule").as_deref() == Some(id))
            .expect("a confirmation mail")
    };
    let link = confirmation(&before.id).link("/confirm/");
    Api::send(api.request(Method::POST, &link)).await.expect_status(200);
    for address in [ada, bob] {
        system.sign_up(address).await;
    }
    let (session, stranger) = (api.sign_in(ada).await, api.sign_in(bob).await);
    let ids = async |path: &str, token: &str| -> Vec<String> {
        let items: Vec<Value> = api.pages(path, Some(token)).await;
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };

    // The user's own address is confirmed already, and is the default.
    let own: Value = api.call_with(&session, Method::POST, "/v1/alerts", &rule).await.expect_status(201).json();
    assert_eq!((&own["status"], &own["notify"]["email"]), (&json!("active"), &json!(ada)));
    let mut other = rule.clone();
    other["notify"] = json!({ "email": bob });
    let other: Value = api.call_with(&session, Method::POST, "/v1/alerts", &other).await.expect_status(201).json();
    assert_eq!(other["status"], "pending", "another address must be confirmed first");
    let (own, other) = (own["id"].as_str().expect("an id"), other["id"].as_str().expect("an id"));
    assert_eq!(ids("/v1/alerts?limit=1", &session).await, [other, own]);
    assert!(ids("/v1/alerts?limit=1", &stranger).await.is_empty());

    // Another user's alert answers like one that does not exist.
    let path = format!("/v1/alerts/{own}");
    let missing = api.call(&stranger, Method::GET, "/v1/alerts/00000000-0000-7000-8000-000000000000").await;
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(refusal(&api.call(&stranger, method, &path).await.expect_status(404)), refusal(&missing));
    }
    api.call_with(&session, Method::PATCH, &path, &json!({ "status": "paused" })).await.expect_status(200);
    let (alerts, reads) =
        (api.create_api_key(&session, &["alerts"]).await, api.create_api_key(&session, &["read", "trade"]).await);
    api.call(&alerts, Method::GET, &format!("{path}/firings")).await.expect_status(200);
    api.call(&reads, Method::GET, &path).await.expect_status(403);
    api.call("tbs_nonsense", Method::GET, &path).await.expect_status(401);
    api.call_with("tbs_nonsense", Method::POST, "/v1/alerts", &rule).await.expect_status(401);

    // An alert can be adopted only by the user of its address, once it is confirmed, and while no user owns it.
    assert_eq!(ids("/v1/alerts?adoptable=true&limit=1", &session).await, [before.id.as_str()]);
    let adopt = |id: &str| format!("/v1/alerts/{id}/adopt");
    for (token, id) in [(&session, &pending.id), (&stranger, &before.id), (&stranger, &own.to_owned())] {
        api.call(token, Method::POST, &adopt(id)).await.expect_status(404);
    }
    for _ in 0..2 {
        api.call(&session, Method::POST, &adopt(&before.id)).await.expect_status(200);
    }
    assert!(ids("/v1/alerts?adoptable=true&limit=1", &session).await.is_empty());
    assert_eq!(ids("/v1/alerts?limit=1", &session).await.len(), 3);
    assert_eq!(api.status_of(&before).await, "active", "its manage token stays valid");

    // The role of operator is given on the command line.
    let changed = system.run(&["accounts", "role", "ADA@example.com", "operator"]).await;
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let me: Value = api.call(&session, Method::GET, "/v1/me").await.expect_status(200).json();
    assert_eq!(me["role"], "operator");
    assert_eq!(system.run(&["accounts", "role", "eve@example.com", "operator"]).await.status.code(), Some(1));
    system.stop().await;
}

#[tokio::test]
async fn links_and_sessions_expire() {
    let mut system = System::with(CONFIRMED).await;
    let (api, database) = (system.api.clone(), Database::of(&system));
    let ada = "ada@example.com";
    let expire = |table: &str| database.value(&format!("UPDATE {table} SET expires_at = now() - interval '1 minute'"));
    api.post("/v1/users", &json!({ "email": ada, "password": PASSWORD })).await.expect_status(202);
    let link = system.mail_to(ada, "Confirm your Tickbell account").await.link("/join/");
    expire("sign_ups");
    for method in [Method::GET, Method::POST] {
        let answer = Api::send(api.request(method, &link)).await.expect_status(200);
        assert!(answer.text.contains("This link is good no longer"), "{}", answer.text);
    }
    api.try_sign_in(ada, PASSWORD).await.expect_status(401);

    let bob = "bob@example.com";
    system.sign_up(bob).await;
    let session = api.sign_in(bob).await;
    expire("sessions");
    api.call(&session, Method::GET, "/v1/me").await.expect_status(401);
    api.post("/v1/password-resets", &json!({ "email": bob })).await.expect_status(202);
    let link = system.mail_to(bob, "Reset your Tickbell password").await.link("/reset/");
    expire("password_resets");
    assert!(api.get(&link).await.expect_status(200).text.contains("good no longer"));
    let (_, token) = link.rsplit_once('/').expect("a link");
    let late = api.post(&format!("/v1/password-resets/{token}"), &json!({ "password": OTHER_PASSWORD })).await;
    late.expect_status(404);
    api.sign_in(bob).await;
    api.try_sign_in(bob, OTHER_PASSWORD).await.expect_status(401);

    // Expired rows are deleted without any request.
    database.run("UPDATE password_resets SET expires_at = now() - interval '25 hours'");
    database.run("UPDATE login_attempts SET last_failed_at = now() - interval '61 minutes'");
    expire("sign_ups");
    expire("sessions");
    system.stop().await;
    system.up().await;
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM sign_ups), (SELECT count(*) FROM password_resets),
                                 (SELECT count(*) FROM sessions), (SELECT count(*) FROM login_attempts))";
    wait_until("nothing is left", Duration::from_secs(30), async || (database.value(left) == "0 0 0 0").then_some(()))
        .await;
    system.stop().await;
}

#[tokio::test]
async fn the_owner_of_an_order_is_notified_of_its_outcome() {
    let mut system = System::start().await;
    system.sign_up("ada@example.com").await;
    let session = system.api.sign_in("ada@example.com").await;
    let me: Value = system.api.call(&session, Method::GET, "/v1/me").await.expect_status(200).json();
    let (traded, rejected, open) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let trade = |order: Uuid, user: &Value| -> TradeSettled {
        let trade = json!({
            "id": TradeSettled::id_of(order), "order_id": order, "user_id": user, "symbol": "BTC-USD", "side": "buy",
            "size": "0.1", "price": "6804.91", "quote_amount": "680.49", "fee": "0.68", "tick_id": "1", "tick_sequence": 1,
            "tick_index": 0, "tick_price": "6801.51", "posting_id": 1, "at": "2018-04-05T13:45:00Z",
        });
        serde_json::from_value(trade).expect("a trade")
    };
    let update = |order: Uuid, status: &str, reason: Option<&str>| -> OrderUpdated {
        let update = json!({
            "order_id": order, "revision": 1, "user_id": me["id"], "symbol": "BTC-USD", "status": status,
            "reason": reason, "tick_sequence": 1, "at": "2018-04-05T13:45:00Z",
        });
        serde_json::from_value(update).expect("a change")
    };
    let mut unknown = update(open, "open", None).to_message();
    unknown.id = "unknown".into();
    for (name, value) in &mut unknown.headers {
        match name.as_str() {
            CE_TYPE => *value = "order-forgotten.v1".into(),
            NATS_MSG_ID | CE_ID => *value = "unknown".into(),
            _ => {}
        }
    }
    let stranger = json!(Uuid::from_u128(9));
    let settled = trade(traded, &me["id"]).to_message();
    system
        .publish(&[
            settled.clone(),
            update(traded, "filled", None).to_message(),
            update(rejected, "rejected", Some("insufficient_funds")).to_message(),
            update(open, "open", None).to_message(),
            trade(Uuid::from_u128(4), &stranger).to_message(),
            unknown,
        ])
        .await;
    system.wait_until_processed().await;
    let mut subjects: Vec<String> = system.mails().into_iter().map(|mail| mail.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["Bought 0.1 BTC at 6,804.91 USD", "Your order was rejected: insufficient funds"]);
    let listed = system.run(&["dlq", "list", "--json"]).await;
    let dead_letters = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        dead_letters.contains("order-forgotten.v1, expected trade-settled.v1 or order-updated.v1"),
        "{dead_letters}"
    );
    system.stop().await;
}
