//! A position in a trace as the W3C writes it (<https://www.w3.org/TR/trace-context/>), and as
//! OpenTelemetry has it.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Reads a `traceparent` that has the right form, and a `tracestate`, of which an invalid one
/// counts as missing. Returns `None` for ids of zeros only.
pub(crate) fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let trace = TraceId::from_hex(traceparent.get(3..35)?).ok()?;
    let span = SpanId::from_hex(traceparent.get(36..52)?).ok()?;
    let flags = u8::from_str_radix(traceparent.get(53..55)?, 16).ok()?;
    let state = tracestate.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

/// Returns the `traceparent`, and the `tracestate` if there is one.
pub(crate) fn written(context: &SpanContext) -> (String, Option<String>) {
    let mut traceparent = String::with_capacity(55);
    traceparent.push_str("00-");
    push_hex(&mut traceparent, &context.trace_id().to_bytes());
    traceparent.push('-');
    push_hex(&mut traceparent, &context.span_id().to_bytes());
    traceparent.push_str(if context.is_sampled() { "-01" } else { "-00" });
    let state = context.trace_state();
    let state = (*state != TraceState::NONE).then(|| state.header()).filter(|state| !state.is_empty());
    (traceparent, state)
}

/// Formatting would take longer than all else.
fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        for digit in [octet >> 4, octet & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_again() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = parse(parent, Some("a=b,c=d")).unwrap();
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(written(&context), (parent.to_owned(), Some("a=b,c=d".to_owned())));
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert_eq!(written(&parse(unsampled, Some("not valid")).unwrap()), (unsampled.to_owned(), None));
    }

    #[test]
    fn zeros_are_no_position() {
        assert_eq!(parse("00-00000000000000000000000000000000-b7ad6b7169203331-01", None), None);
        assert_eq!(parse("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None), None);
        assert_eq!(parse("", None), None);
    }
}
