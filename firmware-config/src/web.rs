//! The web server of a run.

use std::net::SocketAddr;

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
}

impl Web {
    /// The address; `None` where it is none.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}
