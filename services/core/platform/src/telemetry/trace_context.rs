//! W3C trace context (<https://www.w3.org/TR/trace-context/>) from the tick to the mail.

use std::collections::HashMap;

use events::envelope::TRACEPARENT;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The context of a new trace: what an ingestor gives a price that nothing here caused.
pub fn new_traceparent() -> String {
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair().1);
    format!("00-{trace:032x}-{:016x}-01", span | 1)
}

/// Makes `span` a child of what caused it. DecodeError context is as good as none.
pub fn set_parent(span: &Span, cause: Option<&str>) {
    let Some(cause) = cause else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), cause.to_owned())]);
    // Without an OTLP endpoint no layer keeps spans, and there is nothing to attach to.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// The context to hand on: the span's own where spans are exported, else the cause as it came.
pub fn traceparent(span: &Span, cause: Option<&str>) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT).or_else(|| cause.map(str::to_owned))
}
