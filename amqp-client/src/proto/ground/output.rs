//! Outgoing bytes: small parts are copied into one buffer, large bodies are kept by reference.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroize as _;

/// Bodies up to this many bytes are copied into the buffer; larger ones are sent by a vectored
/// write.
pub(crate) const COPY_LIMIT: usize = 4096;

/// One batch of outgoing bytes.
#[derive(Default)]
pub(crate) struct Output {
    bytes: BytesMut,
    /// The bodies, each with its offset in `bytes`, in order.
    bodies: Vec<(usize, Bytes)>,
    bodies_len: usize,
    /// Whether it holds a secret, which has to be wiped once it is written.
    is_secret: bool,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.bodies_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the buffer to which frames are appended.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// As [`buffer`](Self::buffer), for a frame with a secret. There is room for `len` bytes, so
    /// that the secret is not moved and left behind.
    pub(crate) fn secret_buffer(&mut self, len: usize) -> &mut BytesMut {
        self.bytes.reserve(len);
        self.is_secret = true;
        &mut self.bytes
    }

    /// Inserts a body at the buffer's current end.
    pub(crate) fn splice(&mut self, body: Bytes) {
        self.bodies_len += body.len();
        self.bodies.push((self.bytes.len(), body));
    }

    /// Empties it and keeps its memory, unless a burst made it large.
    pub(crate) fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.bodies.clear();
        self.bodies_len = 0;
        if std::mem::take(&mut self.is_secret) {
            self.wipe();
        }
        if self.bytes.capacity() > KEEP {
            self.bytes = BytesMut::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Frees memory that an idle connection does not need, if it is empty.
    pub(crate) fn release(&mut self) {
        const KEEP: usize = 1 << 10;
        if self.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = BytesMut::new();
        }
        self.bodies.shrink_to(0);
    }

    #[cold]
    fn wipe(&mut self) {
        self.bytes.as_mut().zeroize();
    }

    /// Fills `slices` with the bytes from `skip` on, for a vectored write. Returns how many are
    /// filled.
    pub(crate) fn slices<'a>(&'a self, skip: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filler = Filler { slices, filled: 0, skip };
        let mut from = 0;
        for (at, body) in &self.bodies {
            filler.push(self.bytes.get(from..*at).unwrap_or_default());
            filler.push(body);
            from = *at;
        }
        filler.push(self.bytes.get(from..).unwrap_or_default());
        filler.filled
    }
}

struct Filler<'a, 'b> {
    slices: &'b mut [IoSlice<'a>],
    filled: usize,
    skip: usize,
}

impl<'a> Filler<'a, '_> {
    fn push(&mut self, bytes: &'a [u8]) {
        if self.skip >= bytes.len() {
            self.skip -= bytes.len();
            return;
        }
        if let (Some(slot), Some(rest)) = (self.slices.get_mut(self.filled), bytes.get(self.skip..)) {
            *slot = IoSlice::new(rest);
            self.filled += 1;
            self.skip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    fn written(output: &Output, skip: usize, at_most: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); at_most];
        let filled = output.slices(skip, &mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn bodies_leave_where_they_were_put_in_from_any_position() {
        let mut output = Output::default();
        output.buffer().put_slice(b"ab");
        output.splice(Bytes::from_static(b"BODY"));
        output.splice(Bytes::from_static(b"MORE"));
        output.buffer().put_slice(b"cd");
        let whole = b"abBODYMOREcd";
        assert_eq!(output.len(), whole.len());
        for skip in 0..=whole.len() {
            assert_eq!(written(&output, skip, 8), &whole[skip..], "from {skip}");
        }
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_written_and_stays_where_it_was_put() {
        let mut output = Output::default();
        output.buffer().put_slice(b"ab");
        let buffer = output.secret_buffer(1000);
        let before = buffer.as_ptr();
        buffer.put_slice(&[7; 1000]);
        assert_eq!(before, buffer.as_ptr());
        output.wipe();
        assert_eq!(output.bytes, [0; 1002][..]);
        output.clear();
        assert!(output.is_empty() && !output.is_secret);
    }

    #[test]
    fn too_few_slices_give_the_beginning() {
        let mut output = Output::default();
        output.buffer().put_slice(b"ab");
        output.splice(Bytes::from_static(b"BODY"));
        output.buffer().put_slice(b"cd");
        assert_eq!(written(&output, 0, 2), b"abBODY");
        assert_eq!(written(&output, 3, 1), b"ODY");
    }
}
