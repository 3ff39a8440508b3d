//! Attacks on other people's accounts: finding out who has one, guessing passwords, and races with sign-outs.

use std::time::{Duration, Instant};

use e2e::{Api, Database, PASSWORD, System, wait_until};
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use super::users::{CONFIRMED, FORM, OTHER_PASSWORD, refusal};

#[tokio::test]
async fn answers_do_not_reveal_who_has_an_account_and_guessing_gets_slower() {
    let mut system = System::with(CONFIRMED).await;
    let api = system.api.clone();
    let known = ["ada@example.com", "bob@example.com"];
    let unknown = ["eve@example.com", "mallory@example.com"];
    for address in known {
        system.sign_up(address).await;
    }
    let mut answers: Vec<Vec<(u16, Value)>> = Vec::new();
    for addresses in [known, unknown] {
        for address in addresses {
            let mut said = Vec::new();
            for _ in 0..3 {
                let answer = api.try_sign_in(address, OTHER_PASSWORD).await;
                said.push((answer.status, refusal(&answer)));
            }
            let slowed = api.try_sign_in(address, PASSWORD).await.expect_status(429);
            assert_eq!(slowed.headers["retry-after"], "1", "{address}");
            said.push((slowed.status, refusal(&slowed)));
            let signed_up = api.post("/v1/users", &json!({ "email": address, "password": PASSWORD })).await;
            said.push((signed_up.status, signed_up.json()));
            let reset = api.post("/v1/password-resets", &json!({ "email": address })).await;
            said.push((reset.status, reset.json()));
            answers.push(said);
        }
    }
    assert!(answers.iter().all(|said| *said == answers[0]), "{answers:#?}");

    // The throttle ends by itself, and a success resets the count of failures.
    let signed_in = async || (api.try_sign_in(known[0], PASSWORD).await.status == 201).then_some(());
    wait_until("the throttle has ended", Duration::from_secs(30), signed_in).await;
    for _ in 0..2 {
        api.try_sign_in(known[0], OTHER_PASSWORD).await.expect_status(401);
    }
    api.sign_in(known[0]).await;

    // Repeated sign-ups of one address send it five mails at most.
    for _ in 0..6 {
        api.post("/v1/users", &json!({ "email": unknown[1], "password": PASSWORD })).await.expect_status(202);
    }
    system.wait_until_processed().await;
    assert_eq!(system.mails().iter().filter(|mail| mail.to == unknown[1]).count(), 5);

    // Each address gets its own mail, and no other address does.
    system.mail_to(known[0], "You have a Tickbell account already").await;
    system.mail_to(known[0], "Reset your Tickbell password").await;
    let mails = system.mails();
    let subjects: Vec<_> =
        mails.iter().filter(|mail| mail.to == unknown[0]).map(|mail| mail.subject.as_str()).collect();
    assert_eq!(subjects, ["Confirm your Tickbell account"]);
    system.stop().await;
}

#[tokio::test]
async fn a_link_creates_no_account_with_the_password_of_a_stranger() {
    let mut system = System::with(CONFIRMED).await;
    let api = system.api.clone();
    let (ada, bob) = ("ada@example.com", "bob@example.com");
    let sign_up = async |email: &str, password: &str| {
        api.post("/v1/users", &json!({ "email": email, "password": password })).await.expect_status(202);
    };
    let links = |email: &str| -> Vec<String> {
        let mails = system.mails().into_iter().filter(|mail| mail.to == email);
        mails.map(|mail| mail.link("/join/")).collect()
    };
    let follow = async |link: &str, password: &str| {
        let form = format!("password={}", password.replace(' ', "+"));
        Api::send(api.request(Method::POST, link).header("content-type", FORM).body(form)).await
    };

    // Eve signs Ada's address up as often as one hour allows, so that Ada's own sign-up sends no further mail.
    for _ in 0..5 {
        sign_up(ada, OTHER_PASSWORD).await;
    }
    sign_up(ada, PASSWORD).await;
    system.wait_until_processed().await;
    let eves = links(ada);
    assert_eq!(eves.len(), 5);
    for link in &eves {
        assert!(api.get(link).await.expect_status(200).text.contains("Several sign-ups used this address"));
        Api::send(api.request(Method::POST, link)).await.expect_status(422);
        assert!(
            follow(link, PASSWORD).await.expect_status(422).text.contains("That is not the password of this sign-up")
        );
    }
    api.try_sign_in(ada, OTHER_PASSWORD).await.expect_status(401);
    // Guesses get slower, as they do at the sign-in.
    for _ in 0..2 {
        follow(&eves[0], PASSWORD).await.expect_status(422);
    }
    slow_down(&system, "sign_up");
    follow(&eves[0], OTHER_PASSWORD).await.expect_status(429);

    // Of two pending sign-ups, the first one asks for its password as well: it need not be the owner's.
    sign_up(bob, OTHER_PASSWORD).await;
    system.wait_until_processed().await;
    let first = links(bob).remove(0);
    assert!(api.get(&first).await.expect_status(200).text.contains("Yes, create my account"));
    sign_up(bob, PASSWORD).await;
    system.wait_until_processed().await;
    assert!(follow(&first, "").await.expect_status(422).text.contains("Several sign-ups used this address"));
    let own = links(bob).into_iter().find(|link| *link != first).expect("a second mail");
    follow(&own, OTHER_PASSWORD).await.expect_status(422);
    assert!(follow(&own, PASSWORD).await.expect_status(200).text.contains("Your account is ready"));
    api.sign_in(bob).await;
    assert!(follow(&first, OTHER_PASSWORD).await.expect_status(200).text.contains("You already have an account"));
    system.stop().await;
}

/// Returns the median times of a request for addresses with an account and for those without, measured in turn so that
/// other load on the machine is the same for both.
async fn medians(with: &[String], without: &[String], ask: impl AsyncFn(&str, usize)) -> [Duration; 2] {
    let mut took = [Vec::new(), Vec::new()];
    for (turn, addresses) in with.iter().zip(without).enumerate() {
        for (took, address) in took.iter_mut().zip(<[&String; 2]>::from(addresses)) {
            let began = Instant::now();
            ask(address, turn).await;
            took.push(began.elapsed());
        }
    }
    took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    })
}

#[tokio::test]
async fn the_time_of_an_answer_does_not_reveal_who_has_an_account() {
    let settings = [CONFIRMED[0], ("TICKBELL_GATEWAY__TRUSTED_PROXIES", "1")];
    let mut system = System::with(&settings).await;
    let api = system.api.clone();
    let many = |name: &str, each: usize| -> Vec<String> {
        (0..4 * each).map(|number| format!("{name}{}@example.com", number % 4)).collect()
    };
    for address in many("with", 1) {
        system.sign_up(&address).await;
    }
    // Few enough requests of each kind that neither the throttle nor the limit of mails is reached.
    let sign_in = async |address: &str, turn: usize| {
        let network = format!("198.51.{turn}.7");
        api.try_sign_in_from(&network, address, OTHER_PASSWORD).await.expect_status(401);
    };
    let sign_up = async |address: &str, _: usize| {
        api.post("/v1/users", &json!({ "email": address, "password": PASSWORD })).await.expect_status(202);
    };
    let reset = async |address: &str, _: usize| {
        api.post("/v1/password-resets", &json!({ "email": address })).await.expect_status(202);
    };
    for (what, [with, without]) in [
        ("sign in", medians(&many("with", 5), &many("without", 5), sign_in).await),
        ("sign up", medians(&many("with", 4), &many("without", 4), sign_up).await),
        ("reset", medians(&many("with", 5), &many("without", 5), reset).await),
    ] {
        assert!(with < without * 2 && without < with * 2, "{what}: {with:?} with an account, {without:?} without");
    }
    system.stop().await;
}

#[tokio::test]
async fn a_session_that_is_ended_cannot_create_an_api_key() {
    let mut system = System::start().await;
    let (api, database) = (system.api.clone(), Database::of(&system));
    system.sign_up("ada@example.com").await;
    let session = api.sign_in("ada@example.com").await;
    let gate = database.lock("SELECT pg_advisory_lock(42)").await;
    let end = "BEGIN; SELECT FROM users FOR UPDATE; DELETE FROM sessions; SELECT pg_advisory_lock(42); COMMIT";
    let mut ending = database.start(end);
    database.wait_for_blocked("BEGIN; SELECT FROM users").await;
    let body = json!({ "name": "hers", "scopes": ["read"] });
    let asking = api.call_with(&session, Method::POST, "/v1/api-keys", &body);
    let ended = async {
        database.wait_for_blocked("SELECT FROM users").await;
        drop(gate);
    };
    let (answer, ()) = join(asking, ended).await;
    answer.expect_status(401);
    assert!(ending.wait().expect("it ends").success());
    assert_eq!(database.value("SELECT count(*) FROM api_keys"), "0");
    system.stop().await;
}

#[tokio::test]
async fn password_resets_of_all_addresses_are_limited_to_ten_thousand_an_hour() {
    let mut system = System::start().await;
    let api = system.api.clone();
    system.sign_up("ada@example.com").await;
    let ask = async |address: &str| api.post("/v1/password-resets", &json!({ "email": address })).await;
    ask("ada@example.com").await.expect_status(202);
    Database::of(&system).value(
        "INSERT INTO password_resets (id, address_hash, created_at, expires_at)
         SELECT gen_random_uuid(), sha256(number::text::bytea), now(), now() + interval '1 hour'
         FROM generate_series(1, 10000) AS number",
    );
    for address in ["ada@example.com", "eve@example.com"] {
        let refused = ask(address).await.expect_status(429);
        assert_eq!(refused.headers["retry-after"], "60", "with and without an account");
    }
    system.stop().await;
}

/// Raises three failures to nine. After three the next attempt is throttled for a second only, which may have passed on a
/// slow machine.
fn slow_down(system: &System, kind: &str) {
    let failed = format!(
        "UPDATE login_attempts SET failure_count = 9, last_failed_at = now() WHERE kind = '{kind}' AND failure_count >= 3 RETURNING 1"
    );
    assert_eq!(Database::of(system).value(&failed), "1", "three attempts have failed");
}

#[tokio::test]
async fn guessing_a_password_does_not_lock_its_owner_out() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__TRUSTED_PROXIES", "1")]).await;
    let api = system.api.clone();
    let (ada, home, eves) = ("ada@example.com", "198.51.100.7", "203.0.113.5");
    system.sign_up(ada).await;
    for _ in 0..3 {
        api.try_sign_in_from(eves, ada, OTHER_PASSWORD).await.expect_status(401);
    }
    slow_down(&system, "login");
    api.try_sign_in_from(eves, ada, PASSWORD).await.expect_status(429);
    api.try_sign_in_from("203.0.113.99", ada, PASSWORD).await.expect_status(429);
    api.try_sign_in_from(&format!("{home}, {eves}"), ada, PASSWORD).await.expect_status(429);
    let session: Value = api.try_sign_in_from(home, ada, PASSWORD).await.expect_status(201).json();
    let token = session["token"].as_str().expect("a token");
    api.try_sign_in_from(eves, ada, PASSWORD).await.expect_status(429);

    // Guesses within a session throttle the change of the password, and no sign-in.
    let change = |current: &str| json!({ "current_password": current, "new_password": OTHER_PASSWORD });
    for _ in 0..3 {
        api.call_with(token, Method::PUT, "/v1/me/password", &change("not my password")).await.expect_status(422);
    }
    slow_down(&system, "password_change");
    api.call_with(token, Method::PUT, "/v1/me/password", &change(PASSWORD)).await.expect_status(429);
    api.try_sign_in_from(home, ada, PASSWORD).await.expect_status(201);
    system.stop().await;
}
