//! Mails to a real mail server that requires TLS and an account.

use std::time::Duration;

use e2e::{Database, MailServer, Protection, System, wait_until};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(30);

/// Starts a system that sends to `url` and trusts `ca`, and asks for a mail.
async fn ask_for_mail(url: &str, ca: &str) -> System {
    let system = System::with(&[
        ("TICKBELL_SMTP__URL", url),
        ("TICKBELL_SMTP__CA", ca),
        ("TICKBELL_GATEWAY__CONFIRMATION", "required"),
        ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1"),
    ])
    .await;
    let condition = json!({ "change": { "percent": "5", "since": "previous" } });
    let body = json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": "ada@example.com" } });
    system.api.subscribe(body).await;
    system
}

async fn sends_a_mail(protection: Protection) {
    let home = tempfile::tempdir().expect("a folder");
    let server = MailServer::start_with(home.path(), protection).await;
    let mut system = ask_for_mail(&server.url(), server.certificate().to_str().expect("a path")).await;
    system.wait_until_processed().await;
    assert_eq!(server.taken().iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["ada@example.com"]);
    assert_eq!(Database::of(&system).value("SELECT max(attempt_count) FROM deliveries"), "1");
    assert!(!system.has_logged("p+q/") && !system.has_logged("p%2Bq%2F"), "the password stays out of the log");
    system.stop().await;
}

/// Asserts that attempts fail with this text, are repeated, and send nothing.
async fn sends_nothing(server: &MailServer, url: &str, ca: &str, problem: &str) {
    let mut system = ask_for_mail(url, ca).await;
    let database = Database::of(&system);
    let failed = format!("SELECT count(*) FROM delivery_attempts WHERE detail LIKE '%{problem}%'");
    let repeated = async || (database.value(&failed).parse::<u32>().ok()? >= 2).then_some(());
    wait_until("two attempts fail", WAIT, repeated).await;
    let others = format!("SELECT count(*) FROM delivery_attempts WHERE detail NOT LIKE '%{problem}%'");
    assert_eq!(database.value(&others), "0");
    assert_eq!(server.taken(), []);
    system.stop().await;
}

#[tokio::test]
async fn a_mail_is_sent_by_starttls_and_auth_login() {
    sends_a_mail(Protection::StartTls).await;
}

#[tokio::test]
async fn a_mail_is_sent_by_implicit_tls_and_auth_plain() {
    sends_a_mail(Protection::Implicit).await;
}

#[tokio::test]
async fn no_mail_and_no_password_goes_to_a_server_that_nobody_vouches_for() {
    let home = tempfile::tempdir().expect("a folder");
    let server = MailServer::start_with(home.path(), Protection::StartTls).await;
    sends_nothing(&server, &server.url(), "", "cannot agree on TLS").await;
}

#[tokio::test]
async fn a_refused_password_is_repeated_until_it_is_right() {
    let home = tempfile::tempdir().expect("a folder");
    let server = MailServer::start_with(home.path(), Protection::Implicit).await;
    let ca = server.certificate();
    sends_nothing(&server, &server.url_with_password("wrong"), ca.to_str().expect("a path"), "535").await;
}
