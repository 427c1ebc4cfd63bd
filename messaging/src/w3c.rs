//! A position in a trace as the W3C writes it (<https://www.w3.org/TR/trace-context/>), and as
//! OpenTelemetry has it.

use std::ops::Range;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The length of a `traceparent` of the first version, and where its parts are.
const LENGTH: usize = 55;
const VERSION: Range<usize> = 0..2;
const TRACE: Range<usize> = 3..35;
const SPAN: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..LENGTH;

/// Reads a `traceparent` and a `tracestate`, of which an invalid one counts as missing. Returns
/// `None` for what is no `traceparent`, and for ids of zeros only.
pub(crate) fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let octets = traceparent.as_bytes();
    let version = number(octets.get(VERSION)?)?;
    // Later versions may have more parts; `ff` is invalid.
    let ends = match octets.get(LENGTH) {
        None => true,
        Some(next) => *next == b'-' && version != 0,
    };
    let is_divided = [VERSION.end, TRACE.end, SPAN.end].iter().all(|at| octets.get(*at) == Some(&b'-'));
    if !ends || !is_divided || version == 0xff {
        return None;
    }
    let (high, low) = octets.get(TRACE)?.split_at_checked(TRACE.len() / 2)?;
    let trace = TraceId::from(u128::from(number(high)?) << 64 | u128::from(number(low)?));
    let span = SpanId::from(number(octets.get(SPAN)?)?);
    let flags = TraceFlags::new(u8::try_from(number(octets.get(FLAGS)?)?).ok()?) & TraceFlags::SAMPLED;
    let state = tracestate.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

/// Reads up to 16 hexadecimal digits, of which the large ones are lower case.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// A `traceparent`, and the `tracestate` if there is one.
pub(crate) struct Written {
    octets: [u8; LENGTH],
    pub(crate) tracestate: Option<String>,
}

impl Written {
    /// Returns the `traceparent`.
    pub(crate) fn traceparent(&self) -> &str {
        // It is ASCII.
        str::from_utf8(&self.octets).unwrap_or_default()
    }
}

/// Writes a position.
pub(crate) fn written(context: &SpanContext) -> Written {
    let mut octets = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut octets[TRACE], &context.trace_id().to_bytes());
    write_hex(&mut octets[SPAN], &context.span_id().to_bytes());
    if context.is_sampled() {
        octets[LENGTH - 1] = b'1';
    }
    let state = context.trace_state();
    let tracestate = (*state != TraceState::NONE).then(|| state.header()).filter(|state| !state.is_empty());
    Written { octets, tracestate }
}

/// Formatting would take longer than all else.
fn write_hex(text: &mut [u8], octets: &[u8]) {
    for (pair, octet) in text.chunks_exact_mut(2).zip(octets) {
        pair.copy_from_slice(&[octet >> 4, octet & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
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
        let again = written(&context);
        assert_eq!((again.traceparent(), again.tracestate.as_deref()), (parent, Some("a=b,c=d")));
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let again = written(&parse(unsampled, Some("not valid")).unwrap());
        assert_eq!((again.traceparent(), again.tracestate.as_deref()), (unsampled, None));
    }

    #[test]
    fn zeros_are_no_position() {
        assert_eq!(parse("00-00000000000000000000000000000000-b7ad6b7169203331-01", None), None);
        assert_eq!(parse("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None), None);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        assert!(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None).is_some());
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(text, None), None, "{text}");
        }
    }
}
