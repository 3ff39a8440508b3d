//! A client of the HTTP API, for the commands of its users.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use platform::{http::client, settings::SettingsError};
use reqwest::{Method, RequestBuilder, Url};
use serde_json::Value;

use crate::{exit::Unavailable, options::OutputOptions, settings};

/// The time-out of one request, which is longer than the longest wait that a request may ask for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Options of the commands that call the API.
#[derive(Debug, Args)]
pub(crate) struct ApiOptions {
    /// Base URL of the API [default: that of a running `tickbell up`, or the setting client.url]
    #[arg(long)]
    pub(crate) url: Option<Url>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A client that sends the API key of one user.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: String,
}

impl Client {
    /// Fails if the URL is not valid or the API key is not set.
    pub(crate) fn new(settings: &settings::Client, url: Option<&Url>) -> anyhow::Result<Self> {
        let base = match url {
            Some(url) => url.clone(),
            None => settings.url.parse().map_err(|error| {
                SettingsError(format!("client.url = {:?}: {error}; use a URL like http://127.0.0.1:8080", settings.url))
            })?,
        };
        let key = settings.api_key.clone();
        if key.is_empty() {
            let what = "client.api_key is not set: set TICKBELL_CLIENT__API_KEY to a key of POST /v1/api-keys, or to the \
                        token of POST /v1/sessions";
            return Err(SettingsError(what.into()).into());
        }
        let http = client::builder(&base).timeout(TIMEOUT).build().context("create an HTTP client")?;
        Ok(Self { http, base, key })
    }

    /// Builds a request with the API key.
    pub(crate) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = self.base.join(path).with_context(|| format!("{}{path} is not a URL", self.base))?;
        Ok(self.http.request(method, url).bearer_auth(&self.key))
    }

    /// Sends a request and returns the JSON of a successful response; otherwise the error is the API's own message.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response =
            request.send().await.map_err(|error| Unavailable(platform::runtime::error::error_chain(&error)))?;
        let status = response.status();
        let text = response.text().await.context("the response ended early")?;
        let body: Value = serde_json::from_str(&text).with_context(|| format!("{status}: the response is not JSON"))?;
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().unwrap_or("the response gives no reason");
        let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut lines = vec![format!("{}: {detail}", body["title"].as_str().unwrap_or(status.as_str()))];
        for error in errors.iter().filter(|_| errors.len() > 1) {
            let at = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
            lines.push(format!("  {at}: {}", error["detail"].as_str().unwrap_or_default()));
        }
        bail!(lines.join("\n"))
    }
}

/// Returns a JSON value as text for a table; null and an absent value are empty.
pub(crate) fn to_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
