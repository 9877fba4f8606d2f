//! TensorZero's gateway, embedded in its package for Python: a gateway in Rust on a port of its own, which takes no TLS.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Contender, Kind, Running, Scheme, Traits, rival};
use crate::stage::{HOST, Stage, last_lines};

/// TensorZero.
pub(super) struct Tensorzero;

const PATIENCE: Duration = Duration::from_mins(2);
/// What `tensorzero_gateway.py` prints before the address.
const LISTENING: &str = "listening http://";

impl Contender for Tensorzero {
    fn name(&self) -> &'static str {
        "tensorzero"
    }

    fn traits(&self) -> Traits {
        let note = "its records switched off";
        Traits { client_tls: false, client_h2: false, note, ..Traits::of(Kind::Gateway) }
    }

    fn version(&self) -> Result<String> {
        rival::python_version("tensorzero", "tensorzero")
    }

    fn start(&self, stage: &Stage) -> Result<Running> {
        let script = stage.file("tensorzero_gateway.py", include_str!("tensorzero_gateway.py"))?;
        let config =
            stage.file("tensorzero.toml", &rival::fill(include_str!("tensorzero.toml"), &[("host", &HOST)]))?;
        let (cgroup, program) = stage.contender(self.name(), &rival::program("tensorzero", "bin/python")?)?;
        let running = program
            .arg(script)
            .arg(config)
            .env("OPENAI_API_KEY", "sk-bench")
            .env("SSL_CERT_FILE", stage.root())
            .start()?;
        let printed = |stdout: &[u8], _: &[u8]| base(&String::from_utf8_lossy(stdout)).is_some();
        if running.wait_until(PATIENCE, printed).is_err() {
            bail!("it does not start: {}", last_lines(&running));
        }
        let (address, path_prefix) =
            base(&String::from_utf8_lossy(&running.stdout())).context("it printed an address")?;
        Ok(Running {
            scheme: Scheme::Http,
            path_prefix,
            model: "tensorzero::model_name::gpt-4o-mini".into(),
            ..Running::relay(stage, address, cgroup, running)
        })
    }
}

/// Address and path of the base URL that was printed, once its line is whole.
fn base(printed: &str) -> Option<(SocketAddr, String)> {
    let (_, rest) = printed.split_once(LISTENING)?;
    let (url, _) = rest.split_once('\n')?;
    let (address, path) = url.split_once('/')?;
    Some((address.parse().ok()?, format!("/{}", path.trim_end_matches('/'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_once_its_line_is_whole() {
        assert_eq!(base("listening http://127.0.0.1:45"), None);
        let (address, path) = base("warning\nlistening http://127.0.0.1:45457/openai/v1/\n").expect("whole");
        assert_eq!((address.port(), path.as_str()), (45457, "/openai/v1"));
    }
}
