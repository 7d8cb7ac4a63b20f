//! `claviger-server serve`: answers machines and administrators until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_protocol::clock::SystemClock;
use ring::rand::SystemRandom;
use tokio::net::TcpListener;

use super::common::DataArg;
use super::{Failure, FailureKind, Output};
use crate::admin_keys::AdminKeys;
use crate::http::{App, AppParts, IssuerCell, Limits, Listener, router, telemetry_routes};
use crate::keys::PublicFiles;
use crate::lock::{LockError, ServeLock};
use crate::metrics::Metrics;
use crate::security_log::SecurityLog;
use crate::telemetry::{Telemetry, TelemetryParts};
use crate::{keys, platform, storage};

/// Serve activations over HTTP on this machine, or over HTTPS.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8717")]
    listen: SocketAddr,
    /// Write the address that was taken to this file.
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
    /// The certificate chain for HTTPS, in PEM; read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve Prometheus metrics on this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Connections at once, a quarter of them at most from one address. Where there is no place, the oldest idle
    /// connection is cut.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_connections: usize,
    /// Allow the root key inside the data folder: for trying things out.
    #[arg(long)]
    demo: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    // Two threads answer; SQLite has its own. More would only take turns on the one writer.
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|e| environment("the runtime did not start", &e))?
        .block_on(serve(args, output))
}

async fn serve(args: &Args, output: Output) -> Result<(), Failure> {
    // Memory that was freed may still hold addresses that the security log has cut since.
    platform::forbid_dumps();
    let data = args.data.dir()?;
    if !args.demo && keys::refuse_root_key_inside(&data)? {
        output.warn(
            "warning: this server's root keys lie in its own data folder: it is a demonstration (init --demo). Never \
             ship anything that it signed.",
        );
    }
    PublicFiles::load(&data)?;
    let lock = ServeLock::take(&data).map_err(|e| locked(&e))?;
    // Signals first: whoever reads the address may stop us at once.
    let stop = platform::stop_signal().map_err(|e| environment("signals cannot be caught", &e))?;
    let clock = Arc::new(SystemClock);
    let environment_error = |e: &dyn std::error::Error| Failure::from_error(FailureKind::Environment, e);
    let security_log =
        SecurityLog::open(&data, Arc::<SystemClock>::clone(&clock)).map_err(|e| environment_error(&e))?;
    let metrics = Arc::new(Metrics::new(security_log.dropped()));
    let store = storage::open(&data).await?;
    let admin_keys = Arc::new(AdminKeys::load(&data).map_err(|e| environment_error(&e))?);
    let (app, writer) = App::start(AppParts {
        issuer: IssuerCell::load(&data)?,
        store: Arc::clone(&store),
        clock: Arc::<SystemClock>::clone(&clock),
        rng: Arc::new(SystemRandom::new()),
        metrics: Arc::clone(&metrics),
        security_log: security_log.clone(),
        admin_keys: Arc::clone(&admin_keys),
    })
    .map_err(|_| Failure::new(FailureKind::Environment, "the system's random number generator failed"))?;
    let (telemetry, counting) = Telemetry::start(TelemetryParts {
        data: data.clone(),
        store: Arc::clone(&store),
        clock,
        rng: Arc::new(SystemRandom::new()),
        issuer: Arc::new(IssuerCell::load(&data)?),
        metrics: Arc::clone(&metrics),
        admin_keys,
    })
    .await
    .map_err(|e| environment_error(&e))?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(crate::tls::acceptor(cert, key).map_err(|e| environment_error(&e))?),
        _ => None,
    };
    if tls.is_none() && !args.listen.ip().is_loopback() {
        output.warn(
            "warning: this address is not loopback, and nothing is encrypted: daemons refuse http:// there. \
                     Give --tls-cert and --tls-key, or put a TLS proxy in front.",
        );
    }
    let socket = bind(args.listen, "--listen").await?;
    let address = socket.local_addr().map_err(|e| environment("the socket has no address", &e))?;
    let metrics_address = serve_metrics(args, metrics).await?;
    if let Some(file) = &args.address_file {
        keys::durable::write(file, format!("{address}\n").as_bytes(), 0o644)
            .map_err(|e| environment(&format!("could not write {}", file.display()), &e))?;
    }
    let limits = Limits { connections: args.max_connections.max(1), ..Limits::default() };
    let scheme = if tls.is_some() { "https" } else { "http" };
    output.say(format!("Listening on {scheme}://{address}."));
    if let Some(metrics) = metrics_address {
        output.say(format!("Metrics on http://{metrics}/metrics."));
    }
    output.result(&serde_json::json!({
        "listening": address, "url": format!("{scheme}://{address}"), "metrics": metrics_address,
    }));
    tracing::info!(%address, "serving");
    let house = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.keep_house().await }
    });
    let statistics = tokio::spawn({
        let telemetry = Arc::clone(&telemetry);
        async move { telemetry.keep_house().await }
    });
    let routes = router(Arc::clone(&app)).merge(telemetry_routes(Arc::clone(&telemetry)));
    Listener { socket, tls, limits }.serve(routes, stop).await;
    for task in [house, statistics] {
        task.abort();
        let _ = task.await;
    }
    drop((app, telemetry));
    // What was decided is committed before the process ends.
    let _ = tokio::time::timeout(limits.drain, writer).await;
    let _ = tokio::time::timeout(limits.drain, counting).await;
    store.close().await?;
    security_log.close();
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

fn locked(error: &LockError) -> Failure {
    match error {
        LockError::Taken { .. } => Failure::from_error(FailureKind::Conflict, error)
            .hint("end that one first, or give this one a data folder of its own with --data"),
        LockError::Io { .. } => Failure::from_error(FailureKind::Environment, error),
    }
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| {
        environment(&format!("could not listen on {address}"), &e)
            .hint(format!("another server may be using it: give another one with {flag}, or port 0 for any"))
    })
}

async fn serve_metrics(args: &Args, metrics: Arc<Metrics>) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = args.metrics_listen else { return Ok(None) };
    let socket = bind(address, "--metrics-listen").await?;
    let address = socket.local_addr().map_err(|e| environment("the socket has no address", &e))?;
    tokio::spawn(crate::metrics::serve(socket, metrics));
    Ok(Some(address))
}

fn environment(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Environment, format!("{what}: {error}"))
}
