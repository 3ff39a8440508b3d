//! Mails to a real mail server, and the yes that comes first.

use std::time::Duration;

use e2e::{Alert, Api, MailServer, System, status::Deliveries, tape, until};
use reqwest::Method;
use serde_json::json;

const WAIT: Duration = Duration::from_secs(15);

async fn subscribe(system: &System, email: &str) -> Alert {
    let condition = json!({ "change": { "percent": "5", "since": "previous" } });
    system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": email } })).await
}

async fn publish(system: &System, ticks: &[(&str, &str)]) {
    let messages: Vec<_> =
        ticks.iter().map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price))).collect();
    system.publish(&messages).await;
}

async fn press(system: &System, link: &str) {
    Api::send(system.api.request(Method::POST, link)).await.expect_status(200);
}

#[tokio::test]
async fn an_address_says_yes_is_told_and_says_no_more() {
    let mailbox = tempfile::tempdir().expect("a folder");
    let server = MailServer::start(mailbox.path()).await;
    let settings = [
        ("TICKBELL_SMTP__URL", server.url()),
        ("TICKBELL_SMTP__FROM", "Tickbell <alerts@bell.example.com>".into()),
        ("TICKBELL_GATEWAY__CONFIRMATION", "required".into()),
    ];
    let mut system = System::with(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let alert = subscribe(&system, "ada@example.com").await;
    assert_eq!(alert.status, "pending");
    system.until_processed().await;
    publish(&system, &[("00:00:00", "100"), ("00:00:01", "110")]).await;
    system.until_processed().await;
    assert_eq!(system.api.firings(&alert).await, [], "without a yes nothing is judged");

    let mails = server.taken();
    let [asked] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!(asked.subject, "Confirm your Tickbell alert for BTC-USD");
    assert_eq!(asked.header("List-Unsubscribe"), None);
    let link = asked.link("/confirm/");
    system.api.get(&link).await.expect_status(200);
    assert_eq!(system.api.status_of(&alert).await, "pending", "mail scanners open links");
    press(&system, &link).await;
    press(&system, &link).await;
    assert_eq!(system.api.status_of(&alert).await, "active");
    system.until_processed().await;
    publish(&system, &[("00:00:02", "100")]).await;
    system.until_processed().await;

    let mails = server.taken();
    let alerts: Vec<_> = mails.iter().filter(|mail| mail.message_id != asked.message_id).collect();
    let [told] = alerts.as_slice() else { panic!("{} mails", mails.len()) };
    assert!(told.subject.starts_with("BTC-USD -9.") && told.to == "ada@example.com", "{told:?}");
    assert!(told.message_id.ends_with("@bell.example.com"), "{}", told.message_id);
    press(&system, &told.unsubscribe_link()).await;
    system.until_processed().await;
    publish(&system, &[("00:00:03", "200")]).await;
    system.until_processed().await;
    assert_eq!(server.taken().len(), 2, "one that asked, one that told, and no more");
    system.stop().await;
}

#[tokio::test]
async fn not_now_is_tried_again_and_never_is_given_up_with_the_reason() {
    let mailbox = tempfile::tempdir().expect("a folder");
    let server = MailServer::start(mailbox.path()).await;
    let url = server.url();
    let mut system =
        System::with(&[("TICKBELL_SMTP__URL", url.as_str()), ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1")]).await;
    let (later, nobody) =
        (subscribe(&system, "later@example.com").await, subscribe(&system, "nobody@example.com").await);
    system.until_processed().await;
    publish(&system, &[("00:00:00", "100"), ("00:00:01", "110")]).await;
    until("the mail that was not taken arrives", WAIT, async || server.taken().into_iter().next()).await;
    system.until_processed().await;

    let (taken, refused) = (server.taken(), server.refused());
    assert_eq!((taken.len(), refused.len()), (1, 1));
    assert_eq!(taken[0].message_id, refused[0].message_id, "every attempt is the same mail");
    assert_eq!((taken[0].to.as_str(), &taken[0].text), ("later@example.com", &refused[0].text));
    for alert in [later, nobody] {
        assert_eq!(system.api.firings(&alert).await.len(), 1);
    }
    let status = system.status().await.expect("a status");
    assert_eq!(status.deliveries, Deliveries { waiting: 0, failed: 1 });
    assert!(
        system.log().contains("550 5.1.1 <the address>: there is no such mailbox here"),
        "the reason is in the log"
    );
    assert!(!system.log().contains("nobody@example.com"), "and the address is not");
    system.stop().await;
}
