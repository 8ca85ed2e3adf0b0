//! The admin endpoint: health and metrics for whatever platform runs the host, on any address, and for those who have the token
//! what steers it (`host swap`, `host shadow`). What it controls is behind a trait; it knows nothing of how components are
//! swapped.

mod attendant;
mod client;
mod error;
mod listening;
mod service;
mod subject;
mod token;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

pub use attendant::Attendant;
pub use client::{AdminClient, ClientError, readiness};
pub use error::AdminError;
pub use listening::Admin;
pub use subject::Subject;

/// Where a host listens when nobody says otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

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
            Ok(address) => Ok(Self::At(address)),
            Err(_) => Err(format!("{text:?} is no address; write 127.0.0.1:9464, 0.0.0.0:9464 or off")),
        }
    }
}

/// How to start an [`Attendant`].
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// None: the default one.
    pub address: Option<AdminAddress>,
    /// The folder for the token (mode 0700).
    pub folder: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
