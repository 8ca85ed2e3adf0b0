//! Between a host and Postgres: follows protocol 3.0 as far as it takes to know which statement each round trip runs.
//! Named and unnamed statements, pipelined or not; no TLS, no COPY.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use super::link::{Wire, halves};
use super::point::{Moment, Step};

/// Steps whose answer has not come yet, in the order of their requests; none for what is no step.
type Pending = Mutex<VecDeque<Option<Step>>>;

/// Runs until one of the two hangs up, or a fault cuts it.
pub(super) async fn relay(client: TcpStream, server: TcpStream, wire: &Wire, host: usize) -> io::Result<()> {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let pending = Pending::default();
    tokio::select! {
        ended = requests(from_client, to_server, &pending, wire, host) => ended,
        ended = answers(from_server, to_client, &pending, wire, host) => ended,
    }
}

async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    pending: &Pending,
    wire: &Wire,
    host: usize,
) -> io::Result<()> {
    // The first message has a length, and no type before it.
    halves(&mut server, &frame(&mut client, Vec::new()).await?, async || Ok(())).await?;
    let mut statements = HashMap::new();
    let (mut request, mut bound, mut step) = (Vec::new(), None, None);
    loop {
        let (kind, message) = message(&mut client).await?;
        let mut words = message[5..].split(|byte| *byte == 0);
        let mut word = || words.next().unwrap_or_default();
        match kind {
            b'P' => {
                let (name, sql) = (word().to_vec(), String::from_utf8_lossy(word()));
                statements.insert(name, Step::of_sql(&sql));
            }
            b'B' => {
                let (_portal, statement) = (word(), word());
                bound = statements.get(statement).copied().flatten();
            }
            b'E' => step = step.or(bound),
            _ => {}
        }
        request.extend(message);
        match kind {
            // Answered after the Sync that follows.
            b'P' | b'B' | b'D' | b'E' | b'C' => continue,
            b'S' | b'Q' => {}
            // A password, or the end.
            _ => {
                halves(&mut server, &std::mem::take(&mut request), async || Ok(())).await?;
                continue;
            }
        }
        let (request, step) = (std::mem::take(&mut request), step.take());
        let pass = async |moment| match step {
            Some(step) => wire.pass(host, step.at(moment)).await,
            None => Ok(()),
        };
        pass(Moment::Before).await?;
        pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(step);
        halves(&mut server, &request, async || pass(Moment::MidRequest).await).await?;
    }
}

async fn answers(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    pending: &Pending,
    wire: &Wire,
    host: usize,
) -> io::Result<()> {
    let (mut answer, mut has_rows) = (Vec::new(), false);
    loop {
        let (kind, message) = message(&mut server).await?;
        answer.extend(message);
        has_rows |= kind == b'D';
        let step = {
            let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
            match kind {
                // Committed. (The first one ends the startup and answers nothing.)
                b'Z' => pending.pop_front().flatten(),
                _ if !pending.is_empty() => continue,
                // A notification, or a part of the startup.
                _ => None,
            }
        };
        // A look that found nothing has done nothing.
        let step = step.filter(|_| has_rows);
        has_rows = false;
        let pass = async |moment| match step {
            Some(step) => wire.pass(host, step.at(moment)).await,
            None => Ok(()),
        };
        pass(Moment::Answered).await?;
        halves(&mut client, &std::mem::take(&mut answer), async || pass(Moment::MidAnswer).await).await?;
    }
}

async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    Ok((kind, frame(from, vec![kind]).await?))
}

/// A length that counts itself, and what it announces, behind `message`.
async fn frame(from: &mut (impl AsyncRead + Unpin), mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    message.extend(length.to_be_bytes());
    from.take(u64::from(length) - 4).read_to_end(&mut message).await?;
    Ok(message)
}
