//! The time as messages carry it.

use std::time::SystemTime;

/// Now, in UTC to the millisecond: `2026-01-31T12:34:56.789Z`.
pub fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_milliseconds_and_is_now() {
        let text = timestamp();
        assert_eq!(text.len(), "2026-01-31T12:34:56.789Z".len(), "{text}");
        let parsed = humantime::parse_rfc3339(&text).unwrap();
        assert!(parsed.elapsed().unwrap().as_secs() < 60, "{text}");
    }
}
