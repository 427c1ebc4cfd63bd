//! Thousands of frames, encoded beforehand.

use std::io;

use amqp_codec::{
    Arguments, Array, Properties, Table, Value,
    frame::encode_method,
    method::{exchange, queue},
};
use bytes::{BufMut as _, BytesMut};

use crate::raw_client::{FRAME_MAX, RawClient, short};

/// How many bytes are gathered before they are written.
const CHUNK: usize = 1 << 20;

/// Frames of channel 1 for a broker, written a chunk at a time.
pub(super) struct Frames<'a> {
    client: &'a mut RawClient,
    gathered: BytesMut,
}

impl<'a> Frames<'a> {
    pub(super) fn to(client: &'a mut RawClient) -> Self {
        Self { client, gathered: BytesMut::new() }
    }

    pub(super) async fn method<A: Arguments>(&mut self, method: A) -> io::Result<()> {
        encode_method(1, &method, FRAME_MAX, &mut self.gathered).map_err(io::Error::other)?;
        self.pass_on().await
    }

    /// Declares a queue without an answer.
    pub(super) async fn queue(&mut self, name: &str, arguments: Table) -> io::Result<()> {
        self.method(queue::Declare { queue: short(name)?, no_wait: true, arguments, ..Default::default() })
            .await
    }

    /// Declares an exchange without an answer.
    pub(super) async fn exchange(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let (exchange, kind) = (short(name)?, short(kind)?);
        self.method(exchange::Declare { exchange, kind, no_wait: true, ..Default::default() }).await
    }

    /// Binds without an answer.
    pub(super) async fn bind(
        &mut self,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: Table,
    ) -> io::Result<()> {
        let (queue, exchange, routing_key) = (short(queue)?, short(exchange)?, short(key)?);
        let bind =
            queue::Bind { queue, exchange, routing_key, no_wait: true, arguments, ..Default::default() };
        self.method(bind).await
    }

    /// Sends the same bytes repeatedly.
    pub(super) async fn repeat(&mut self, bytes: &[u8], count: usize) -> io::Result<()> {
        for _ in 0..count {
            self.gathered.put_slice(bytes);
            self.pass_on().await?;
        }
        Ok(())
    }

    /// Writes the rest, and asks for a queue, whose answer comes when the broker has done
    /// everything.
    pub(super) async fn done(self, queue: &str) -> io::Result<u32> {
        self.client.write(&self.gathered).await?;
        self.client.ready(queue).await
    }

    async fn pass_on(&mut self) -> io::Result<()> {
        if self.gathered.len() >= CHUNK {
            self.client.write(&self.gathered).await?;
            self.gathered.clear();
        }
        Ok(())
    }
}

/// A table of these entries.
pub(super) fn table<const COUNT: usize>(entries: [(&str, Value); COUNT]) -> io::Result<Table> {
    let mut table = Table::new();
    for (name, value) in entries {
        table.push(name, value).map_err(io::Error::other)?;
    }
    Ok(table)
}

/// A table of entries without values, with names of three octets: each takes five octets.
pub(super) fn voids(count: usize) -> io::Result<Table> {
    let mut encoded = BytesMut::with_capacity(count * 5);
    for number in 0..count {
        encoded.put_u8(3);
        encoded.put_slice(&name(number));
        encoded.put_u8(b'V');
    }
    Table::from_encoded(encoded.freeze()).map_err(io::Error::other)
}

/// A name of three octets, different for each number below 46,656.
fn name(number: usize) -> [u8; 3] {
    const DIGITS: [u8; 36] = *b"0123456789abcdefghijklmnopqrstuvwxyz";
    [number / 1296, number / 36, number].map(|digit| DIGITS[digit % 36])
}

/// Properties with these keys in `CC`.
pub(super) fn copies(keys: impl IntoIterator<Item = String>) -> io::Result<Properties> {
    let mut encoded = BytesMut::new();
    for key in keys {
        encoded.put_u8(b'S');
        encoded.put_u32(key.len() as u32);
        encoded.put_slice(key.as_bytes());
    }
    let keys = Array::from_encoded(encoded.freeze()).map_err(io::Error::other)?;
    headers(table([("CC", Value::Array(keys))])?)
}

/// Properties with these headers.
pub(super) fn headers(headers: Table) -> io::Result<Properties> {
    Ok(Properties { headers: Some(headers), ..Default::default() })
}

/// Properties with one header of this size in octets.
pub(super) fn large_header(length: usize) -> io::Result<Properties> {
    headers(table([("large", Value::from("x".repeat(length).as_str()))])?)
}
