//! Why there is no admin endpoint.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why there is no admin endpoint.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the admin endpoint cannot listen on {address}: {reason}; choose another --admin ADDRESS, or --admin off")]
    Listen { address: SocketAddr, reason: io::Error },
    #[error("{address} can be reached from elsewhere; the admin endpoint is for loopback only")]
    NotLoopback { address: SocketAddr },
    #[error("no folder for the admin endpoint's token: set HOME or XDG_CACHE_HOME, or use --admin off")]
    NoFolder,
    #[error("the admin endpoint's token cannot be kept in {}: {reason}; mend that, or use --admin off", folder.display())]
    Token { folder: PathBuf, reason: String },
    #[error("no random token can be made for the admin endpoint: {0}")]
    Random(String),
}
