//! Bodies of many messages that are encoded one after the other.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

/// A body over this size, in bytes, gets its own allocation.
const LARGE: usize = 4096;
/// The size of an allocation that small bodies share.
const BLOCK: usize = 16 * 1024;

/// Memory for JSON text that small bodies share, instead of an allocation each. It is freed with
/// the last of them.
#[derive(Default)]
pub(crate) struct Bodies {
    /// A plain vector, which is fastest because serde_json writes a few bytes at a time.
    text: Vec<u8>,
    block: BytesMut,
}

impl Bodies {
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> serde_json::Result<Bytes> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, value)?;
        if self.text.len() > LARGE {
            return Ok(std::mem::take(&mut self.text).into());
        }
        if self.block.capacity() < self.text.len() {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(&self.text);
        Ok(self.block.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_is_its_own_whatever_comes_after_it() {
        let mut bodies = Bodies::default();
        let texts: Vec<_> =
            (0..200).map(|number| number.to_string().repeat(1 + number * number % 2000)).collect();
        let written: Vec<_> = texts.iter().map(|text| bodies.json(text).unwrap()).collect();
        assert!(written.iter().any(|body| body.len() > LARGE));
        for (text, body) in texts.iter().zip(written) {
            assert_eq!(serde_json::from_slice::<String>(&body).unwrap(), *text);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let mut bodies = Bodies::default();
        let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(bodies.json(&unwritable).is_err());
        assert_eq!(bodies.json(&1).unwrap(), "1");
    }
}
