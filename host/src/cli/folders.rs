//! Where this user's files are when nobody says otherwise.

use std::path::PathBuf;

/// This user's cache folder for this program (XDG, or macOS's place for it). `None` when the user has no home.
pub(super) fn user_cache() -> Option<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(cache) => cache,
        None => {
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?;
            home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" })
        }
    };
    Some(base.join("receipt-worker"))
}

/// Where a user without a home keeps what need not stay.
pub(super) fn temporary_cache() -> PathBuf {
    std::env::temp_dir().join("receipt-worker")
}

/// Where `host dev` keeps its state when nobody says otherwise: the user's cache folder.
///
/// For root it is `/var/cache`: Postgres refuses to run as root, and the user that it runs as instead cannot pass
/// through `/root`. `None` when the user has no home.
pub(super) fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/cache/receipt-worker/dev"));
    }
    user_cache().map(|cache| cache.join("dev"))
}
