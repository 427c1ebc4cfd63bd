//! The end of a connection: what is awaited, and what a client still sends meanwhile.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::session::farewell::{CLOSE_OK, Farewell};

/// How long a client may take to answer a close from the broker.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a client that has closed its connection may take to stop writing and to close its
/// stream.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many octets of what it still writes are read at once.
const DISCARDED_AT_ONCE: usize = 8 << 10;

/// Shuts the stream down in an orderly way, so that no reset discards what was written.
pub(super) async fn take_leave<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let ended = async {
        let _ = stream.shutdown().await;
        read_out(stream).await;
    };
    let _ = timeout(CLOSE_TIMEOUT, ended).await;
}

/// Processes what a client still sends after its close, until it closes its stream too.
pub(super) async fn hear_out<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    unseen: &[u8],
) -> io::Result<()> {
    let mut farewell = Farewell::default();
    farewell.hear(unseen);
    let mut rest = vec![0; DISCARDED_AT_ONCE];
    loop {
        stream.write_all(&CLOSE_OK.repeat(farewell.take_closes())).await?;
        if farewell.has_ended() {
            return Ok(());
        }
        let count = stream.read(&mut rest).await?;
        if count == 0 {
            return Ok(());
        }
        farewell.hear(rest.get(..count).unwrap_or_default());
    }
}

/// Reads and discards until the other end closes its stream too.
async fn read_out<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = vec![0; DISCARDED_AT_ONCE];
    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
}

/// Waits until the broker ends.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and the broker with it.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Waits until a deadline; without one, for ever.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
