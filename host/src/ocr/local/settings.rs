//! How the service is started.

use std::net::{Ipv4Addr, SocketAddr};

use super::faults::Faults;
use super::reader::Reader;

/// How to start a [`super::LocalTextract`].
#[derive(Clone)]
pub struct Settings {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    pub reader: Reader,
    /// Reads the images that a request names by bucket and key. Without it such a request is refused.
    pub s3: Option<aws_sdk_s3::Client>,
    pub faults: Faults,
}

impl Settings {
    /// A free port, no S3, no faults.
    pub fn new(reader: Reader) -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), reader, s3: None, faults: Faults::default() }
    }
}
