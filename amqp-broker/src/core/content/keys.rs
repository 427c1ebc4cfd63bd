//! The routing keys of a message: the one it is published with, and those of its headers `CC` and
//! `BCC`.

use amqp_codec::ShortString;

/// The routing keys of a message, without duplicates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) first: &'a [u8],
    pub(crate) more: &'a [ShortString],
}

impl<'a> Keys<'a> {
    pub(crate) fn get(&self, index: usize) -> Option<&'a [u8]> {
        match index.checked_sub(1) {
            None => Some(self.first),
            Some(index) => self.more.get(index).map(ShortString::as_bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        1 + self.more.len()
    }
}
