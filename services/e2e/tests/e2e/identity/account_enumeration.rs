//! What people try with accounts that are not theirs.

use std::time::{Duration, Instant};

use e2e::{Api, Database, PASSWORD, System, wait_until};
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use super::users::{CONFIRMED, FORM, OTHER_PASSWORD, refusal};

#[tokio::test]
async fn nobody_learns_who_has_an_account_and_guessing_gets_slower() {
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

    // The wait is over by itself, and a success forgets the failures.
    let signed_in = async || (api.try_sign_in(known[0], PASSWORD).await.status == 201).then_some(());
    wait_until("the wait is over", Duration::from_secs(30), signed_in).await;
    for _ in 0..2 {
        api.try_sign_in(known[0], OTHER_PASSWORD).await.expect_status(401);
    }
    api.sign_in(known[0]).await;

    // Whoever types an address again and again fills nobody's mailbox.
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
async fn nobody_gets_an_account_with_a_strangers_password_by_following_a_link() {
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

    // Eve fills the hour with sign-ups of her own; Ada's is one too many.
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
    // Guesses get slower, as at the door.
    for _ in 0..2 {
        follow(&eves[0], PASSWORD).await.expect_status(422);
    }
    slow_down(&system, "sign_up");
    follow(&eves[0], OTHER_PASSWORD).await.expect_status(429);

    // Of two that wait, also the first asks: it need not have been the owner's.
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

/// The medians of what is timed for those who have an account and for those who have none, one after the other so that
/// whatever else the machine does is the same for both.
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
async fn the_time_that_an_answer_takes_does_not_say_who_has_an_account() {
    let settings = [CONFIRMED[0], ("TICKBELL_GATEWAY__TRUSTED_PROXIES", "1")];
    let mut system = System::with(&settings).await;
    let api = system.api.clone();
    let many = |name: &str, each: usize| -> Vec<String> {
        (0..4 * each).map(|number| format!("{name}{}@example.com", number % 4)).collect()
    };
    for address in many("with", 1) {
        system.sign_up(&address).await;
    }
    // Few enough of each that nobody is slowed or gets no more mails.
    let sign_in = async |address: &str, turn: usize| {
        let place = format!("198.51.{turn}.7");
        api.try_sign_in_from(&place, address, OTHER_PASSWORD).await.expect_status(401);
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
async fn only_so_many_ask_for_a_new_password_in_an_hour() {
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
        assert_eq!(refused.headers["retry-after"], "60", "the same for everybody");
    }
    system.stop().await;
}

/// Three failures make the next attempt wait for a second, which may be over on a slow machine: as if there were more.
fn slow_down(system: &System, kind: &str) {
    let failed = format!(
        "UPDATE login_attempts SET failure_count = 9, last_failed_at = now() WHERE kind = '{kind}' AND failure_count >= 3 RETURNING 1"
    );
    assert_eq!(Database::of(system).value(&failed), "1", "three have failed");
}

#[tokio::test]
async fn whoever_guesses_a_password_does_not_keep_its_owner_out() {
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

    // Nor from changing it; who guesses inside is slowed there.
    let change = |current: &str| json!({ "current_password": current, "new_password": OTHER_PASSWORD });
    for _ in 0..3 {
        api.call_with(token, Method::PUT, "/v1/me/password", &change("not my password")).await.expect_status(422);
    }
    slow_down(&system, "password_change");
    api.call_with(token, Method::PUT, "/v1/me/password", &change(PASSWORD)).await.expect_status(429);
    api.try_sign_in_from(home, ada, PASSWORD).await.expect_status(201);
    system.stop().await;
}
