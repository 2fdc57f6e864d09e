//! What is logged: what the environment says, or else what is usual.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::ConfigError;

/// The environment variable that says it.
const VARIABLE: &str = "TULPAR_LOG";

/// Any plugin can have this library write lines, as many as it likes and of which nobody can say whose they are. The server
/// says itself what became of a plugin's requests.
const SILENT: &str = "wasmtime_wasi_http";

/// What is logged when the variable says that, or when it is not set or empty.
///
/// # Errors
/// It is no list of levels and of sources with their levels.
pub(super) fn filter(said: Option<&str>, usual: &str) -> Result<EnvFilter, ConfigError> {
    let words = |said: &str| -> Vec<String> {
        let words = said.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    let said = said.map(words).filter(|said| !said.is_empty());
    let said = said.unwrap_or_else(|| words(usual));
    // The library takes any other word for a source of which all is logged, and of everything else nothing.
    let mut levels = said.iter().filter(|word| !word.contains(['=', '[']));
    if let Some(word) = levels.find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(invalid(&format!(
            "{word:?} is none of the levels off, error, warn, info, debug and trace; the level of a part of the log is said as \
             in info,plugin=debug"
        )));
    }
    let filter = EnvFilter::try_new(said.join(","));
    let filter = filter.map_err(|error| invalid(&error.to_string()))?;
    Ok(match format!("{SILENT}=off").parse() {
        Ok(silent) => filter.add_directive(silent),
        Err(_) => filter,
    })
}

/// The same of this process's environment.
pub(super) fn of_environment(usual: &str) -> Result<EnvFilter, ConfigError> {
    let said = std::env::var_os(VARIABLE);
    let said = said.map(|said| said.into_string());
    let said = said.transpose().map_err(|_| invalid("it is not UTF-8"))?;
    filter(said.as_deref(), usual)
}

fn invalid(reason: &str) -> ConfigError {
    ConfigError::Invalid {
        origin: "environment".into(),
        reason: format!("{VARIABLE}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: Option<&str>) -> String {
        let filter = filter(said, "info,async_nats=warn");
        filter.map_or_else(|error| error.to_string(), |filter| filter.to_string())
    }

    #[test]
    fn nothing_said_is_what_is_usual() {
        for said in [None, Some(""), Some("  ")] {
            let filter = of(said);
            assert!(
                filter.contains("async_nats=warn") && filter.contains("info"),
                "{filter}"
            );
        }
    }

    #[test]
    fn levels_and_sources_with_levels_are_understood() {
        for said in [
            "debug",
            "INFO",
            "off",
            "info,plugin=debug",
            "warn, plugin=trace,",
            "3",
        ] {
            let filter = of(Some(said));
            assert!(!filter.contains("environment"), "{said}: {filter}");
            assert!(
                filter.contains("wasmtime_wasi_http=off"),
                "{said}: {filter}"
            );
        }
    }

    #[test]
    fn what_is_no_level_is_refused_and_named() {
        for (said, named) in [
            ("verbose", "\"verbose\""),
            ("info,inof", "\"inof\""),
            ("plugin=loud", "TULPAR_LOG"),
        ] {
            let refused = of(Some(said));
            assert!(
                refused.starts_with("environment: TULPAR_LOG: ") && refused.contains(named),
                "{said}: {refused}"
            );
        }
    }
}
