//! Servers for development that `host dev` and the tests start themselves: Postgres and S3.

pub mod postgres;
pub mod s3;
pub(crate) mod server;

use std::path::PathBuf;

/// Where `host dev` keeps its state when nobody says otherwise: the user's cache folder.
///
/// For root it is `/var/cache`: Postgres refuses to run as root, and the user that it runs as instead cannot pass
/// through `/root`. `None` when the user has no home.
pub fn default_data_dir() -> Option<PathBuf> {
    let cache = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/cache")
    } else if let Some(cache) = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    {
        cache
    } else {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?;
        home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" })
    };
    Some(cache.join("receipt-worker"))
}
