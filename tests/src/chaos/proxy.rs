//! Between a host and a service: HTTP through, but for what the seed decides for a request: late, refused, cut in the
//! middle, done and never answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::Clock;
use super::bill::Bill;
use super::figures::RequestFaults;
use super::plan::{Storm, Timeline};
use super::wire::{self, Body, Service};

/// What all proxies of a run share.
pub struct Weather {
    clock: Clock,
    storms: Timeline<Storm>,
    pub bill: Bill,
    /// Of S3 and of Textract.
    pub counts: Mutex<[RequestFaults; 2]>,
}

impl Weather {
    pub fn new(clock: Clock, storms: Timeline<Storm>, bill: Bill) -> Self {
        Self { clock, storms, bill, counts: Mutex::default() }
    }
}

/// One fault of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Slow(Duration),
    Broken(bool),
    Throttled(bool),
    /// Done, and half of the answer arrives.
    Half,
    /// Done, and the connection breaks before the answer.
    Lost,
    /// Done, and no answer comes for as long as the faults last.
    Never,
}

/// Listens for one host's requests to one service, until the process ends. Returns its address.
pub async fn start(
    host: usize,
    service: Service,
    upstream: SocketAddr,
    rng: Rng,
    weather: Arc<Weather>,
) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let proxy = Arc::new(Proxy { host, service, upstream, rng: Mutex::new(rng), weather });
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let proxy = Arc::clone(&proxy);
            let service = service_fn(move |request| Arc::clone(&proxy).answer(request));
            // A connection that breaks is what this is for.
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(endpoint)
}

struct Proxy {
    host: usize,
    service: Service,
    upstream: SocketAddr,
    rng: Mutex<Rng>,
    weather: Arc<Weather>,
}

impl Proxy {
    /// An error here breaks the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.collect().await.map_err(io::Error::other)?.to_bytes());
        let fault = self.fault();
        self.count(fault);
        match fault {
            Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Broken(variant)) => return Ok(self.service.broken(variant)),
            Some(Fault::Throttled(variant)) => return Ok(self.service.throttled(variant)),
            _ => {}
        }
        // In a task of its own: what a service was asked it does, though nobody waits any more.
        let asked = Arc::clone(&self);
        let answer = tokio::spawn(async move { asked.forward(request).await }).await.map_err(io::Error::other)??;
        match fault {
            Some(Fault::Half) => Ok(wire::half(answer)),
            Some(Fault::Lost) => Err(io::Error::other("lost, as planned")),
            Some(Fault::Never) => {
                let _ = self.weather.clock.over.clone().wait_for(|over| *over).await;
                Err(io::Error::other("never answered, as planned"))
            }
            _ => Ok(answer.map(wire::whole)),
        }
    }

    async fn forward(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let bill = &self.weather.bill;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match self.service {
            Service::S3 => bill.s3_request(self.host, &method, &path),
            Service::Textract => bill.textract_request(self.host, request.body()),
        }
        let stream = TcpStream::connect(self.upstream).await?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if self.service == Service::S3 {
            bill.s3_answer(&method, &path, head.status);
        }
        Ok(Response::from_parts(head, body))
    }

    fn fault(&self) -> Option<Fault> {
        // Drawn for each request, storm or not: the decisions are a sequence of the seed's alone.
        let mut rng = self.rng.lock().unwrap();
        let (fate, slow, variant) = (rng.f64(), rng.u64(50..2_500), rng.bool());
        drop(rng);
        if self.weather.clock.is_over() {
            return None;
        }
        let at = self.weather.clock.started.elapsed();
        let over_s3 = self.service == Service::S3;
        let storms =
            self.weather.storms.iter().any(|(from, storm)| *from <= at && at < storm.until && storm.over_s3 == over_s3);
        // Per thousand requests. A request that is never answered holds its caller for up to a minute.
        let rates = match (storms, self.service) {
            (false, Service::S3) => [15.0, 6.0, 6.0, 3.0, 3.0, 0.1],
            (false, Service::Textract) => [25.0, 10.0, 20.0, 4.0, 4.0, 0.3],
            (true, Service::S3) => [150.0, 100.0, 100.0, 40.0, 40.0, 0.5],
            (true, Service::Textract) => [150.0, 100.0, 250.0, 50.0, 50.0, 1.0],
        };
        let faults = [
            Fault::Slow(Duration::from_millis(slow)),
            Fault::Broken(variant),
            Fault::Throttled(variant),
            Fault::Half,
            Fault::Lost,
            Fault::Never,
        ];
        let mut edge = 0.0;
        rates.into_iter().zip(faults).find_map(|(rate, fault)| {
            edge += rate / 1000.0;
            (fate < edge).then_some(fault)
        })
    }

    fn count(&self, fault: Option<Fault>) {
        let mut counts = self.weather.counts.lock().unwrap();
        let counts = &mut counts[usize::from(self.service == Service::Textract)];
        counts.requests += 1;
        match fault {
            None => {}
            Some(Fault::Slow(_)) => counts.slow += 1,
            Some(Fault::Broken(_)) => counts.broken += 1,
            Some(Fault::Throttled(_)) => counts.throttled += 1,
            Some(Fault::Half) => counts.half += 1,
            Some(Fault::Lost) => counts.lost += 1,
            Some(Fault::Never) => counts.never += 1,
        }
    }
}
