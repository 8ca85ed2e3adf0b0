//! Who the server runs as: ourselves, or for root, whom Postgres refuses, a user with fewer rights.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tokio::process::Command;

use super::error::Error;

/// `None` when we need not change.
pub(super) struct Owner(Option<User>);

struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(super) fn choose() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = ["postgres", "_postgres", "nobody"].into_iter().find_map(|name| User::find(&passwd, name));
        user.map(|user| Self(Some(user))).ok_or(Error::NoUser)
    }

    /// Makes a file or folder the server's.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.0 else { return Ok(()) };
        let failed = |source| Error::Folder { path: path.to_owned(), source };
        chown(path, Some(user.uid), Some(user.gid)).map_err(failed)
    }

    /// Lets the server pass through our own folder. It stays ours: root writes into no folder that another user could
    /// plant links in.
    pub(super) fn let_pass(&self, dir: &Path) -> Result<(), Error> {
        let Some(_) = &self.0 else { return Ok(()) };
        let failed = |source| Error::Folder { path: dir.to_owned(), source };
        let mode = fs::metadata(dir).map_err(failed)?.permissions().mode();
        fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o011)).map_err(failed)
    }

    /// Whether the server can get to what is in a folder: it has to pass through it and every one above it.
    pub(super) fn check_way_to(&self, dir: &Path) -> Result<(), Error> {
        let Some(user) = &self.0 else { return Ok(()) };
        for folder in dir.ancestors() {
            let about = fs::metadata(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
            let mode = about.permissions().mode();
            let may_pass = if about.uid() == user.uid {
                mode & 0o100
            } else if about.gid() == user.gid {
                mode & 0o010
            } else {
                mode & 0o001
            };
            if may_pass == 0 {
                return Err(Error::NotTraversable { folder: folder.to_owned(), user: user.name.clone() });
            }
        }
        Ok(())
    }

    /// Root's other groups go with its user id: the standard library clears them.
    pub(super) fn run_as(&self, command: &mut Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid).gid(user.gid);
        }
    }
}

impl User {
    /// From the lines of `/etc/passwd`: `name:password:uid:gid:…`.
    fn find(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        let (uid, gid) = (ids.next()?.parse().ok()?, ids.next()?.parse().ok()?);
        Some(Self { name: name.to_owned(), uid, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres-exporter:x:7:7::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/sh\n";
        let user = User::find(passwd, "postgres").map(|user| (user.uid, user.gid));
        assert_eq!(user, Some((101, 104)));
        assert!(User::find(passwd, "nobody").is_none());
    }
}
