//! The user's wish that a command end now, with what it has found out by then.
//!
//! It is heard on a thread of its own: the runtimes of runs are too busy to notice, and their
//! clocks stand still.

use std::io;
use std::process;
use std::thread;

use tokio_util::sync::CancellationToken;

/// How a process ends that was told to by Ctrl-C, as shells have it: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

/// Whether the user wants the command to end. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(CancellationToken);

impl Interrupt {
    /// One that only [`Self::ask`] brings about.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears Ctrl-C, and SIGTERM where there is one, from now on; `heard` is called for the first.
    /// The second ends the process on the spot.
    ///
    /// # Errors
    /// If the system grants no thread or no signals.
    pub fn listen(heard: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let interrupt = Self::new();
        let asked = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        // From here on the signal no longer ends the process by itself.
        let mut signals = runtime.block_on(async { Signals::new() })?;
        let listen = move || {
            runtime.block_on(async {
                signals.next().await;
                asked.ask();
                heard();
                signals.next().await;
            });
            process::exit(i32::from(INTERRUPTED));
        };
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(listen)?;
        Ok(interrupt)
    }

    /// Wants the end.
    pub fn ask(&self) {
        self.0.cancel();
    }

    /// Whether the end is wanted.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is wanted.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
