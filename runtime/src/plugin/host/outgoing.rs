//! `wasi:http/outgoing-handler`: requests to the hosts that the operator has granted, and to no others.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::sync::Arc;

use hyper::http::uri::Scheme;
use hyper::{Request, Response};
use tokio::sync::Semaphore;
use tokio_rustls::rustls;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, IoError};
use wasmtime_wasi_http::{Result, WasiHttpHooks};

use super::super::Plugin;
use super::super::log::PluginLog;
use super::super::network::{Error, Network, Permit, RequestOptions, Rest, WasiBody};
use super::HostState;
use crate::config::PluginSettings;
use crate::ids::PluginId;

/// The longest host that is looked at, with its port, in bytes: a name of DNS has 253.
const MAX_AUTHORITY: usize = 300;
/// What a plugin writes to a body at once. Two of these wait in each body that is not read.
const CHUNK: usize = 64 << 10;

/// Decides where the requests of a plugin may go.
pub(super) struct Outgoing {
    plugin: Arc<PluginId>,
    log: Arc<PluginLog>,
    settings: Arc<PluginSettings>,
    /// How many more requests may be under way.
    free: Arc<Semaphore>,
    /// See [`Permit`].
    lookups: Arc<Semaphore>,
    network: Arc<dyn Network>,
}

impl Outgoing {
    pub(super) fn new(plugin: &Plugin) -> Self {
        Self {
            plugin: plugin.id.clone(),
            log: plugin.log.clone(),
            settings: plugin.settings(),
            free: plugin.terms.load().outgoing.clone(),
            lookups: plugin.account().lookups(),
            network: plugin.shared.network.clone(),
        }
    }

    fn check(&self, request: &Request<WasiBody>) -> Result<()> {
        let uri = request.uri();
        let Some(authority) = uri.authority() else {
            return Err(Error::HttpRequestUriInvalid);
        };
        if authority.as_str().len() > MAX_AUTHORITY {
            return Err(Error::HttpRequestUriInvalid);
        }
        // Who the user is belongs into a header. Here it could only make one host look like another.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let (host, port) = (authority.host(), authority.port_u16());
        // What is no port must not pass for the scheme's own.
        if port.is_none() && authority.as_str() != host {
            return Err(Error::HttpRequestUriInvalid);
        }
        let default_port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            _ => 443,
        };
        let granted = &self.settings.hosts;
        if granted
            .iter()
            .any(|grant| grant.allows(host, port, default_port))
        {
            return Ok(());
        }
        let authority = authority.as_str().trim_end_matches('.');
        if self.log.may_write() {
            tracing::warn!(
            plugin = %self.plugin,
            "a request to {authority} was denied; to grant it, add \"{authority}\" to `hosts` under [plugin.{:?}] in \
             tulpar.toml",
                self.plugin.key()
            );
        }
        Err(Error::HttpRequestDenied)
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _rest: Rest,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Rest)>> + Send> {
        if let Err(error) = self.check(&request) {
            return Box::new(async { Err(error) });
        }
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            tracing::debug!(plugin = %self.plugin, "too many outgoing requests (limits.outgoing-requests)");
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        };
        let permit = Permit {
            request: Arc::new(permit),
            lookups: self.lookups.clone(),
        };
        let sending = self.network.send(request, options, permit.clone());
        Box::new(async move {
            let (response, rest) = sending.await?;
            let rest = async {
                // The connection is there until this ends.
                let _permit = permit;
                Box::into_pin(rest).await
            };
            Ok((response, Box::new(rest) as Rest))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    // The plugin is told. The operator, who can do nothing about it, need not be at each time.
    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin, "an outgoing request failed: {error}");
        let source = error.source().and_then(|it| it.downcast_ref());
        match source {
            Some(error) => broken(error),
            None if error.is_parse() || error.is_user() => ErrorCode::HttpProtocolError,
            None => ErrorCode::ConnectionTerminated,
        }
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin, "an outgoing request could not connect: {error}");
        match error.kind() {
            io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, error: &io::Error) -> ErrorCode {
        tracing::debug!(plugin = %self.plugin, "an outgoing request failed in TLS: {error}");
        broken(error)
    }
}

/// Why a connection that there was is of no use any more.
fn broken(error: &io::Error) -> ErrorCode {
    let in_tls = error.get_ref().and_then(|it| it.downcast_ref());
    match (in_tls, error.kind()) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => ErrorCode::TlsCertificateError,
        (Some(_), _) => ErrorCode::TlsProtocolError,
        // In these hyper says that the parts of a body are not what they should be.
        (None, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            ErrorCode::HttpProtocolError
        }
        (None, _) => ErrorCode::ConnectionTerminated,
    }
}

/// Has guests learn why a body broke off: `wasmtime_wasi_http` hands them the error, but finds no code in it. The interface
/// is of the version that it serves.
///
/// # Errors
/// The interface has something else of that name, which is a defect of the host.
pub fn link_error_code(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, HostState>, (error,): (Resource<IoError>,)| {
            let HostState {
                table, outgoing, ..
            } = store.data_mut();
            let error = table.get(&error)?;
            let code = match error.downcast_ref::<Error>() {
                Some(Error::Hyper(error)) => Some(outgoing.p2_error_from_hyper(error)),
                Some(Error::ConnectionReadTimeout) => Some(ErrorCode::ConnectionReadTimeout),
                Some(Error::HttpRequestBodySize(size)) => {
                    Some(ErrorCode::HttpRequestBodySize(*size))
                }
                _ => error.downcast_ref().cloned(),
            };
            Ok((code,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
