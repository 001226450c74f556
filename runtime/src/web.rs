//! A web server on a thread of its own.

mod encryption;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::oneshot;

pub use encryption::{Encryption, EncryptionError};

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    is_encrypted: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen at {address}: {error}; choose another port (`web.listen`, --listen), or end the program that uses it"
)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl Server {
    /// Serves at an address, encrypted where there is a certificate; port 0: any that is
    /// free.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn start(
        address: SocketAddr,
        encryption: Option<Encryption>,
        app: Router,
    ) -> Result<Self, ListenError> {
        let failed = |error| ListenError { address, error };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let is_encrypted = encryption.is_some();
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let app = app.into_make_service();
            let served = async {
                match encryption {
                    Some(encryption) => {
                        let config = RustlsConfig::from_config(encryption.into_config());
                        axum_server::from_tcp_rustls(listener, config)?
                            .serve(app)
                            .await
                    }
                    None => axum_server::from_tcp(listener)?.serve(app).await,
                }
            };
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::error!("the web server ended: {error}");
                },
                _ = stopped => {}
            }
        };
        let thread = thread::Builder::new()
            .name("millsight-web".into())
            .spawn(move || runtime.block_on(serve))
            .map_err(failed)?;
        Ok(Self {
            address: bound,
            is_encrypted,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a browser on this computer asks for it by.
    pub fn url(&self) -> String {
        let scheme = match self.is_encrypted {
            true => "https",
            false => "http",
        };
        format!("{scheme}://{}/", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    use super::*;
    use crate::ledger::Ledger;
    use crate::metrics::{self, Metrics};

    fn start(address: SocketAddr) -> Result<Server, ListenError> {
        let ledger = Ledger::new(&["no_defect".into()]);
        ledger.lines(42);
        Server::start(
            address,
            None,
            metrics::routes(Metrics::new(Arc::new(ledger))),
        )
    }

    #[test]
    fn metrics_are_served_until_the_end() {
        let server = start(([127, 0, 0, 1], 0).into()).unwrap();
        let address = server.address();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.contains("millsight_lines_total 42"), "{answer}");

        let taken = start(address).err().unwrap().to_string();
        for part in [&address.to_string(), "web.listen"] {
            assert!(taken.contains(part), "{taken}");
        }
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }
}
