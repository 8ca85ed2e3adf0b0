//! TLS streams for the driver, with channel binding: the login proves that both ends speak of the same certificate, so that
//! nobody in the middle can pass it on (RFC 5929, `tls-server-end-point`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::end_point::end_point;

/// Makes a connector for each host.
#[derive(Clone)]
pub struct MakeTls {
    config: Arc<ClientConfig>,
    /// `channel_binding=require`.
    binding: bool,
}

impl MakeTls {
    pub(super) fn new(config: ClientConfig, binding: bool) -> Self {
        Self { config: Arc::new(config), binding }
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }
}

impl<S> MakeTlsConnect<S> for MakeTls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    /// Asked for without TLS, too, and then with a name that may be none.
    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(Connect { host: host.to_owned(), connector, binding: self.binding })
    }
}

/// For one host.
pub struct Connect {
    host: String,
    connector: TlsConnector,
    binding: bool,
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name =
                ServerName::try_from(self.host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let stream = self.connector.connect(name, stream).await?;
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let end_point =
                certificates.first().map_or(Err("nothing".to_owned()), |certificate| end_point(certificate));
            match end_point {
                // Said here, where it is known why, and before anything is sent.
                Err(signed) if self.binding => Err(io::Error::other(NoBinding { signed })),
                end_point => Ok(Stream { stream, end_point: end_point.ok() }),
            }
        })
    }
}

/// Channel binding is required, and this certificate makes it impossible.
#[derive(Debug, thiserror::Error)]
#[error(
    "channel_binding=require, but the server's certificate is signed with {signed}, for which none is defined; give the server \
     one that is signed with RSA or ECDSA, or use sslmode=verify-full and channel_binding=prefer"
)]
pub(super) struct NoBinding {
    signed: String,
}

/// An encrypted connection.
pub struct Stream<S> {
    stream: tokio_rustls::client::TlsStream<S>,
    end_point: Option<Vec<u8>>,
}

impl<S> TlsStream for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
