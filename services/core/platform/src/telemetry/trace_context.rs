//! W3C trace context (<https://www.w3.org/TR/trace-context/>), from the first event to its last consequence.

use std::collections::HashMap;

use events::envelope::TRACEPARENT;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// Makes the context of a new trace, for an event that nothing in this system caused.
pub fn new_traceparent() -> String {
    #[expect(clippy::disallowed_methods, reason = "W3C trace ids are random")]
    let (trace, span) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u64_pair().1);
    format!("00-{trace:032x}-{:016x}-01", span | 1)
}

/// Makes `span` a child of the span in `cause`. A context that cannot be read is ignored.
pub fn set_parent(span: &Span, cause: Option<&str>) {
    let Some(cause) = cause else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), cause.to_owned())]);
    // Without an OTLP endpoint no layer stores spans, so there is nothing to attach the context to; that is no error.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// Returns the context for outbound messages: the span's own where spans are exported, else `cause` unchanged.
pub fn traceparent(span: &Span, cause: Option<&str>) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT).or_else(|| cause.map(str::to_owned))
}
