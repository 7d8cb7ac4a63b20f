//! The daemon as a process: puts the parts together, says when it is ready, and ends in an orderly way.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claviger_protocol::clock::SystemClock;
use claviger_protocol::ipc::Mode;
use ring::rand::SystemRandom;
use tokio::task::LocalSet;

use crate::egress::Limits;
use crate::engine::{Engine, Setup, StartError};
use crate::ipc::{self, Caps};
use crate::logging::{self, Format};
use crate::machine::Machine;
use crate::platform::{self, Alarm, Listener, LockError, Notifier, Paths, Shutdown};

/// Exit codes, stable.
pub mod exit {
    /// Something else went wrong; the log says what.
    pub const FAILED: u8 = 1;
    /// Another daemon already serves this user, or this machine.
    pub const ALREADY_RUNNING: u8 = 3;
    /// The daemon's folders cannot be used.
    pub const FOLDERS: u8 = 4;
    /// The local socket cannot be made.
    pub const SOCKET: u8 = 5;
}

/// How long exchanges under way may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(5);

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For whom.
    pub mode: Mode,
    /// How the log looks.
    pub format: Format,
}

/// Runs the daemon until it is told to end, under the system's service manager where that has started it.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    let options = OPTIONS.get_or_init(|| options);
    platform::supervised(options.mode, || OPTIONS.get().map_or(ExitCode::FAILURE, |options| begin(*options)))
}

fn begin(options: Options) -> ExitCode {
    let paths = match platform::paths(options.mode) {
        Ok(paths) => paths,
        Err(e) => {
            logging::start(options.format, None, platform::event_log(options.mode));
            tracing::error!(error = %e, "the daemon cannot start");
            return ExitCode::from(exit::FOLDERS);
        }
    };
    logging::start(options.format, paths.log.as_deref(), platform::event_log(options.mode));
    platform::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => {
            let code = LocalSet::new().block_on(&runtime, serve(paths));
            // A thread may still ask for the address of a server: a resolver that does not answer keeps nobody here.
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            tracing::error!(error = %e, "the daemon cannot start");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// What to do about a daemon that does not start, by its exit code.
fn advice(code: u8) -> &'static str {
    match code {
        exit::ALREADY_RUNNING => "use that one (`claviger daemon status`), or end that process first",
        exit::FOLDERS => {
            "give the folders to the user that the daemon runs as; `claviger doctor` names what stands in the way"
        }
        exit::SOCKET => "clear the socket's folder; `claviger doctor` names what stands in the way",
        _ => "run `claviger doctor`",
    }
}

async fn serve(paths: Paths) -> ExitCode {
    let fail = |code: u8, error: &dyn std::error::Error| {
        let next = advice(code);
        match error.source() {
            Some(cause) => tracing::error!(error = %error, %cause, next, "the daemon cannot start"),
            None => tracing::error!(error = %error, next, "the daemon cannot start"),
        }
        ExitCode::from(code)
    };
    let setup = Setup {
        paths: paths.clone(),
        machine: Machine::here(),
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRandom::new()),
        limits: Limits::default(),
        do_not_track: platform::do_not_track(),
    };
    // The lock is held until the process ends.
    let (engine, _lock) = match Engine::start(setup) {
        Ok(started) => started,
        Err(StartError::Lock(e @ LockError::Held(_))) => return fail(exit::ALREADY_RUNNING, &e),
        Err(e) => return fail(exit::FOLDERS, &e),
    };
    let listener = match Listener::bind(&paths) {
        Ok(listener) => listener,
        Err(e) => return fail(exit::SOCKET, &e),
    };
    let (mut shutdown, alarm) = match (Shutdown::new(), Alarm::new()) {
        (Ok(shutdown), Ok(alarm)) => (shutdown, alarm),
        (Err(e), _) | (_, Err(e)) => return fail(exit::FAILED, &e),
    };
    engine.import_policy_bundle().await;
    let notifier = Notifier::new();
    let server = tokio::task::spawn_local(ipc::serve(engine.clone(), listener, Caps::default()));
    let background = tokio::task::spawn_local(Rc::clone(&engine).background(alarm));
    notifier.tell("READY=1");
    // Not where its socket is: a log that is passed on to somebody who helps should not say whose home that is.
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    shutdown.wait().await;
    notifier.tell("STOPPING=1");
    tracing::info!("ending");
    if tokio::time::timeout(DRAIN, engine.drain()).await.is_err() {
        tracing::warn!("an exchange was still under way; it is settled at the next start");
    }
    // One turn for the replies that the drained exchanges made.
    tokio::task::yield_now().await;
    server.abort();
    background.abort();
    let _ = server.await;
    engine.finish();
    ExitCode::SUCCESS
}
