//! A TCP proxy between a process and its broker, which can be told to fail as networks do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What happens to what comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It goes on.
    Pass,
    /// It waits, as behind a broken cable: nothing is closed, and what waited goes on later.
    Hold,
    /// It goes on so much later.
    Delay(Duration),
}

/// A proxy with a thread of its own: a test that is busy does not slow it down.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Counts cuts: each closes the connections that are older.
    cuts: watch::Sender<u64>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of loopback for connections to `target`.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(target: String) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        listener.set_nonblocking(true).expect("a socket can be set");
        let address = listener.local_addr().expect("a listener has an address");
        let (mode, cuts) = (watch::Sender::new(Mode::Pass), watch::Sender::new(0));
        let stop = CancellationToken::new();
        let serve = serve(listener, target, mode.subscribe(), cuts.subscribe());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            // What serves connections ends with the runtime.
            runtime.block_on(stopped.run_until_cancelled(serve));
        });
        Self {
            address,
            mode,
            cuts,
            stop,
            thread: Some(thread),
        }
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection there is; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Carries nothing until [`Proxy::pass`], and closes nothing.
    pub fn swallow(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Carries everything late.
    pub fn delay(&self, by: Duration) {
        self.mode.send_replace(Mode::Delay(by));
    }

    /// Carries everything at once.
    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    target: String,
    mode: watch::Receiver<Mode>,
    cuts: watch::Receiver<u64>,
) {
    let listener = TcpListener::from_std(listener).expect("a socket can be used");
    let target: Arc<str> = target.into();
    let tracker = tokio_util::task::TaskTracker::new();
    loop {
        let Ok((near, _)) = listener.accept().await else {
            continue;
        };
        tracker.spawn(connect(
            near,
            Arc::clone(&target),
            mode.clone(),
            cuts.clone(),
        ));
    }
}

async fn connect(
    near: TcpStream,
    target: Arc<str>,
    mut mode: watch::Receiver<Mode>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    // Behind a broken cable nobody answers.
    if !passes(&mut mode).await {
        return;
    }
    let Ok(far) = TcpStream::connect(&*target).await else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = carry(near_in, far_out, mode.clone()) => {}
        () = carry(far_in, near_out, mode) => {}
        _ = cuts.changed() => {}
    }
}

/// Waits until bytes may go on; `false` when nobody will ever say so.
async fn passes(mode: &mut watch::Receiver<Mode>) -> bool {
    mode.wait_for(|mode| *mode != Mode::Hold).await.is_ok()
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let now = *mode.borrow();
        if let Mode::Delay(by) = now {
            tokio::time::sleep(by).await;
        }
        if !passes(&mut mode).await || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A connection through a proxy to something that sends back what it gets.
    async fn echoing() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().to_string());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let listener = listener.into_std().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        });
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, stream)
    }

    async fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"!").await?;
        stream.read_exact(&mut [0]).await.map(drop)
    }

    #[tokio::test]
    async fn what_is_sent_comes_back_and_after_a_cut_nothing_does() {
        let (proxy, mut stream) = echoing().await;
        echo(&mut stream).await.unwrap();
        proxy.cut();
        let ended = stream.read_exact(&mut [0]).await;
        ended.unwrap_err();
    }

    #[tokio::test]
    async fn what_is_swallowed_stays_away_until_it_may_pass() {
        let (proxy, mut stream) = echoing().await;
        echo(&mut stream).await.unwrap();
        proxy.swallow();
        stream.write_all(b"!").await.unwrap();
        let short = Duration::from_millis(200);
        let silent = tokio::time::timeout(short, stream.read_exact(&mut [0])).await;
        silent.unwrap_err();
        proxy.pass();
        stream.read_exact(&mut [0]).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_delayed_takes_its_time() {
        let (proxy, mut stream) = echoing().await;
        echo(&mut stream).await.unwrap();
        proxy.delay(Duration::from_millis(100));
        let began = Instant::now();
        echo(&mut stream).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200));
    }
}
