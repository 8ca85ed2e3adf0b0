//! A host's link to the world: a proxy for each of the three services, all with one trap.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::queue::Database;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::point::Point;
use super::trap::{Ambush, Trap};
use super::{http, postgres};
use crate::{HostCommand, World};

/// All links of one world, and what they saw.
pub struct Wire {
    /// What the links lead to.
    pub world: Arc<World>,
    trap: Trap,
    /// By the SHA-256 of an image: the calls for it on the bill when S3 said that its artifact is stored.
    bills: Mutex<HashMap<String, u64>>,
}

/// The proxies of one host. All of its connections end when it is dropped.
pub struct Link {
    wire: Arc<Wire>,
    ports: [u16; 3],
    accepting: [JoinHandle<()>; 3],
}

#[derive(Clone, Copy)]
enum Service {
    Postgres,
    S3,
    Textract,
}

impl Wire {
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, trap: Trap::default(), bills: Mutex::default() })
    }

    /// Sets a trap behind those that are set already; the answer is the number of the host that ran into it.
    pub fn set_trap(&self, ambush: Ambush) -> oneshot::Receiver<usize> {
        self.trap.set(ambush)
    }

    /// A link for the host with this number.
    pub async fn link(self: &Arc<Self>, host: usize) -> Link {
        let (mut ports, mut accepting) = (Vec::new(), Vec::new());
        for service in [Service::Postgres, Service::S3, Service::Textract] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push(listener.local_addr().unwrap().port());
            accepting.push(tokio::spawn(accept(listener, Arc::clone(self), host, service)));
        }
        let Ok(accepting) = accepting.try_into() else { unreachable!() };
        Link { wire: Arc::clone(self), ports: ports.try_into().unwrap(), accepting }
    }

    /// Fails if an image was paid for again after its artifact was stored.
    pub fn assert_paid_once_stored(&self) {
        let calls = self.world.textract.calls_by_image();
        for (image, bill) in self.bills().iter() {
            assert_eq!(calls.get(image), Some(bill), "calls for image {image}, whose artifact existed after {bill}");
        }
    }

    pub(super) async fn pass(&self, host: usize, point: Point) -> io::Result<()> {
        self.trap.pass(host, point).await
    }

    pub(super) fn artifact_stored(&self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let image = name.split('.').next().unwrap_or_default().to_owned();
        let calls = self.world.textract.calls_by_image().get(&image).copied().unwrap_or(0);
        self.bills().entry(image).or_insert(calls);
    }

    fn bills(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.bills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address_of(&self, service: Service) -> String {
        match service {
            Service::Postgres => authority(self.world.db.url()).to_owned(),
            Service::S3 => self.world.s3.endpoint().trim_start_matches("http://").to_owned(),
            Service::Textract => self.world.textract.endpoint().trim_start_matches("http://").to_owned(),
        }
    }
}

impl Link {
    /// `host run …` over this link.
    pub fn run(&self, args: &[&str]) -> HostCommand {
        let [_, s3, textract] = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        self.wire
            .world
            .run(args)
            .env("DATABASE_URL", self.database_url())
            .env("AWS_ENDPOINT_URL_S3", s3)
            .env("AWS_ENDPOINT_URL_TEXTRACT", textract)
    }

    /// The world's database over this link.
    pub fn database(&self) -> Database {
        Database::parse(&self.database_url()).unwrap()
    }

    fn database_url(&self) -> String {
        let url = self.wire.world.db.url();
        url.replace(authority(url), &format!("127.0.0.1:{}", self.ports[0]))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// Writes a message in two halves, with something between them.
pub(super) async fn halves(
    to: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    between: impl AsyncFnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let (first, second) = message.split_at(message.len() / 2);
    to.write_all(first).await?;
    between().await?;
    to.write_all(second).await
}

async fn accept(listener: TcpListener, wire: Arc<Wire>, host: usize, service: Service) {
    // Aborted with this task.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let wire = Arc::clone(&wire);
        connections.spawn(async move {
            let server = TcpStream::connect(wire.address_of(service)).await?;
            server.set_nodelay(true)?;
            client.set_nodelay(true)?;
            match service {
                Service::Postgres => postgres::relay(client, server, &wire, host).await,
                Service::S3 | Service::Textract => http::relay(client, server, &wire, host).await,
            }
        });
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}
