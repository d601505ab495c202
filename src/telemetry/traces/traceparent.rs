//! `traceparent` (W3C Trace Context, <https://www.w3.org/TR/trace-context-1/>): to which trace a request belongs, and whose
//! child it is there.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names the trace.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems add for themselves; it says nothing without a `traceparent`.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The value of a `traceparent` header. Anybody may say that they belong to a trace: it names requests, and decides
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace_id: u128,
    pub(super) parent_id: u64,
    pub(super) is_sampled: bool,
}

impl TraceParent {
    /// The one that `headers` hold, if they hold one and not more.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let text = lines.next()?.to_str().ok()?;
        if lines.next().is_some() { None } else { Self::parse(text) }
    }

    /// Takes `text` for a `traceparent`, if it is one: of version 00, or of a later one, which begins alike (§3.2.4, §4.3).
    pub fn parse(text: &str) -> Option<Self> {
        const LENGTH: usize = 55;
        let (known, later) = text.split_at_checked(LENGTH)?;
        let fields: Vec<&str> = known.split('-').collect();
        let [version, trace_id, parent_id, flags] = fields.as_slice() else { return None };
        let fits = later.is_empty() || (*version != "00" && later.starts_with('-'));
        let lengths = [version, trace_id, parent_id, flags].map(|field| field.len());
        if !fits || *version == "ff" || lengths != [2, 32, 16, 2] || !fields.iter().all(is_hex) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let parent_id = u64::from_str_radix(parent_id, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace_id, parent_id, is_sampled: flags & 1 == 1 })
    }

    /// The name of the trace: 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The header value, of version 00.
    pub(crate) fn to_value(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.to_string()).ok()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, is_sampled } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{:02x}", u8::from(*is_sampled))
    }
}

/// Capitals are no digits here (§3.2.2).
fn is_hex(field: &&str) -> bool {
    field.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_the_same() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!TraceParent::parse(&EXAMPLE.replace("-01", "-00")).unwrap().is_sampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = EXAMPLE.replacen("00-", "cc-", 1);
        for text in [later.clone(), format!("{later}-what-the-future-will-be-like")] {
            assert_eq!(TraceParent::parse(&text).unwrap().to_string(), EXAMPLE);
        }
        assert_eq!(TraceParent::parse(&format!("{later}.what-the-future-will-be-like")), None);
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-"),
            &format!("{EXAMPLE}0"),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replacen("00-", "ff-", 1),
            &EXAMPLE.replace('4', "g"),
            &EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_two_trace_parents_neither_is_followed() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        assert!(TraceParent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        assert_eq!(TraceParent::of(&headers), None);
    }
}
