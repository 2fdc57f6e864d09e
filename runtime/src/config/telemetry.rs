//! Where traces and logs go beside the standard error, `[telemetry]`.

use hyper::Uri;
use serde::{Deserialize, Serialize};

/// Where traces and logs go beside the standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Telemetry {
    /// The OpenTelemetry collector, by OTLP over HTTP; empty: none.
    pub endpoint: Endpoint,
    /// Whether it gets traces.
    pub traces: bool,
    /// Of how many requests and events one is traced. What belongs to one that is, is too.
    pub trace_one_in: u32,
    /// Whether it gets the log.
    pub logs: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::default(),
            traces: true,
            trace_one_in: 100,
            logs: true,
        }
    }
}

/// The address of a collector, without the path of what is sent; or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Option<String>);

impl Endpoint {
    /// What is sent to it under that path; none when there is no collector.
    #[must_use]
    pub fn url(&self, path: &str) -> Option<String> {
        let base = self.0.as_deref()?;
        Some(format!("{}{path}", base.trim_end_matches('/')))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let uri = text.parse::<Uri>().ok();
        let uri = uri.filter(|uri| uri.authority().is_some() && uri.query().is_none());
        match uri.as_ref().and_then(Uri::scheme_str) {
            Some("http") => Ok(Self(Some(text))),
            Some("https") => Err(format!(
                "{text:?} in `endpoint` is encrypted, which is not offered; run a collector on this machine and have it \
                 send on what it gets"
            )),
            _ => Err(format!(
                "{text:?} in `endpoint` is no address of a collector; write one such as \"http://127.0.0.1:4318\""
            )),
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::from_text;

    #[test]
    fn a_collector_is_named_by_an_address_of_http_or_not_at_all() {
        let said = |endpoint: &str| {
            let config = from_text(&format!("[telemetry]\nendpoint = {endpoint:?}"));
            config.map(|config| config.telemetry.endpoint.url("/v1/traces"))
        };
        assert_eq!(said(""), Ok(None));
        for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            let url = said(endpoint).unwrap();
            assert_eq!(url.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        }
        for (endpoint, why) in [
            ("https://collector.example", "encrypted"),
            ("127.0.0.1:4318", "no address"),
            ("http://", "no address"),
            ("http://x?y", "no address"),
            ("grpc://127.0.0.1:4317", "no address"),
        ] {
            let refused = said(endpoint).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
