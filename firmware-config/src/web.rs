//! The web server of a run.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The web server of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Address and port at which it listens, such as `127.0.0.1:9464`;
    /// `0.0.0.0:9464` to be reached from other computers.
    #[schemars(length(min = 1))]
    pub listen: String,

    /// PEM file of the certificate, with those between it and its authority: what is
    /// served is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,

    /// PEM file of the certificate's private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,

    /// Lets other computers reach it although nothing is encrypted, passwords neither.
    #[serde(default)]
    pub insecure: bool,
}

impl Web {
    /// The address; `None` where it is none.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }

    /// Certificate and key; `None` where nothing is encrypted.
    pub fn encryption(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.certificate.as_ref().zip(self.key.as_ref())
    }
}
