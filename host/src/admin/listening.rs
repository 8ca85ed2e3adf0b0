//! A listening endpoint.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::error::AdminError;
use super::service::{Handler, Service};
use super::subject::Subject;
use super::token::{self, Token};
use crate::http::Server;

/// Connections that are served at a time; others wait.
pub(super) const CONNECTIONS: usize = 64;

/// A running endpoint. Dropping it stops it, too.
pub struct Admin {
    server: Server,
    address: SocketAddr,
    service: Arc<Service>,
    secret: String,
    pub(super) token: Option<Token>,
}

impl Admin {
    /// Serves health and metrics there. Whoever is to steer needs [`Admin::leave_token`], too.
    pub async fn listen(address: SocketAddr, subject: Subject) -> Result<Self, AdminError> {
        let secret = token::secret()?;
        let service = Arc::new(Service::new(secret.clone(), subject));
        let listen = Server::start_anywhere(address, Handler(Arc::clone(&service)), CONNECTIONS).await;
        let server = listen.map_err(|reason| AdminError::Listen { address, reason })?;
        let address = server.address();
        tracing::info!(name: "admin.listening", %address, "admin endpoint");
        Ok(Self { server, address, service, secret, token: None })
    }

    /// Leaves the token where `AdminClient` finds it. Only once the address is ours: the file of a host that has it must not be
    /// replaced.
    pub fn leave_token(&mut self, folder: Option<&Path>) -> Result<(), AdminError> {
        let left = match folder {
            Some(folder) => Token::leave(folder, self.address, &self.secret),
            None => Err(AdminError::NoFolder),
        };
        self.service.has_token(left.as_ref().map(drop).map_err(ToString::to_string));
        self.token = Some(left?);
        Ok(())
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
