//! `tollgate-provider`: the stand-in providers as a program, for the demo and for playing by hand.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tollgate_provider::{Dialect, Faults, Pki, Provider};

/// Stand-ins for the providers of language models, over TLS.
#[derive(Parser)]
#[command(version, after_long_help = after_help())]
struct Arguments {
    /// Address to serve TLS on; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: Vec<SocketAddr>,
    /// Directory of the root certificate (root.pem, root.key); made if missing
    #[arg(long, value_name = "DIR", default_value = "provider-pki")]
    pki: PathBuf,
    /// Address of the control interface, plain HTTP
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Serve another host in a dialect, such as openai, azure, bedrock, vertex, ollama or site; may be repeated
    #[arg(long, value_name = "HOST=DIALECT", value_parser = host)]
    host: Vec<(String, Dialect)>,
    /// Milliseconds before each event of a stream
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pace: u64,
    /// Answer requests that carry no API key
    #[arg(long)]
    no_key: bool,
    /// Never compress answers
    #[arg(long)]
    no_compress: bool,
    /// Offer HTTP/1.1 alone
    #[arg(long)]
    http1: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate-provider: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let pki = Pki::load_or_create(&arguments.pki)?;
    let bind = |address: &SocketAddr| {
        TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
    };
    let mut builder = Provider::builder(&pki)
        .pace(Duration::from_millis(arguments.pace))
        .require_key(!arguments.no_key)
        .compress(!arguments.no_compress);
    if arguments.http1 {
        builder = builder.alpn(&["http/1.1"]);
    }
    for (host, dialect) in &arguments.host {
        builder = builder.host(host, *dialect);
    }
    let listeners = arguments.listen.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let mut provider = builder.start(listeners)?;
    for address in provider.addresses() {
        println!("serving https://{address}");
    }
    println!("trust {}", arguments.pki.join("root.pem").display());
    if let Some(address) = &arguments.control {
        println!("control http://{}", provider.control(bind(address)?)?);
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn host(text: &str) -> Result<(String, Dialect), String> {
    let (host, dialect) = text.split_once('=').ok_or("write HOST=DIALECT")?;
    let known = || Dialect::ALL.map(|(name, _)| name).join(", ");
    let found = Dialect::ALL.iter().find(|(name, _)| *name == dialect);
    let (_, dialect) = found.ok_or_else(|| format!("unknown dialect {dialect}; known are {}", known()))?;
    Ok((host.to_owned(), *dialect))
}

fn after_help() -> String {
    format!(
        "Try it:\n  \
         tollgate-provider --control 127.0.0.1:8444 &\n  \
         curl --cacert provider-pki/root.pem --connect-to ::127.0.0.1:8443 https://api.openai.com/v1/chat/completions \\\n    \
           -H 'authorization: Bearer sk-x' -d '{{\"model\":\"gpt-4o-mini\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n  \
         curl http://127.0.0.1:8444/sums\n\n\
         Faults, in the header x-provider-fault (429,once), in the model's name (gpt-4o-mini+stall=3), or for the next \
         requests (curl -d reset 'http://127.0.0.1:8444/faults?requests=2'):\n{}\n\n\
         Every host also has /echo, /mirror, /bytes/N?seed=S&chunk=C, /upgrade, and a WebSocket echo at /websocket.\n\
         Control: GET /truth[?settled] /sums /handshakes /root.pem, DELETE /truth, POST /faults, POST /gate/NAME?allow=N|open.",
        Faults::HELP
    )
}
