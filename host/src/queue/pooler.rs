//! Finding out whether a pooler (PgBouncer, Supavisor, RDS Proxy) stands between us and the server. A pooler gives each
//! client a key of its own for cancelling, where a server's key begins with the number of its process.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::{Connection, QueueError};

/// A request to begin TLS: length, code.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// A request to cancel: length, code; then process and secret.
const CANCEL_REQUEST: [u8; 8] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];

/// Whether a pooler answers this connection.
pub async fn is_pooled(client: &impl Connection) -> Result<bool, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at its session", &error);
    let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await.map_err(problem)?;
    let serving: i32 = row.try_get(0).map_err(problem)?;
    Ok(process_in_key(client).await.is_some_and(|promised| promised != serving))
}

/// The driver shows the key only in a request to cancel. So one is written, to nobody but ourselves.
async fn process_in_key(client: &impl Connection) -> Option<i32> {
    let (driver, mut server) = tokio::io::duplex(64);
    let token = client.cancel_token();
    let read = async {
        let mut head = [0; 8];
        server.read_exact(&mut head).await.ok()?;
        if head == TLS_REQUEST {
            server.write_all(b"S").await.ok()?;
            server.read_exact(&mut head).await.ok()?;
        }
        let process = server.read_i32().await.ok()?;
        (head == CANCEL_REQUEST).then_some(process)
    };
    let (_, process) = tokio::join!(token.cancel_query_raw(driver, NoCipher), read);
    process
}

/// TLS without the encryption: nothing leaves this process.
struct NoCipher;

impl TlsConnect<DuplexStream> for NoCipher {
    type Stream = Plain;
    type Error = io::Error;
    type Future = Ready<io::Result<Plain>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Plain(stream)))
    }
}

struct Plain(DuplexStream);

impl TlsStream for Plain {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
