//! Streams that can tell whether the other end has closed them while earlier data is unread.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncWrite, DuplexStream, Interest, Ready},
    net::TcpStream,
};

/// A stream that can tell whether the other end has closed it.
pub(crate) trait HangUp {
    /// Tells whether the other end has closed the stream, or at least its sending side. No waker is
    /// registered for that event; `cx` is the writer's and may be registered for writing.
    fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool;
}

impl HangUp for TcpStream {
    /// Sees a FIN or RST that has arrived, even while data before it is unread.
    fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool {
        match pin!(self.ready(Interest::READABLE)).poll(cx) {
            Poll::Ready(ready) => ready.map_or(true, Ready::is_read_closed),
            Poll::Pending => false,
        }
    }
}

#[cfg(feature = "tls")]
impl HangUp for tokio_rustls::server::TlsStream<TcpStream> {
    /// Asks the TCP connection underneath, because a `close_notify` alone is seen only when all
    /// data before it is read.
    fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool {
        self.get_mut().0.has_hung_up(cx)
    }
}

impl HangUp for DuplexStream {
    /// Sees that the other end was dropped. If it was only shut down, it may still be reading, and
    /// its end is seen when all data before it is read.
    fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool {
        // An empty write writes nothing, but fails if the other end was dropped.
        matches!(Pin::new(self).poll_write(cx, &[]), Poll::Ready(Err(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;

    async fn has_hung_up(stream: &mut impl HangUp) -> bool {
        poll_fn(|cx| Poll::Ready(stream.has_hung_up(cx))).await
    }

    /// Waits until the system reports the end.
    async fn hangs_up(stream: &mut TcpStream) {
        while !has_hung_up(stream).await {
            tokio::task::yield_now().await;
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap().connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn the_end_of_a_tcp_stream_is_seen_before_what_is_unread() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"unread").await.unwrap();
        server.readable().await.unwrap();
        assert!(!has_hung_up(&mut server).await);
        client.shutdown().await.unwrap();
        hangs_up(&mut server).await;
        // Unread data makes this a reset.
        drop(server);
        hangs_up(&mut client).await;
    }

    #[tokio::test]
    async fn the_end_of_a_stream_in_memory_is_seen_before_what_is_unread() {
        let (mut client, mut server) = tokio::io::duplex(10);
        client.write_all(b"unread").await.unwrap();
        server.write_all(b"full there").await.unwrap();
        assert!(!has_hung_up(&mut server).await);
        drop(client);
        assert!(has_hung_up(&mut server).await);
    }
}
