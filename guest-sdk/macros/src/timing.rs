//! When something of a service is to be done, as its author wrote it.

use std::time::Duration;

use syn::{Error, LitStr, Result};

const MIN: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(crate) const EVERY: &str = r#"#[every("30s")]"#;
pub(crate) const CRON: &str = r#"#[cron("0 9 * * 1-5")]"#;

/// The milliseconds of a duration such as `30s` or `1h 30m`.
pub(crate) fn every(literal: &LitStr) -> Result<u64> {
    let text = literal.value();
    let fail = |message: String| Err(Error::new(literal.span(), message));
    let duration = match humantime::parse_duration(&text) {
        Ok(duration) => duration,
        Err(error) => {
            return fail(format!(
                "this is no duration ({error}): write `{EVERY}`, or `500ms`, `5m`, `1h 30m`, `1d`"
            ));
        }
    };
    if !(MIN..=MAX).contains(&duration) {
        return fail(format!(
            "a schedule is run every 10 ms to every 366 days, not every {text}"
        ));
    }
    let ms = duration.as_millis();
    match u64::try_from(ms) {
        Ok(ms) if Duration::from_millis(ms) == duration => Ok(ms),
        _ => fail("a schedule is run every so many whole milliseconds".into()),
    }
}

/// A field of a cron expression, and the numbers it takes.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// Whether `L`, `W` and `#` mean something.
    days: bool,
}

const fn field(name: &'static str, min: u32, max: u32) -> Field {
    Field {
        name,
        min,
        max,
        names: &[],
        days: false,
    }
}

const FIELDS: [Field; 6] = [
    field("second", 0, 59),
    field("minute", 0, 59),
    field("hour", 0, 23),
    Field {
        days: true,
        ..field("day of the month", 1, 31)
    },
    Field {
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        ..field("month", 1, 12)
    },
    Field {
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        days: true,
        ..field("day of the week", 0, 7)
    },
];

/// What is plainly no cron expression. The host reads it in full when it loads the plugin.
pub(crate) fn cron(literal: &LitStr) -> Result<()> {
    let text = literal.value();
    let fail = |message: String| Err(Error::new(literal.span(), message));
    let given: Vec<_> = text.split_whitespace().collect();
    let fields = match given.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        other => {
            return fail(format!(
                "a cron expression has five fields, minute, hour, day of the month, month and day of the week, \
                 or six with the second before them; this one has {other}: write `{CRON}`"
            ));
        }
    };
    for (field, given) in fields.iter().zip(given) {
        if !given.split(',').all(|item| field.takes(item)) {
            let Field { name, min, max, .. } = field;
            return fail(format!(
                "`{given}` is no {name}: write `*`, numbers of {min} to {max}, ranges such as `{min}-{max}`, \
                 steps such as `*/2`, or several of them with commas"
            ));
        }
    }
    Ok(())
}

impl Field {
    fn takes(&self, item: &str) -> bool {
        // What the host knows beyond the classic form.
        if self.days && item.contains(['L', 'W', '#']) && item.is_ascii() {
            return true;
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, number(step)),
            None => (item, Some(1)),
        };
        let first_to_last = || {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            self.has(first) && self.has(last)
        };
        step.is_some_and(|step| step > 0)
            && (range == "*" || (self.days && range == "?") || first_to_last())
    }

    fn has(&self, value: &str) -> bool {
        number(value).is_some_and(|number| (self.min..=self.max).contains(&number))
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(value))
    }
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn lit(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn durations_of_10_ms_to_366_days() {
        for (text, ms) in [
            ("10ms", 10),
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(every(&lit(text)).unwrap(), ms, "{text}");
        }
        for (text, reason) in [
            ("9ms", "every 10 ms to every 366 days"),
            ("0s", "every 10 ms to every 366 days"),
            ("366d 1ms", "every 10 ms to every 366 days"),
            ("10500us", "whole milliseconds"),
            ("", "no duration"),
            ("30", "no duration"),
            ("soon", "no duration"),
        ] {
            let error = every(&lit(text)).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn cron_expressions() {
        for good in [
            "* * * * *",
            "0 9 * * 1-5",
            "*/15 0,12 1 JAN-mar Sun",
            "30 0 0 1 1 7",
            "0 0 L * 5#2",
            "0 0 ? * ?",
            "5/10 * * * *",
        ] {
            assert!(cron(&lit(good)).is_ok(), "{good}");
        }
        for (bad, reason) in [
            ("", "this one has 0"),
            ("* * * *", "this one has 4"),
            ("0 0 0 1 1 7 2030", "this one has 7"),
            ("60 * * * *", "`60` is no minute"),
            ("* 24 * * *", "`24` is no hour"),
            ("* * 0 * *", "`0` is no day of the month"),
            ("* * * 13 *", "`13` is no month"),
            ("* * * * 8", "`8` is no day of the week"),
            ("* * * * MO", "`MO` is no day of the week"),
            ("60 * * * * *", "`60` is no second"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("+1 * * * *", "`+1` is no minute"),
            ("1, * * * *", "`1,` is no minute"),
            ("L * * * *", "`L` is no minute"),
        ] {
            let error = cron(&lit(bad)).unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
