//! The quantities a manifest speaks of: durations and sizes, written as text with a unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A wait's length: `"500ms"`, `"10s"`, `"5m"`, `"1h"`, `"1d"`. From 1 ms to 365 days; nothing
/// waits without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl Span {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text)
            .map_err(|_| format!("{text:?} is no duration; write \"500ms\", \"10s\", \"5m\", \"1h\" or \"1d\""))?;
        if (Self::MIN..=Self::MAX).contains(&duration) {
            Ok(Self(duration))
        } else {
            Err(format!("{text:?} is out of range; a duration is from \"1ms\" to \"365d\""))
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A number of bytes: `"64MiB"`, `"512KiB"`, `"2GiB"`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "SizeText")]
pub struct Size(pub u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size: \"64MiB\", \"512KiB\", \"2GiB\", or a number of bytes")]
enum SizeText {
    Bytes(u64),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = String;

    fn try_from(size: SizeText) -> Result<Self, String> {
        match size {
            SizeText::Bytes(bytes) => Ok(Self(bytes)),
            SizeText::Text(text) => text.parse(),
        }
    }
}

/// A time between keepalive probes, which the kernel has in whole seconds, 32767 at most (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ProbeSpan(pub(super) Duration);

impl TryFrom<String> for ProbeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Span(span) = text.parse()?;
        if span.subsec_nanos() == 0 && (1..=32_767).contains(&span.as_secs()) {
            Ok(Self(span))
        } else {
            Err(format!("{text:?} is no time between probes; they are whole seconds, from \"1s\" to \"32767s\""))
        }
    }
}

/// How many keepalive probes go unanswered before a client is gone: 127 at most (tcp(7)); 0 sends
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct ProbeCount(pub(super) u32);

impl TryFrom<u64> for ProbeCount {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        let small = u32::try_from(count).ok().filter(|count| *count <= 127).map(Self);
        small.ok_or_else(|| format!("{count} is no number of probes; write one from 1 to 127, or 0 to send none"))
    }
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no size; write \"64MiB\", \"512KiB\", \"2GiB\" or a number of bytes"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, unit) in UNITS {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{} {suffix}", self.0 / unit);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_bounds() {
        assert_eq!("5m".parse::<Span>().unwrap().0, Duration::from_secs(300));
        assert_eq!("1500ms".parse::<Span>().unwrap().0, Duration::from_millis(1500));
        for wrong in ["5", "5x", "", "-1s", "0s", "366d"] {
            let error = wrong.parse::<Span>().unwrap_err();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn sizes_are_binary_and_do_not_overflow() {
        assert_eq!("64MiB".parse::<Size>().unwrap().0, 64 << 20);
        assert_eq!("100".parse::<Size>().unwrap().0, 100);
        for wrong in ["64MB", "MiB", "-1", "99999999999GiB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!(Size(64 << 20).to_string(), "64 MiB");
        assert_eq!(Size(100).to_string(), "100 bytes");
    }
}
