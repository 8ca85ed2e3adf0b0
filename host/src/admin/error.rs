//! Why there is no admin endpoint.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why there is no admin endpoint.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("the admin endpoint cannot listen on {address}: {reason}; choose another --admin ADDRESS, or --admin off")]
    Listen { address: SocketAddr, reason: io::Error },
    #[error(
        "no folder for the admin endpoint's token, so that host swap and host shadow are refused: set HOME or XDG_CACHE_HOME"
    )]
    NoFolder,
    #[error("the admin endpoint's token cannot be kept in {}, so that host swap and host shadow are refused: {reason}", folder.display())]
    Token { folder: PathBuf, reason: String },
    #[error("no random token can be made for the admin endpoint: {0}")]
    Random(String),
}
