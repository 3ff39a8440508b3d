//! Logs, metrics, traces and error reports: set up once per process.

mod error_reports;
pub mod trace_context;

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::one_of;

/// How much is said, and where traces go.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is logged: `info`, or per module like `info,alert_engine=debug`.
    pub log: String,
    /// How: `pretty`, `json`, or `auto` (pretty on a terminal).
    pub log_format: LogFormat,
    /// Where traces go by OTLP over HTTP, like `http://localhost:4318/v1/traces`; empty means nowhere.
    pub otlp_endpoint: String,
    /// What this installation is called in traces and error reports, like `staging`.
    pub environment: String,
    /// Where errors are reported, like `https://key@sentry.example.com/1`; empty means nowhere.
    pub sentry_dsn: String,
}

/// What runs.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Which service it is: the name of its folder, crate, subcommand and Deployment.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit that it was built from, where the build was told.
    pub commit: &'static str,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// For people on a terminal, for machines elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
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
            log: "info,async_nats=warn".into(),
            log_format: LogFormat::Auto,
            otlp_endpoint: String::new(),
            environment: "local".into(),
            sentry_dsn: String::new(),
        }
    }
}

/// Telemetry that cannot be set up as asked.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `telemetry.log` is no filter.
    #[error("telemetry.log = {0:?} is no log filter: use a level like \"info\" or \"info,alert_engine=debug\"")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint` is no URL.
    #[error("telemetry.otlp_endpoint = {0:?} cannot be used: give a URL like \"http://localhost:4318/v1/traces\"")]
    Otlp(String, #[source] opentelemetry_otlp::ExporterBuildError),
    /// `telemetry.sentry_dsn` is none.
    #[error("telemetry.sentry_dsn is no DSN like https://key@sentry.example.com/1: {0}")]
    Sentry(String),
    /// Another part of the process has set it up already.
    #[error("metrics were set up twice in one process")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// What the process's metrics are rendered from.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Prometheus text.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Keeps what must be flushed when the process ends.
#[must_use = "traces are flushed when this is dropped"]
pub struct Telemetry {
    /// For `/metrics`.
    pub metrics: Metrics,
    traces: Option<SdkTracerProvider>,
    /// Sends what is left when it is dropped.
    _errors: Option<sentry::ClientInitGuard>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.traces.take().map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// Seconds: from a tenth of a millisecond, which a batch of ticks takes, to ten seconds, which is a fault.
const SECONDS: [f64; 15] = // float: histogram bounds
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]; // float: histogram bounds

/// Messages in a batch: from a lone tick to the largest batch that may be set.
const MESSAGES: [f64; 8] = [1.0, 10.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 20_000.0]; // float: histogram bounds

/// Sets up logs on standard error, metrics, and traces and error reports where they have somewhere to go.
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

fn otlp(program: Program, settings: &Settings) -> Result<SdkTracerProvider, TelemetryError> {
    let endpoint = &settings.otlp_endpoint;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| TelemetryError::Otlp(endpoint.clone(), error))?;
    let attributes = [
        KeyValue::new("service.version", program.version),
        KeyValue::new("deployment.environment.name", settings.environment.clone()),
    ];
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(program.service).with_attributes(attributes).build())
        .build())
}
