//! A message: it is kept byte for byte as it was published, and stored once for all queues that
//! hold it.

use std::sync::Arc;

use bytes::Bytes;

use crate::sync::atomic::{AtomicU32, Ordering};

/// The memory that a message takes besides its octets: its entry in a queue, and the allocator's
/// overhead. An estimate.
pub(crate) const MESSAGE_OVERHEAD: u64 = 200;

/// The memory of an entry in a queue, when the message's octets are counted separately. An
/// estimate.
const PLACE: u64 = 128;

/// Bodies up to this many bytes are stored with the rest of the message and copied into the output;
/// larger ones are shared, and written without being copied.
pub(crate) const SMALL_BODY: usize = 4096;

/// The parts of a message, as they are encoded into frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// Exchange and routing key, each with its length octet: the end of `basic.deliver`, `get-ok`
    /// and `return`.
    pub(crate) route: &'a [u8],
    /// The content header frame's payload.
    pub(crate) header: &'a [u8],
    /// The body, when it is small.
    pub(crate) small: &'a [u8],
    /// The body, when it is large.
    pub(crate) large: &'a [Bytes],
    /// The keys of the `BCC` header, which has been taken out, each with its length octet. No
    /// receiver sees them, but a dead letter is still routed by them.
    pub(crate) blind: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The exchange's name and the routing key.
    pub(crate) fn names(&self) -> (&'a [u8], &'a [u8]) {
        let Some((exchange, rest)) = split_short(self.route) else { return (&[], &[]) };
        (exchange, split_short(rest).map_or(&[][..], |(key, _)| key))
    }

    /// Flags and property list.
    pub(crate) fn properties(&self) -> &'a [u8] {
        self.header.get(amqp_codec::content::CONTENT_HEADER_LEN..).unwrap_or_default()
    }

    /// The keys of the `BCC` header, which has been taken out.
    pub(crate) fn blind_keys(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.blind;
        std::iter::from_fn(move || {
            let (key, after) = split_short(rest)?;
            rest = after;
            Some(key)
        })
    }

    /// The mark of a dead letter, if it has one.
    pub(crate) fn mark(&self) -> Option<LetterMark> {
        let mut rest = self.blind;
        while let Some((_, after)) = split_short(rest) {
            rest = after;
        }
        match rest {
            [LetterMark::ALL_KEYS] => Some(LetterMark::AllKeys),
            [LetterMark::ONE_KEY] => Some(LetterMark::OneKey),
            _ => None,
        }
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.small.len() + self.large.iter().map(Bytes::len).sum::<usize>()
    }

    /// How many bytes the whole message has.
    pub(crate) fn weight(&self) -> u64 {
        (self.route.len() + self.header.len() + self.blind.len() + self.body_len()) as u64
    }
}

/// Tells a dead letter, whose `x-death` the broker has written, from a message that a client
/// published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetterMark {
    /// It was routed by all its keys.
    AllKeys,
    /// It was routed by the key of its queue; its `CC` counts no more.
    OneKey,
}

impl LetterMark {
    // Among the blind keys a mark is the length of a key that does not follow.
    const ALL_KEYS: u8 = 0xff;
    const ONE_KEY: u8 = 0xfe;
}

fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// A message that is being published and still lies in the publisher's own buffer.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Exchange and key, content header, small body and blind keys, in this order.
    bytes: Vec<u8>,
    header_at: usize,
    body_at: usize,
    large: Vec<Bytes>,
    /// How many of the bytes are blind keys.
    blind: u16,
}

impl Draft {
    /// Starts a new message; the memory is kept.
    pub(crate) fn start(&mut self, exchange: &[u8], routing_key: &[u8]) {
        self.bytes.clear();
        self.large.clear();
        self.blind = 0;
        for name in [exchange, routing_key] {
            self.bytes.push(name.len() as u8);
            self.bytes.extend_from_slice(name);
        }
        self.header_at = self.bytes.len();
        self.body_at = self.header_at;
    }

    /// How many bytes of memory it takes.
    pub(crate) fn capacity(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// Frees memory beyond what most messages need.
    pub(crate) fn give_back(&mut self) {
        if self.bytes.capacity() > 2 * SMALL_BODY {
            self.bytes = Vec::new();
        }
    }

    /// Appends the content header frame's payload.
    pub(crate) fn header(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.body_at = self.bytes.len();
    }

    /// Replaces the content header.
    pub(crate) fn replace_header(&mut self, payload: &[u8]) {
        self.bytes.splice(self.header_at..self.body_at, payload.iter().copied());
        self.body_at = self.header_at + payload.len();
    }

    /// Appends a part of a body that is small as a whole.
    pub(crate) fn small(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// Sets the parts of a body that is large as a whole.
    pub(crate) fn large(&mut self, parts: Vec<Bytes>) {
        self.large = parts;
    }

    /// Appends a blind key after the body, for the routing of dead letters. Keys beyond 64 KiB are
    /// dropped.
    pub(crate) fn blind_key(&mut self, key: &[u8]) {
        let length = u8::try_from(key.len()).ok();
        let blind = u16::try_from(key.len() + 1).ok().and_then(|more| self.blind.checked_add(more));
        if let (Some(length), Some(blind)) = (length, blind) {
            self.bytes.push(length);
            self.bytes.extend_from_slice(key);
            self.blind = blind;
        }
    }

    /// Marks it as a dead letter, after all blind keys.
    pub(crate) fn mark(&mut self, mark: LetterMark) {
        if let Some(blind) = self.blind.checked_add(1) {
            self.bytes.push(match mark {
                LetterMark::AllKeys => LetterMark::ALL_KEYS,
                LetterMark::OneKey => LetterMark::ONE_KEY,
            });
            self.blind = blind;
        }
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        split(&self.bytes, self.header_at, self.body_at, self.blind, &self.large)
    }

    /// Exchange and key, each with its length octet.
    #[inline]
    pub(crate) fn route(&self) -> &[u8] {
        self.bytes.get(..self.header_at).unwrap_or_default()
    }

    /// The message in its stored form: for one queue, or shared by several, as a dead letter of
    /// this origin or as an original.
    pub(crate) fn message(&mut self, is_shared: bool, origin: Option<Origin>) -> Message {
        let large =
            if self.large.is_empty() { None } else { Some(Arc::new(std::mem::take(&mut self.large))) };
        let extra = is_shared || origin.is_some() || large.is_some();
        Message {
            bytes: Arc::from(self.bytes.as_slice()),
            // Only two names of at most 256 bytes each precede the header.
            header_at: self.header_at as u16,
            body_at: self.body_at as u32,
            blind: self.blind,
            extra: extra.then(|| Arc::new(Extra { large, origin, ..Extra::default() })),
        }
    }
}

/// A stored message. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Arc<[u8]>,
    /// One pointer, because most messages have none of it, and millions of messages may be stored.
    extra: Option<Arc<Extra>>,
    body_at: u32,
    header_at: u16,
    blind: u16,
}

/// What only large messages, messages shared by several queues and dead letters have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    large: Option<Arc<Vec<Bytes>>>,
    /// How many places hold it: its octets are counted once for all.
    places: AtomicU32,
    /// How many dead letters it has given rise to.
    letters: AtomicU32,
    /// The publish that a dead letter stems from, if not its own.
    origin: Option<Origin>,
}

/// The publish that dead letters stem from, however many queues its message and their dead letters
/// died in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Arc<Extra>);

impl Origin {
    /// Counts one more dead letter; tells whether that is within the limit.
    pub(crate) fn counts(&self, most: u32) -> bool {
        // The virtual host's lock makes this thread the only one that counts.
        let letters = self.0.letters.load(Ordering::Relaxed);
        self.0.letters.store(letters.saturating_add(1), Ordering::Relaxed);
        letters < most
    }
}

#[inline]
fn split<'a>(bytes: &'a [u8], header_at: usize, body_at: usize, blind: u16, large: &'a [Bytes]) -> Parts<'a> {
    let (route, rest) = bytes.split_at_checked(header_at).unwrap_or_default();
    let (header, rest) = rest.split_at_checked(body_at.wrapping_sub(header_at)).unwrap_or_default();
    let (small, blind) =
        rest.split_at_checked(rest.len().wrapping_sub(usize::from(blind))).unwrap_or_default();
    Parts { route, header, small, large, blind }
}

/// A message as the store writes it: its bytes, and how they are divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// Names, content header, small body and blind keys.
    pub(crate) bytes: &'a [u8],
    pub(crate) header_at: u16,
    pub(crate) body_at: u32,
    pub(crate) blind: u16,
    /// The body, when it is large; it is shared by all queues that hold it.
    pub(crate) large: Option<&'a Arc<Vec<Bytes>>>,
}

impl Message {
    pub(crate) fn pack(&self) -> Packed<'_> {
        let Message { bytes, extra, body_at, header_at, blind } = self;
        let (header_at, body_at, blind) = (*header_at, *body_at, *blind);
        let large = extra.as_ref().and_then(|extra| extra.large.as_ref());
        Packed { bytes, header_at, body_at, blind, large }
    }

    /// Restores a message that was packed. Other input gives an arbitrary message, but does not
    /// panic.
    pub(crate) fn unpack(packed: Packed<'_>) -> Self {
        let Packed { bytes, header_at, body_at, blind, large } = packed;
        let extra = large.map(|large| Arc::new(Extra { large: Some(Arc::clone(large)), ..Extra::default() }));
        Message { bytes: Arc::from(bytes), extra, body_at, header_at, blind }
    }

    #[inline]
    pub(crate) fn parts(&self) -> Parts<'_> {
        let large = self.large();
        split(&self.bytes, usize::from(self.header_at), self.body_at as usize, self.blind, large)
    }

    /// The message as one that is to be published.
    pub(crate) fn to_draft(&self) -> Draft {
        let (header_at, body_at) = (usize::from(self.header_at), self.body_at as usize);
        let (bytes, large) = (self.bytes.to_vec(), self.large().to_vec());
        Draft { bytes, header_at, body_at, large, blind: self.blind }
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.parts().body_len()
    }

    /// How many bytes the whole message has.
    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        (self.bytes.len() + self.large().iter().map(Bytes::len).sum::<usize>()) as u64
    }

    #[inline]
    fn large(&self) -> &[Bytes] {
        self.extra.as_ref().and_then(|extra| extra.large.as_ref()).map_or(&[][..], |parts| parts)
    }

    /// How many octets a delivery of it copies.
    #[inline]
    pub(crate) fn copied(&self) -> usize {
        self.bytes.len()
    }

    /// The origin of dead letters of this message, if it is known.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let extra = self.extra.as_ref()?;
        Some(extra.origin.clone().unwrap_or_else(|| Origin(Arc::clone(extra))))
    }

    /// Counts one more place that holds it; returns about how much more memory that takes. A shared
    /// message counts once.
    #[inline]
    pub(crate) fn enter(&self) -> u64 {
        let Some(extra) = &self.extra else { return MESSAGE_OVERHEAD + self.weight() };
        let places = extra.places.load(Ordering::Relaxed);
        extra.places.store(places.saturating_add(1), Ordering::Relaxed);
        if places == 0 { PLACE + MESSAGE_OVERHEAD + self.weight() } else { PLACE }
    }

    /// Counts one place less; returns about how much memory that frees.
    #[inline]
    pub(crate) fn leave(&self) -> u64 {
        let Some(extra) = &self.extra else { return MESSAGE_OVERHEAD + self.weight() };
        let places = extra.places.load(Ordering::Relaxed).saturating_sub(1);
        extra.places.store(places, Ordering::Relaxed);
        if places == 0 { PLACE + MESSAGE_OVERHEAD + self.weight() } else { PLACE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_and_its_message_have_the_same_parts() {
        let mut draft = Draft::default();
        draft.start(b"events", b"job.run");
        draft.header(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x10, 0, 2]);
        draft.small(b"hi");
        let message = draft.message(false, None);
        for parts in [draft.parts(), message.parts()] {
            assert_eq!(parts.names(), (&b"events"[..], &b"job.run"[..]));
            assert_eq!(parts.properties(), [0x10, 0, 2]);
            assert_eq!((parts.small, parts.body_len()), (&b"hi"[..], 2));
        }
    }

    #[test]
    fn blind_keys_are_no_part_of_the_body() {
        let mut draft = Draft::default();
        draft.start(b"", b"q");
        draft.small(b"body");
        draft.blind_key(b"one");
        draft.blind_key(b"");
        let message = draft.message(false, None);
        for parts in [draft.parts(), message.parts()] {
            assert_eq!((parts.small, parts.body_len()), (&b"body"[..], 4));
            assert_eq!(parts.blind_keys().collect::<Vec<_>>(), [&b"one"[..], b""]);
        }
        draft.start(b"", b"q");
        assert_eq!(draft.parts().blind_keys().count(), 0);
    }

    #[test]
    fn a_mark_is_no_blind_key_and_a_blind_key_is_no_mark() {
        for (keys, mark) in [
            (&[][..], None),
            (&[][..], Some(LetterMark::AllKeys)),
            (&[&b"one"[..], b""], Some(LetterMark::OneKey)),
            (&[&b"\xff"[..], b"\xfe"], None),
            (&[&b"\xfe"[..]], Some(LetterMark::AllKeys)),
        ] {
            let mut draft = Draft::default();
            draft.start(b"", b"q");
            draft.small(b"body");
            keys.iter().for_each(|key| draft.blind_key(key));
            mark.into_iter().for_each(|mark| draft.mark(mark));
            let message = draft.message(false, None);
            assert_eq!(message.parts().mark(), mark);
            assert_eq!(message.parts().small, b"body");
            assert_eq!(message.parts().blind_keys().collect::<Vec<_>>(), keys);
        }
    }

    #[test]
    fn a_draft_used_again_forgets_the_last_message() {
        let mut draft = Draft::default();
        draft.start(b"a", b"b");
        draft.large(vec![Bytes::from_static(b"large")]);
        draft.start(b"", b"q");
        assert_eq!(draft.parts().names(), (&b""[..], &b"q"[..]));
        assert_eq!(draft.parts().body_len(), 0);
    }
}
