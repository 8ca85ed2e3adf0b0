//! The admin endpoint: HTTP on loopback, for the person at this machine (`host swap`, `host shadow`) and for whoever
//! collects metrics. What it controls is behind a trait; it knows nothing of how components are swapped.

mod client;
mod error;
mod service;
mod token;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use client::{AdminClient, ClientError};
pub use error::AdminError;

use self::service::{Handler, Service};
use self::token::Token;
use crate::http::Server;
use crate::swap::Control;
use crate::telemetry::metrics::Metrics;

/// Where a host listens when nobody says otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Connections that are served at a time; others wait.
const CONNECTIONS: usize = 16;

/// A value of `--admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddress {
    /// No endpoint.
    Off,
    /// On this address; port 0 takes a free one.
    At(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        let address = match text.strip_prefix("localhost:") {
            Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST).parse(),
            None => text.parse::<SocketAddr>(),
        };
        match address {
            Ok(address) if address.ip().is_loopback() => Ok(Self::At(address)),
            Ok(_) => {
                Err(format!("{text:?} can be reached from elsewhere; only loopback is served, e.g. 127.0.0.1:9464"))
            }
            Err(_) => Err(format!("{text:?} is no address; write 127.0.0.1:9464, or off")),
        }
    }
}

/// How to start an [`Admin`].
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// None: the default one, and a host that works on without when it cannot be had.
    pub address: Option<AdminAddress>,
    /// The folder for the token (mode 0700).
    pub folder: Option<PathBuf>,
}

/// A running endpoint. Dropping it stops it, too.
pub struct Admin {
    server: Server,
    address: SocketAddr,
    token: Token,
}

impl Admin {
    /// Starts the endpoint that the settings ask for; none when it is off, or when nobody asked for it by name and it
    /// cannot be had.
    pub async fn start(
        settings: &AdminSettings,
        control: Arc<dyn Control>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, AdminError> {
        match settings.address {
            Some(AdminAddress::Off) => Ok(None),
            Some(AdminAddress::At(address)) => {
                Self::bind(address, settings.folder.clone(), control, metrics).await.map(Some)
            }
            None => match Self::bind(DEFAULT_ADDRESS, settings.folder.clone(), control, metrics).await {
                Ok(admin) => Ok(Some(admin)),
                Err(error) => {
                    tracing::warn!(
                        name: "admin.unavailable",
                        "working without host swap, host shadow and metrics: {error}"
                    );
                    Ok(None)
                }
            },
        }
    }

    /// Listens, and leaves the token where [`AdminClient`] finds it.
    pub async fn bind(
        address: SocketAddr,
        folder: Option<PathBuf>,
        control: Arc<dyn Control>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AdminError> {
        if !address.ip().is_loopback() {
            return Err(AdminError::NotLoopback { address });
        }
        let folder = folder.ok_or(AdminError::NoFolder)?;
        let secret = token::secret()?;
        let service = Handler(Arc::new(Service::new(secret.clone(), control, metrics)));
        let listen = Server::start(address, service, CONNECTIONS).await;
        let server = listen.map_err(|reason| AdminError::Listen { address, reason })?;
        let address = server.address();
        // Only once the address is ours: the file of a host that has it must not be replaced.
        let token = Token::leave(&folder, address, &secret)?;
        tracing::info!(name: "admin.listening", %address, "admin endpoint");
        Ok(Self { server, address, token })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the token away, answers what was asked already, and frees the port.
    pub async fn shutdown(self) {
        drop(self.token);
        self.server.stop().await;
    }
}

#[cfg(test)]
mod tests;
