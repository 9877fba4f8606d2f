use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Leaf, Value};

/// Metrics, health and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where they are served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawAdmin {
    /// Where `/metrics`, `/healthz`, `/readyz` and `/status` are served, or `off`. There is no
    /// password: who can connect can read which programs call which models.
    listen: Leaf<Listen>,
}

/// An address, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen(Option<SocketAddr>);

impl Value for Listen {
    const NAME: &str = "an address with a port, or `off`";
    const EXAMPLE: &str = "127.0.0.1:9464";

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { SocketAddr::read(text).map(|address| Self(Some(address))) }
    }

    fn write(&self) -> String {
        self.0.map_or_else(|| "off".into(), |address| address.write())
    }
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: Leaf(Listen(Some((Ipv4Addr::LOCALHOST, 9464).into()))) }
    }
}

impl From<RawAdmin> for Admin {
    fn from(raw: RawAdmin) -> Self {
        Self { listen: raw.listen.0.0 }
    }
}
