//! The certificate of a web server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its private key.
pub struct Encryption(Arc<ServerConfig>);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// A PEM file cannot be read.
    #[error(
        "{what} {path} cannot be used: {reason}; a PEM file is expected that this user may read"
    )]
    File {
        /// `the certificate` or `the key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate do not belong together, or are of a kind that is not known.
    #[error("the certificate {certificate} cannot be used with the key {key}: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: rustls::Error,
    },
}

impl fmt::Debug for Encryption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Encryption").finish_non_exhaustive()
    }
}

impl Encryption {
    /// Reads a certificate, with those between it and its authority, and its key.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, EncryptionError> {
        let refused = |what, path: &Path, reason: String| EncryptionError::File {
            what,
            path: path.to_path_buf(),
            reason,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| refused("the certificate", certificate, error.to_string()))?;
        if chain.is_empty() {
            let reason = "it holds no certificate".to_owned();
            return Err(refused("the certificate", certificate, reason));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| refused("the key", key, error.to_string()))?;
        let pair = |reason| EncryptionError::Pair {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            reason,
        };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(pair)?;
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn into_config(self) -> Arc<ServerConfig> {
        self.0
    }
}
