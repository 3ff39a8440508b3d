//! Users with accounts, as their programs see the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Api, ApiResponse, Mail, System};

/// The password of every user in these tests.
pub const PASSWORD: &str = "correct horse battery staple";

impl System {
    /// Signs an address up and follows the link in the mail, where one is sent.
    pub async fn sign_up(&self, email: &str) {
        let body = json!({ "email": email, "password": PASSWORD });
        let taken: Value = self.api.post("/v1/users", &body).await.expect_status(202).json();
        if taken["status"] == "pending" {
            let link = self.mail_to(email, "Confirm your Tickbell account").await.link("/join/");
            Api::send(self.api.request(Method::POST, &link)).await.expect_status(200);
        }
    }

    /// Returns the mail to an address whose subject begins so, once everything is processed.
    ///
    /// # Panics
    /// When there is none.
    pub async fn mail_to(&self, email: &str, subject: &str) -> Mail {
        self.wait_until_processed().await;
        let found = self.mails().into_iter().find(|mail| mail.to == email && mail.subject.starts_with(subject));
        found.unwrap_or_else(|| panic!("no mail {subject:?} to {email}"))
    }
}

impl Api {
    /// Signs in with [`PASSWORD`] and returns the token of the session.
    pub async fn sign_in(&self, email: &str) -> String {
        let session: Value = self.try_sign_in(email, PASSWORD).await.expect_status(201).json();
        session["token"].as_str().expect("a token").to_owned()
    }

    /// Tries to sign in, which may be refused.
    pub async fn try_sign_in(&self, email: &str, password: &str) -> ApiResponse {
        self.post("/v1/sessions", &json!({ "email": email, "password": password })).await
    }

    /// Tries to sign in from another client address, as the proxy before the gateway reports it.
    pub async fn try_sign_in_from(&self, client_address: &str, email: &str, password: &str) -> ApiResponse {
        let request = self.request(Method::POST, "/v1/sessions").header("x-forwarded-for", client_address);
        Self::send(request.json(&json!({ "email": email, "password": password }))).await
    }

    /// Sends a request with a bearer token.
    pub async fn call(&self, token: &str, method: Method, path: &str) -> ApiResponse {
        Self::send(self.request(method, path).bearer_auth(token)).await
    }

    /// Sends a JSON body with a bearer token.
    pub async fn call_with(&self, token: &str, method: Method, path: &str, body: &Value) -> ApiResponse {
        Self::send(self.request(method, path).bearer_auth(token).json(body)).await
    }

    /// Creates an API key and returns its token.
    pub async fn create_api_key(&self, token: &str, scopes: &[&str]) -> String {
        let body = json!({ "name": "a program", "scopes": scopes });
        let key: Value = self.call_with(token, Method::POST, "/v1/api-keys", &body).await.expect_status(201).json();
        key["key"].as_str().expect("a key").to_owned()
    }
}
