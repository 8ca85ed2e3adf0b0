//! Between a host and S3 or Textract: passes HTTP/1.1 on byte by byte, since a signature covers the Host header, and reads
//! only as much of it as it takes to know which step a request is and where messages end.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use super::link::{Wire, halves};
use super::point::{Moment, Step};

const MOST_HEADERS: usize = 64;

/// Runs until one of the two hangs up, or a fault cuts it.
pub(super) async fn relay(mut client: TcpStream, mut server: TcpStream, wire: &Wire, host: usize) -> io::Result<()> {
    loop {
        let Request { method, path, bytes } = request(&mut client).await?;
        let step = Step::of_request(&method, &path);
        let pass = async |moment| match step {
            Some(step) => wire.pass(host, step.at(moment)).await,
            None => Ok(()),
        };
        pass(Moment::Before).await?;
        halves(&mut server, &bytes, async || pass(Moment::MidRequest).await).await?;
        let Answer { status, bytes } = answer(&mut server, method == "HEAD").await?;
        if step == Some(Step::StoreArtifact) && status == 200 {
            wire.artifact_stored(&path);
        }
        pass(Moment::Answered).await?;
        halves(&mut client, &bytes, async || pass(Moment::MidAnswer).await).await?;
    }
}

struct Request {
    method: String,
    path: String,
    bytes: Vec<u8>,
}

struct Answer {
    status: u16,
    bytes: Vec<u8>,
}

async fn request(from: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    loop {
        more(from, &mut bytes).await?;
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(&bytes).map_err(io::Error::other)? else { continue };
        let (method, path) = (head.method.unwrap_or_default().to_owned(), head.path.unwrap_or_default());
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let length = length + body_length(head.headers);
        rest(from, &mut bytes, length).await?;
        return Ok(Request { method, path, bytes });
    }
}

async fn answer(from: &mut TcpStream, is_to_head: bool) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    loop {
        more(from, &mut bytes).await?;
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(&bytes).map_err(io::Error::other)? else { continue };
        let status = head.code.unwrap_or_default();
        let length = if is_to_head { length } else { length + body_length(head.headers) };
        rest(from, &mut bytes, length).await?;
        return Ok(Answer { status, bytes });
    }
}

fn body_length(headers: &[httparse::Header]) -> usize {
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    assert_eq!(value("transfer-encoding"), None, "this proxy knows bodies by their length alone");
    value("content-length").map_or(0, |length| length.parse().unwrap())
}

async fn more(from: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    match from.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn rest(from: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while bytes.len() < length {
        more(from, bytes).await?;
    }
    Ok(())
}
