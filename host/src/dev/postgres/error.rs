//! Why there is no local Postgres, and what to do.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "local Postgres: no initdb and postgres in PATH, /usr/lib/postgresql/*/bin or Homebrew; install them \
         (`apt-get install postgresql` on Debian and Ubuntu, `brew install postgresql@17` on macOS) or set DATABASE_URL"
    )]
    NotInstalled,
    #[error(
        "local Postgres: the data in {} is of Postgres {cluster}, but this machine has {found}; install Postgres \
         {cluster} (`apt-get install postgresql-{cluster}`, `brew install postgresql@{cluster}`), or remove the folder \
         to begin anew",
        path.display()
    )]
    OtherVersion { path: PathBuf, cluster: String, found: String },
    #[error("local Postgres: {}: {source}; choose another data folder or make it writable", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("local Postgres: another host works in {}; stop it, or choose another data folder", path.display())]
    InUse { path: PathBuf },
    #[error(
        "local Postgres: root may not run Postgres, and the user {user} that runs it instead may not pass through {}; \
         choose a data folder outside of it (under /var/cache, say) or allow it: `chmod o+x {}`",
        folder.display(), folder.display()
    )]
    NotTraversable { folder: PathBuf, user: String },
    #[error(
        "local Postgres: root may not run Postgres, and there is no user `postgres` or `nobody` to run it as; run as another user or set DATABASE_URL"
    )]
    NoUser,
    #[error(
        "local Postgres: the password of the data in {} is lost; put {} back, or remove the folder to begin anew",
        dir.display(), path.display()
    )]
    PasswordLost { dir: PathBuf, path: PathBuf },
    #[error("local Postgres: cannot run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("local Postgres: initdb failed: {message}")]
    Init { message: String },
    #[error("local Postgres: port {port} is taken; stop what listens there, or choose another port")]
    PortTaken { port: u16 },
    #[error("local Postgres: the server did not start: {message} (all of it: {})", log.display())]
    Start { message: String, log: PathBuf },
    #[error("local Postgres: process {pid} still serves the data in {} and does not stop; stop it: `kill -QUIT {pid}`", path.display())]
    Leftover { pid: i32, path: PathBuf },
    #[error("local Postgres: cannot make the database {name}: {source}")]
    Database { name: String, source: tokio_postgres::Error },
    #[error("local Postgres: no random numbers for a password: {0}")]
    Random(getrandom::Error),
}
