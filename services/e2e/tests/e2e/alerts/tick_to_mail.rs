//! From a price to a mail, and the unsubscribe link in it.

use e2e::{System, tape};
use platform::broker::publish::with_trace_context;
use reqwest::Method;
use serde_json::json;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
/// What a mail program sends to the link (RFC 8058 §3.2).
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_price_becomes_one_mail_and_its_link_ends_the_rule() {
    let mut system = System::start().await;
    let alert =
        system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5" } } })).await;
    system.wait_until_processed().await;
    let first = tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "6468"));
    let second = tape::message(&tape::tick("test", "BTC-USD", "02:05:00", "6804.91"));
    let traceparent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
    system.publish(&[first, with_trace_context(second, Some(traceparent))]).await;
    system.wait_until_processed().await;

    let mails = system.mails();
    let [mail] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.com", "BTC-USD +5.2 % to 6,804.91"));
    for text in ["6,804.91 USD", "6,468 USD", "5 Apr 2018 02:05:00 UTC", "5 Apr 2018 00:00:00 UTC"] {
        assert!(mail.text.contains(text), "{text} in {}", mail.text);
        assert!(mail.html.contains(text), "{text} in {}", mail.html);
    }
    assert!(mail.message_id.ends_with("@localhost"), "{}", mail.message_id);
    assert_eq!(mail.header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let traceparent = mail.header("traceparent").expect("a traceparent");
    assert!(traceparent.starts_with(&format!("00-{TRACE_ID}-")), "{traceparent}");

    let link = mail.unsubscribe_link();
    assert!(mail.text.contains(&link) && link.starts_with(system.api.base()), "{link}");
    system.api.get(&link).await.expect_status(200);
    assert_eq!(system.api.status_of(&alert).await, "active", "opening the link only shows a page with a button");
    let request = system.api.request(Method::POST, &link).header("content-type", FORM).body(ONE_CLICK);
    e2e::Api::send(request).await.expect_status(200);
    system.api.manage(Method::GET, &alert, None).await.expect_status(404);

    system.wait_until_processed().await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "03:00:00", "9000"))]).await;
    system.wait_until_processed().await;
    assert_eq!(system.mails().len(), 1, "the rule has ended");
    assert_eq!(system.api.firings(&alert).await.len(), 1, "its firings stay");
    system.stop().await;
}
