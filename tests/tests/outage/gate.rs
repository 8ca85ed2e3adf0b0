//! A door on the wire between the host and a service: open, shut, or open with nobody behind it. Counts who knocks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// They reach the service, or end at once where it is gone.
    Open,
    /// They are refused: nobody listens.
    Shut,
    /// They are accepted, and nothing ever comes back.
    Silent,
}

/// The door before one service, and what knocked there.
pub(crate) struct Gate {
    address: SocketAddr,
    door: watch::Sender<Door>,
    knocks: Arc<AtomicU64>,
}

impl Gate {
    /// An open one in front of `service`.
    pub(crate) async fn before(service: &str) -> Self {
        let service: SocketAddr = service.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (door, watched) = watch::channel(Door::Open);
        let knocks = Arc::new(AtomicU64::new(0));
        tokio::spawn(keep(listener, service, watched, Arc::clone(&knocks)));
        Self { address, door, knocks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that were open end with it.
    pub(crate) fn turn(&self, door: Door) {
        self.door.send_replace(door);
    }

    /// Requests that came by, and connections that did not get through.
    pub(crate) fn knocks(&self) -> u64 {
        self.knocks.load(Ordering::Relaxed)
    }
}

async fn keep(listener: TcpListener, service: SocketAddr, mut door: watch::Receiver<Door>, knocks: Arc<AtomicU64>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    loop {
        let now = *door.borrow_and_update();
        if now == Door::Shut {
            listener = None;
        } else if listener.is_none() {
            listener = Some(bind_again(address).await);
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = door.changed() => if changed.is_err() { return },
            client = accepted => {
                let (mut changed, knocks) = (door.clone(), Arc::clone(&knocks));
                tokio::spawn(async move {
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = pass(client, service, now, &knocks) => {}
                    }
                });
            }
        }
    }
}

/// While nobody listened there, somebody's outgoing connection may have been given the port.
async fn bind_again(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pass(mut client: TcpStream, service: SocketAddr, door: Door, knocks: &AtomicU64) {
    if door == Door::Silent {
        knocks.fetch_add(1, Ordering::Relaxed);
        return std::future::pending().await;
    }
    let Ok(mut server) = TcpStream::connect(service).await else {
        knocks.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            // A client of HTTP/1.1 that awaits each answer begins each request with a packet.
            let begins = [&b"GET "[..], b"PUT ", b"HEAD ", b"POST "].iter().any(|verb| bytes.starts_with(verb));
            knocks.fetch_add(begins.into(), Ordering::Relaxed);
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
