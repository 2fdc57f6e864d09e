//! The rules for what a plugin may say of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use croner::parser::{CronParser, Seconds, Year};

use super::super::bindings::exports::tulpar::plugin::{
    controller_handler, namespace_handler, service_handler,
};
use super::super::load::Refusal;
use super::{Schedule, ServiceDescriptor, Timing};
use crate::hub;

const MAX_NAME: usize = 128;
const MAX_LISTED: usize = 32;
/// How much is quoted of what cannot be, in bytes.
const MAX_QUOTED: usize = 256;
/// The shortest time between two runs of a schedule. What wants to be done more often belongs into one run.
const MIN_EVERY: Duration = Duration::from_millis(10);
/// The longest, 366 days. A timer does not reach further than some years.
const MAX_EVERY: Duration = Duration::from_secs(366 * 24 * 3600);

pub(super) fn check_namespace(said: &namespace_handler::Descriptor) -> Result<(), Refusal> {
    check_path(&said.path)?;
    check_name("the name of a namespace", &said.name)?;
    check_middlewares(&said.middlewares)?;
    check_length("protocols", said.protocols.len())?;
    match said.protocols.iter().find(|protocol| !is_token(protocol)) {
        Some(protocol) => Err(Refusal::Descriptor(format!(
            "{} is not the name of a subprotocol (RFC 6455, section 4.1)",
            quoted(protocol)
        ))),
        None => Ok(()),
    }
}

pub(super) fn check_controller(said: &controller_handler::Descriptor) -> Result<(), Refusal> {
    check_path(&said.path)?;
    check_name("the name of a controller", &said.name)?;
    check_middlewares(&said.middlewares)
}

pub(super) fn check_service(
    said: service_handler::Descriptor,
) -> Result<ServiceDescriptor, Refusal> {
    check_name("the name of a service", &said.name)?;
    check_length("schedules", said.schedules.len())?;
    let mut names = BTreeSet::new();
    let mut schedules = Vec::new();
    for schedule in said.schedules {
        check_name("the name of a schedule", &schedule.name)?;
        let timing = check_timing(&schedule)?;
        if !names.insert(schedule.name.clone()) {
            return Err(Refusal::Descriptor(format!(
                "two schedules are called {:?}",
                schedule.name
            )));
        }
        schedules.push(Schedule {
            name: schedule.name,
            timing,
        });
    }
    Ok(ServiceDescriptor {
        name: said.name,
        schedules,
    })
}

fn check_timing(schedule: &service_handler::Schedule) -> Result<Timing, Refusal> {
    let wrong =
        |why: String| Refusal::Descriptor(format!("the schedule {:?} {why}", schedule.name));
    match &schedule.timing {
        service_handler::Timing::EveryMs(ms) => {
            let every = Duration::from_millis(*ms);
            if (MIN_EVERY..=MAX_EVERY).contains(&every) {
                return Ok(Timing::Every(every));
            }
            Err(wrong(format!(
                "is every {ms} ms; it must be every {} to {} ms",
                MIN_EVERY.as_millis(),
                MAX_EVERY.as_millis()
            )))
        }
        service_handler::Timing::Cron(expression) => {
            check_name("a cron expression", expression)?;
            // The parser takes an empty item for something, and searches millennia for when that is.
            let mut items = expression.split([' ', '\t', ',']);
            if expression.contains(',') && items.any(str::is_empty) {
                return Err(wrong(format!(
                    "has the cron expression {expression:?}: an item is empty"
                )));
            }
            let parser = CronParser::builder()
                .seconds(Seconds::Optional)
                .year(Year::Disallowed)
                .build();
            let cron = parser.parse(expression).map_err(|error| {
                wrong(format!("has the cron expression {expression:?}: {error}"))
            })?;
            if cron.find_next_occurrence(&Utc::now(), false).is_err() {
                return Err(wrong(format!(
                    "has a time that never comes: {expression:?}"
                )));
            }
            Ok(Timing::Cron {
                expression: expression.clone(),
                cron: Box::new(cron),
            })
        }
    }
}

fn check_path(path: &str) -> Result<(), Refusal> {
    match hub::Namespace::path_problem(path) {
        Some(problem) => Err(Refusal::Descriptor(format!(
            "the path {} {problem}",
            quoted(path)
        ))),
        None => Ok(()),
    }
}

/// What a plugin has said, in quotation marks. A refusal is kept as long as its file, and told often.
fn quoted(text: &str) -> String {
    let (beginning, rest) = text.split_at(text.floor_char_boundary(MAX_QUOTED));
    match rest {
        "" => format!("{beginning:?}"),
        _ => format!("{beginning:?}..."),
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::Descriptor(format!(
        "{what} is 1 to {MAX_NAME} bytes without control characters, and not {}",
        quoted(name)
    )))
}

fn check_middlewares(names: &[String]) -> Result<(), Refusal> {
    check_length("middlewares", names.len())?;
    names
        .iter()
        .try_for_each(|name| check_name("the name of a middleware", name))
}

fn check_length(what: &str, length: usize) -> Result<(), Refusal> {
    if length <= MAX_LISTED {
        return Ok(());
    }
    Err(Refusal::Descriptor(format!(
        "it lists {length} {what}, more than {MAX_LISTED}"
    )))
}

/// A token as HTTP has it (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_a_name_is_checked_at_its_limits() {
        assert!(check_name("it", &"n".repeat(128)).is_ok());
        for bad in ["", "a\nb", &"n".repeat(129)] {
            assert!(check_name("it", bad).is_err(), "{bad:?}");
        }
        // Kept as long as the file, it is no longer than it needs to be.
        let long = check_name("it", &"ö".repeat(1 << 20))
            .unwrap_err()
            .to_string();
        assert!(long.len() < 1000 && long.ends_with("öö\"..."), "{long}");
    }

    fn timing(timing: service_handler::Timing) -> Result<Timing, Refusal> {
        let name = "tick".to_owned();
        check_timing(&service_handler::Schedule { name, timing })
    }

    #[test]
    fn s2_a_schedule_is_every_ten_milliseconds_to_366_days() {
        let most = 366 * 24 * 3_600_000;
        for good in [10, 1000, most] {
            assert!(timing(service_handler::Timing::EveryMs(good)).is_ok());
        }
        for bad in [0, 9, most + 1, u64::MAX] {
            assert!(
                timing(service_handler::Timing::EveryMs(bad)).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn s2_a_cron_expression_has_five_fields_or_six_and_a_time_that_comes() {
        for good in [
            "* * * * *",
            "0 9 * * 1-5",
            "*/5 * * * * *",
            "0 0 29 2 *",
            "@hourly",
        ] {
            let outcome = timing(service_handler::Timing::Cron(good.into()));
            assert!(outcome.is_ok(), "{good}: {:?}", outcome.err());
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "0 0 30 2 *",
            "soon",
            "* * * * * * * *",
        ] {
            assert!(
                timing(service_handler::Timing::Cron(bad.into())).is_err(),
                "{bad:?}"
            );
        }
    }
}
