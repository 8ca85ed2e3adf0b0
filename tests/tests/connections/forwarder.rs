//! An address that can be made to lead elsewhere, as a DNS name or a virtual IP does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub struct Forwarder {
    port: u16,
    orders: watch::Sender<Order>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Order {
    target: SocketAddr,
    fate: Fate,
    /// How long new connections take to get through.
    delay: Duration,
}

/// What becomes of who is connected.
#[derive(Clone, Copy)]
enum Fate {
    /// Cut off.
    Cut,
    /// Cut off, and the server does not hear of it.
    Abandoned,
    /// Neither hears of the other any more.
    Silenced,
}

impl Forwarder {
    /// Leads to this port of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (orders, order) =
            watch::channel(Order { target: on_loopback(port), fate: Fate::Cut, delay: Duration::ZERO });
        let port = listener.local_addr().unwrap().port();
        Self { port, orders, accepting: tokio::spawn(accept(listener, order)) }
    }

    /// Leads to the database of this connection string.
    pub async fn before(url: &str) -> Self {
        let (_, rest) = url.split_once("@127.0.0.1:").unwrap();
        Self::start(rest.split('/').next().unwrap().parse().unwrap()).await
    }

    /// The same database by this address.
    pub fn url(&self, url: &str) -> String {
        at_port(url, self.port)
    }

    /// Leads to another port from now on; who is connected is cut off.
    pub fn switch(&self, port: u16) {
        self.orders.send_replace(Order { target: on_loopback(port), fate: Fate::Cut, delay: Duration::ZERO });
    }

    /// Cuts off who is connected, without telling the server: what it was asked to do it does.
    pub fn abandon(&self) {
        self.orders.send_modify(|order| order.fate = Fate::Abandoned);
    }

    /// Lets new connections wait so long before they get through.
    pub fn delay(&self, delay: Duration) {
        // Nobody is told: who is connected stays so.
        self.orders.send_if_modified(|order| {
            order.delay = delay;
            false
        });
    }

    /// Lets the connections that there are go silent, as a firewall does that forgets them. New ones work.
    pub fn silence(&self) {
        self.orders.send_modify(|order| order.fate = Fate::Silenced);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A connection string with another port.
pub fn at_port(url: &str, port: u16) -> String {
    let (head, tail) = url.split_once("@127.0.0.1:").unwrap();
    let (_, path) = tail.split_once('/').unwrap();
    format!("{head}@127.0.0.1:{port}/{path}")
}

fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn accept(listener: TcpListener, order: watch::Receiver<Order>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let mut order = order.clone();
        order.mark_unchanged();
        connections.spawn(forward(client, order));
    }
}

async fn forward(mut client: TcpStream, mut order: watch::Receiver<Order>) {
    let Order { target, delay, .. } = *order.borrow_and_update();
    tokio::time::sleep(delay).await;
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let changed = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        changed = order.changed() => changed,
    };
    let fate = order.borrow().fate;
    let kept = matches!(fate, Fate::Silenced).then_some(client);
    if changed.is_ok() && !matches!(fate, Fate::Cut) {
        std::future::pending::<()>().await;
    }
    drop(kept);
}
