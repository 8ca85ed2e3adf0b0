//! An address that can be made to lead elsewhere, as a DNS name or a virtual IP does.

use std::net::SocketAddr;

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
        let (orders, order) = watch::channel(Order { target: on_loopback(port), fate: Fate::Cut });
        let port = listener.local_addr().unwrap().port();
        Self { port, orders, accepting: tokio::spawn(accept(listener, order)) }
    }

    /// The same database by this address.
    pub fn url(&self, url: &str) -> String {
        at_port(url, self.port)
    }

    /// Leads to another port from now on; who is connected is cut off.
    pub fn switch(&self, port: u16) {
        self.orders.send_replace(Order { target: on_loopback(port), fate: Fate::Cut });
    }

    /// Cuts off who is connected, without telling the server: what it was asked to do it does.
    pub fn abandon(&self) {
        self.orders.send_modify(|order| order.fate = Fate::Abandoned);
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
    let target = order.borrow_and_update().target;
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
