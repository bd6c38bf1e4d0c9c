//! A TCP proxy that can cut its connections, or swallow what they carry.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Swallow,
    Cut,
}

/// Passes bytes on; faults hit the connections that exist then, later ones pass again.
pub(crate) struct Proxy {
    address: String,
    current: Arc<watch::Sender<watch::Sender<Mode>>>,
    stop: CancellationToken,
}

impl Proxy {
    pub(crate) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let current = Arc::new(watch::Sender::new(watch::Sender::new(Mode::Pass)));
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let (modes, stopped) = (Arc::clone(&current), stop.clone());
        let tasks = tracker.clone();
        tracker.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(&target).await.unwrap();
                let mode = modes.borrow().subscribe();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                for (from, to) in [(near_in, far_out), (far_in, near_out)] {
                    let carry = carry(from, to, mode.clone());
                    tasks.spawn(stopped.clone().run_until_cancelled_owned(carry));
                }
            }
        }));
        Self {
            address,
            current,
            stop,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Closes every connection there is.
    pub(crate) fn cut(&self) {
        self.hit(Mode::Cut);
    }

    /// From now on the connections there are stay open and carry nothing.
    pub(crate) fn swallow(&self) {
        self.hit(Mode::Swallow);
    }

    fn hit(&self, mode: Mode) {
        let now = self.current.send_replace(watch::Sender::new(Mode::Pass));
        now.send_replace(mode);
        // Its receivers go by the last value they saw when the sender is gone.
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut cut = mode.clone();
    loop {
        let is_cut = async {
            if cut.wait_for(|mode| *mode == Mode::Cut).await.is_err() {
                // This connection was hit by something else, and that is final.
                std::future::pending::<()>().await;
            }
        };
        let read = tokio::select! {
            () = is_cut => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        let now = *mode.borrow_and_update();
        if now == Mode::Pass && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
