//! The HTTP API as one of its users, for the terminal.

use std::time::Duration;

use anyhow::{Context, bail};
use platform::settings::SettingsError;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::Value;

use crate::{exit::Unavailable, settings};

/// One request, however long it asks to wait; the gateway gives up on its own sooner.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Somebody's account, over HTTP.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: String,
}

impl Client {
    /// Refuses a URL that is none, and an absent key.
    pub(crate) fn new(settings: &settings::Client, url: Option<&Url>) -> anyhow::Result<Self> {
        let base = match url {
            Some(url) => url.clone(),
            None => settings.url.parse().map_err(|error| {
                SettingsError(format!("client.url = {:?}: {error}; give it like http://127.0.0.1:8080", settings.url))
            })?,
        };
        let key = settings.api_key.clone();
        if key.is_empty() {
            let what = "client.api_key is empty: set TICKBELL_CLIENT__API_KEY to a key of POST /v1/api-keys, or to the \
                        token of POST /v1/sessions";
            return Err(SettingsError(what.into()).into());
        }
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().context("make an HTTP client")?;
        Ok(Self { http, base, key })
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = self.base.join(path).with_context(|| format!("{}{path} is no URL", self.base))?;
        Ok(self.http.request(method, url).bearer_auth(&self.key))
    }

    /// What was asked for; anything else is an error in the API's own words.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer =
            request.send().await.map_err(|error| Unavailable(platform::runtime::error::error_chain(&error)))?;
        let status = answer.status();
        let text = answer.text().await.context("the answer broke off")?;
        let body: Value = serde_json::from_str(&text).with_context(|| format!("{status} and no JSON"))?;
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().unwrap_or("nothing was said");
        let mistakes = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut lines = vec![format!("{}: {detail}", body["title"].as_str().unwrap_or(status.as_str()))];
        for mistake in mistakes.iter().filter(|_| mistakes.len() > 1) {
            let at = mistake["pointer"].as_str().or(mistake["parameter"].as_str()).unwrap_or_default();
            lines.push(format!("  {at}: {}", mistake["detail"].as_str().unwrap_or_default()));
        }
        bail!(lines.join("\n"))
    }
}
