//! Logs, metrics, traces and error reports. A process sets them up once.

mod error_reports;
pub mod gauge;
pub mod trace_context;

use std::{io::IsTerminal, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::one_of;

/// What is logged and how, and where traces and error reports go.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The log filter: a level like `info`, or levels per module like `info,alert_engine=debug`.
    pub log: String,
    /// The format of log lines: `pretty`, `json`, or `auto` (pretty on a terminal, else JSON).
    pub log_format: LogFormat,
    /// The OTLP endpoint for traces over HTTP, like `http://localhost:4318/v1/traces`; empty means that none are sent.
    pub otlp_endpoint: String,
    /// The name of this installation in traces and error reports, like `staging`.
    pub environment: String,
    /// The Sentry DSN for error reports, like `https://key@sentry.example.com/1`; empty means that none are sent.
    pub sentry_dsn: String,
}

/// The identity of the running program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The service's name, which is also that of its folder, crate, subcommand and Deployment.
    pub service: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// The commit that the program was built from, where the build knew it.
    pub commit: &'static str,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// Coloured lines for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("auto", Self::Auto), ("pretty", Self::Pretty), ("json", Self::Json)])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: "info,async_nats=warn,object_store=warn,sqlx::postgres::notice=warn".into(),
            log_format: LogFormat::Auto,
            otlp_endpoint: String::new(),
            environment: "local".into(),
            sentry_dsn: String::new(),
        }
    }
}

/// A telemetry setting that cannot be used.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `telemetry.log` is not a log filter.
    #[error("telemetry.log = {0:?} is not a log filter: use a level like \"info\" or \"info,alert_engine=debug\"")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint` is not a URL.
    #[error("telemetry.otlp_endpoint = {0:?} cannot be used: give a URL like \"http://localhost:4318/v1/traces\"")]
    Otlp(String, #[source] opentelemetry_otlp::ExporterBuildError),
    /// No client can be made for `telemetry.otlp_endpoint`.
    #[error("telemetry.otlp_endpoint = {0:?}: no HTTP client can be made: {1}")]
    OtlpClient(String, String),
    /// `telemetry.sentry_dsn` is not a DSN.
    #[error("telemetry.sentry_dsn is not a DSN like https://key@sentry.example.com/1: {0}")]
    Sentry(String),
    /// Another part of the process has set up metrics already.
    #[error("metrics were set up twice in one process")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// The metrics of the process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Renders all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// The handles of telemetry. Dropping this flushes traces and error reports.
#[must_use = "traces are flushed when this is dropped"]
pub struct Telemetry {
    /// The metrics that `/metrics` renders.
    pub metrics: Metrics,
    traces: Option<SdkTracerProvider>,
    /// Sends the remaining error reports when it is dropped.
    _errors: Option<sentry::ClientInitGuard>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.traces.take().map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// The bounds of duration histograms, in seconds: from a tenth of a millisecond, which a batch of ticks takes, to ten
/// seconds, which is a fault.
const SECONDS: [f64; 15] = // float: histogram bounds
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]; // float: histogram bounds

/// The bounds of batch-size histograms, in messages: from a single message to the largest batch that settings allow.
const MESSAGES: [f64; 8] = [1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 20_000.0]; // float: histogram bounds

/// Sets up logs on standard error and metrics, and traces and error reports where the settings name a receiver.
pub fn init(program: Program, settings: &Settings) -> Result<Telemetry, TelemetryError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| TelemetryError::Filter(settings.log.clone(), error))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let lines = if json {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    let errors = error_reports::init(program, settings)?;
    let reported = errors.as_ref().map(|_| error_reports::layer());
    let traces = (!settings.otlp_endpoint.is_empty()).then(|| otlp(program, settings)).transpose()?;
    let spans = traces.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("tickbell")));
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).with(reported).init();

    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_messages".into()), &MESSAGES)?
        .install_recorder()?;
    metrics::gauge!("tickbell_build_info", "version" => program.version, "commit" => program.commit).set(1);
    Ok(Telemetry { metrics: Metrics(recorder), traces, _errors: errors })
}

/// The time-out of an export, which is the default of OpenTelemetry.
const OTLP_TIMEOUT: Duration = Duration::from_secs(10);

fn otlp(program: Program, settings: &Settings) -> Result<SdkTracerProvider, TelemetryError> {
    let endpoint = &settings.otlp_endpoint;
    let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(endpoint);
    if endpoint.parse().is_ok_and(|url| crate::http::client::is_internal(&url)) {
        exporter = exporter.with_http_client(client_without_proxy(endpoint)?);
    }
    let exporter = exporter.build().map_err(|error| TelemetryError::Otlp(endpoint.clone(), error))?;
    let attributes = [
        KeyValue::new("service.version", program.version),
        KeyValue::new("deployment.environment.name", settings.environment.clone()),
    ];
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(program.service).with_attributes(attributes).build())
        .build())
}

/// Returns the client that the exporter would make, without the proxy of the environment. It is made on a thread of its own,
/// because a blocking client has a runtime, which must not begin inside another.
fn client_without_proxy(endpoint: &str) -> Result<reqwest::blocking::Client, TelemetryError> {
    let client = || reqwest::blocking::Client::builder().no_proxy().timeout(OTLP_TIMEOUT).build();
    let made = std::thread::spawn(client).join().map_err(|_| "the thread panicked".to_owned());
    let made = made.and_then(|made| made.map_err(|error| error.to_string()));
    made.map_err(|why| TelemetryError::OtlpClient(endpoint.to_owned(), why))
}
