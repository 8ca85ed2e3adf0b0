//! S3 on loopback: the protocol by s3s, the objects as files by s3s-fs, and here what s3s-fs leaves out.

mod store;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use self::store::Store;
use crate::http::Server;

/// How to start a [`LocalS3`].
#[derive(Clone)]
pub struct Settings {
    /// The folder that holds the buckets; made when it is not there.
    pub root: PathBuf,
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The one key pair that is let in.
    pub access_key: String,
    pub secret_key: String,
    /// Buckets to make when they are not there.
    pub buckets: Vec<String>,
}

impl Settings {
    /// A free port, the key pair `local` / `local-secret`, no buckets.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_key: "local".to_owned(),
            secret_key: "local-secret".to_owned(),
            buckets: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("local S3: cannot use the folder {}: {source}; choose another data folder or make it writable", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("local S3: {name:?} is no bucket name: 3 to 63 of a-z, 0-9, '-' and '.', beginning with a letter or digit")]
    BucketName { name: String },
    #[error("local S3: cannot read the objects in {}: {message}", path.display())]
    Store { path: PathBuf, message: String },
    #[error("local S3: cannot listen on {address}: {source}; choose another port")]
    Listen { address: SocketAddr, source: io::Error },
}

/// A running S3. Path-style addresses only, region `us-east-1` or any other.
pub struct LocalS3 {
    server: Server,
    settings: Settings,
}

impl LocalS3 {
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let folder = |path: PathBuf| |source| Error::Folder { path, source };
        fs::create_dir_all(&settings.root).map_err(folder(settings.root.clone()))?;
        for name in &settings.buckets {
            if !s3s::path::check_bucket_name(name) {
                return Err(Error::BucketName { name: name.clone() });
            }
            let path = settings.root.join(name);
            fs::create_dir_all(&path).map_err(folder(path))?;
        }
        let store =
            Store::open(&settings.root).map_err(|message| Error::Store { path: settings.root.clone(), message })?;
        let mut service = S3ServiceBuilder::new(store);
        service.set_auth(SimpleAuth::from_single(settings.access_key.as_str(), settings.secret_key.as_str()));
        let server = Server::start(settings.listen, service.build(), usize::MAX)
            .await
            .map_err(|source| Error::Listen { address: settings.listen, source })?;
        Ok(Self { server, settings })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    pub fn access_key(&self) -> &str {
        &self.settings.access_key
    }

    pub fn secret_key(&self) -> &str {
        &self.settings.secret_key
    }

    /// Answers what was asked already, takes no more, and returns when the port is free.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
