//! People with accounts, as their programs see the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Answer, Api, Mail, System};

/// Good enough for everybody in these tests.
pub const PASSWORD: &str = "correct horse battery staple";

impl System {
    /// Signs an address up and follows the link in the mail, where one is sent.
    pub async fn join(&self, email: &str) {
        let body = json!({ "email": email, "password": PASSWORD });
        let taken: Value = self.api.post("/v1/users", &body).await.expect_status(202).json();
        if taken["status"] == "pending" {
            let link = self.mail_to(email, "Confirm your Tickbell account").await.link("/join/");
            Api::send(self.api.request(Method::POST, &link)).await.expect_status(200);
        }
    }

    /// A mail to somebody whose subject begins so, once all is told.
    ///
    /// # Panics
    /// When there is none.
    pub async fn mail_to(&self, email: &str, subject: &str) -> Mail {
        self.until_processed().await;
        let found = self.mails().into_iter().find(|mail| mail.to == email && mail.subject.starts_with(subject));
        found.unwrap_or_else(|| panic!("no mail {subject:?} to {email}"))
    }
}

impl Api {
    /// Signs in with [`PASSWORD`]; the session's token.
    pub async fn sign_in(&self, email: &str) -> String {
        let session: Value = self.try_sign_in(email, PASSWORD).await.expect_status(201).json();
        session["token"].as_str().expect("a token").to_owned()
    }

    /// Tries to sign in.
    pub async fn try_sign_in(&self, email: &str, password: &str) -> Answer {
        self.post("/v1/sessions", &json!({ "email": email, "password": password })).await
    }

    /// Tries to sign in from another place, as the one proxy before the gateway says it.
    pub async fn try_sign_in_from(&self, place: &str, email: &str, password: &str) -> Answer {
        let request = self.request(Method::POST, "/v1/sessions").header("x-forwarded-for", place);
        Self::send(request.json(&json!({ "email": email, "password": password }))).await
    }

    /// Asks with a token.
    pub async fn ask(&self, token: &str, method: Method, path: &str) -> Answer {
        Self::send(self.request(method, path).bearer_auth(token)).await
    }

    /// Sends a body with a token.
    pub async fn tell(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        Self::send(self.request(method, path).bearer_auth(token).json(body)).await
    }

    /// Makes an API key.
    pub async fn key(&self, token: &str, scopes: &[&str]) -> String {
        let body = json!({ "name": "a program", "scopes": scopes });
        let key: Value = self.tell(token, Method::POST, "/v1/api-keys", &body).await.expect_status(201).json();
        key["key"].as_str().expect("a key").to_owned()
    }
}
