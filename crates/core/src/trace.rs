//! Which trace something belongs to, as it goes from process to process: the header `traceparent` of W3C Trace Context.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// A trace, and the span in it that comes before whatever goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl TraceParent {
    /// The span `span_id` of the trace `trace_id`; `None` where one of them is 0, which stands for none.
    pub const fn new(trace_id: u128, span_id: u64, flags: u8) -> Option<Self> {
        if trace_id == 0 || span_id == 0 { None } else { Some(Self { trace_id, span_id, flags }) }
    }

    /// The trace.
    pub const fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The trace, as lines and headers write it: 32 digits.
    pub fn trace_hex(self) -> String {
        HEXLOWER.encode(&self.trace_id.to_be_bytes())
    }

    /// The span.
    pub const fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether it is recorded, and what else the standard says in a byte.
    pub const fn flags(self) -> u8 {
        self.flags
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (self.trace_id.to_be_bytes(), self.span_id.to_be_bytes());
        let (trace_id, span_id) = (HEXLOWER.encode(&trace_id), HEXLOWER.encode(&span_id));
        write!(f, "00-{trace_id}-{span_id}-{:02x}", self.flags)
    }
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Also of later versions, which may say more at the end.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let mut parts = text.splitn(5, '-');
        let mut part = |digits: usize| parts.next().and_then(|part| hex(part, digits)).ok_or(NotATraceParent);
        let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(NotATraceParent);
        }
        let span_id = u64::try_from(span_id).map_err(|_large| NotATraceParent)?;
        let flags = u8::try_from(flags).map_err(|_large| NotATraceParent)?;
        Self::new(trace_id, span_id, flags).ok_or(NotATraceParent)
    }
}

/// A number of exactly so many digits, written as the standard wants it.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn it_is_written_as_it_was_read() {
        let parent: TraceParent = GIVEN.parse().unwrap();
        assert_eq!(parent.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id(), parent.flags()), (0xb7ad_6b71_6920_3331, 1));
        assert_eq!(parent.to_string(), GIVEN);
        assert_eq!(parent.trace_hex(), "0af7651916cd43dd8448eb211c80319c");
        let json = serde_json::to_string(&parent).unwrap();
        assert_eq!(serde_json::from_str::<TraceParent>(&json).unwrap(), parent);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in [GIVEN.replacen("00", "cc", 1), format!("{}-more-of-it", GIVEN.replacen("00", "cc", 1))] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), GIVEN, "{text}");
        }
    }

    #[test]
    fn what_the_standard_forbids_is_none() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotATraceParent), "{text}");
        }
    }
}
