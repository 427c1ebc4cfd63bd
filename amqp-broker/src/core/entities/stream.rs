//! The log of a stream. Messages are appended, read by many consumers, and dropped once the log is
//! too large or they are too old (<https://www.rabbitmq.com/streams.html>).

use std::collections::VecDeque;

use super::ready::NEVER;
use crate::core::{
    content::message::Message,
    journal::kept::Kept,
    rabbitmq::arguments::{OffsetArgument, QueueArguments},
};

/// The log of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Records in ascending order of their offsets. Offsets may be missing: those of a transaction
    /// that was unfinished when the process ended.
    records: VecDeque<StreamRecord>,
    /// The offset of the next message.
    end: u64,
    body_bytes: u64,
}

/// A message in a stream.
#[derive(Debug)]
pub(crate) struct StreamRecord {
    pub(crate) message: Message,
    pub(crate) offset: u64,
    pub(crate) kept: Kept,
    /// When it arrived, in milliseconds of the broker's clock.
    came_at: u64,
}

impl Stream {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of all bodies.
    #[cfg(any(test, feature = "management"))]
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The offset of the next message.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends a message; returns its offset.
    pub(crate) fn append(&mut self, message: Message, kept: Kept, now: u64) -> u64 {
        let offset = self.end;
        self.put(StreamRecord { message, offset, kept, came_at: now });
        offset
    }

    fn put(&mut self, record: StreamRecord) {
        self.end = record.offset + 1;
        self.body_bytes += record.message.body_len() as u64;
        self.records.push_back(record);
    }

    /// The offset of the first message, or of the next one when the log is empty.
    fn first(&self) -> u64 {
        self.records.front().map_or(self.end, |record| record.offset)
    }

    /// Sets the offset of the first message of an empty log.
    pub(crate) fn begin_at(&mut self, offset: u64) {
        self.end = offset;
    }

    /// Puts back a message that survived a restart, after those before it.
    pub(crate) fn restore(&mut self, offset: u64, message: Message, came_at: u64) {
        self.put(StreamRecord { message, offset, kept: Kept::YES, came_at });
    }

    /// Drops the first message if the log is too large or the message too old. The newest stays
    /// whatever its size.
    pub(crate) fn trim_one(&mut self, now: u64, arguments: &QueueArguments) -> Option<StreamRecord> {
        let oldest = self.records.front()?;
        let too_much = arguments.max_length_bytes.is_some_and(|most| self.body_bytes > most);
        let too_old = arguments.max_age.is_some_and(|age| oldest.came_at.saturating_add(age) <= now);
        if !(too_old || too_much && self.records.len() > 1) {
            return None;
        }
        let record = self.records.pop_front()?;
        self.body_bytes -= record.message.body_len() as u64;
        Some(record)
    }

    /// Drops the first message unconditionally.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.records.pop_front().map(|record| record.message)
    }

    /// When the first message becomes too old.
    pub(crate) fn next_expiry(&self, arguments: &QueueArguments) -> u64 {
        match (arguments.max_age, self.records.front()) {
            (Some(age), Some(oldest)) => oldest.came_at.saturating_add(age),
            _ => NEVER,
        }
    }

    /// The offset where a consumer begins; `began` is the start of the clock in milliseconds since
    /// 1970.
    pub(crate) fn begin(&self, offset: OffsetArgument, now: u64, began: u64) -> u64 {
        let since = |time: u64| {
            let index = self.records.partition_point(|record| record.came_at < time);
            self.records.get(index).map_or(self.end, |record| record.offset)
        };
        match offset {
            OffsetArgument::First => self.first(),
            OffsetArgument::Last => self.records.back().map_or(self.end, |record| record.offset),
            OffsetArgument::Next => self.end(),
            OffsetArgument::Offset(offset) => offset,
            OffsetArgument::Timestamp(seconds) => since(seconds.saturating_mul(1000).saturating_sub(began)),
            OffsetArgument::Ago(milliseconds) => since(now.saturating_sub(milliseconds)),
        }
    }

    /// The message at an offset, or the first one after it, with its offset.
    pub(crate) fn at(&self, offset: u64) -> Option<(u64, &Message)> {
        // The index equals the distance from the first offset if no offset is missing, and is
        // smaller otherwise.
        let most = usize::try_from(offset.saturating_sub(self.first())).ok()?;
        let record = match self.records.get(most).filter(|record| record.offset <= offset) {
            Some(record) => record,
            None => self.records.get(self.records.partition_point(|record| record.offset < offset))?,
        };
        Some((record.offset, &record.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::message::Draft;

    fn message(body: &str) -> Message {
        let mut draft = Draft::default();
        draft.start(b"", b"s");
        draft.small(body.as_bytes());
        draft.message(false, None)
    }

    fn append(stream: &mut Stream, body: &str, now: u64, arguments: &QueueArguments) {
        stream.append(message(body), Kept::NO, now);
        while stream.trim_one(now, arguments).is_some() {}
    }

    fn filled(arguments: &QueueArguments) -> Stream {
        let mut stream = Stream::default();
        for (now, body) in [(10, "one"), (20, "two"), (30, "three")] {
            append(&mut stream, body, now, arguments);
        }
        stream
    }

    #[test]
    fn each_offset_argument_finds_its_place() {
        let stream = filled(&QueueArguments::default());
        let began = 1_000_000;
        for (offset, expected) in [
            (OffsetArgument::First, 0),
            (OffsetArgument::Last, 2),
            (OffsetArgument::Next, 3),
            (OffsetArgument::Offset(7), 7),
            (OffsetArgument::Ago(15), 1),
            (OffsetArgument::Ago(0), 3),
            (OffsetArgument::Timestamp(1_000), 0),
            (OffsetArgument::Timestamp(1_001), 3),
        ] {
            assert_eq!(stream.begin(offset, 35, began), expected, "{offset:?}");
        }
    }

    #[test]
    fn what_is_too_much_goes_but_never_the_newest() {
        let arguments = QueueArguments { max_length_bytes: Some(8), ..Default::default() };
        let mut stream = filled(&arguments);
        assert_eq!((stream.len(), stream.body_bytes()), (2, 8));
        assert_eq!(
            stream.at(0).map(|(offset, _)| offset),
            Some(1),
            "who is behind goes on with what is left"
        );
        append(&mut stream, "more than eight", 40, &arguments);
        assert_eq!((stream.len(), stream.at(0).map(|(offset, _)| offset)), (1, Some(3)));
    }

    #[test]
    fn offsets_that_are_missing_are_passed_over_and_not_given_anew() {
        let mut stream = Stream::default();
        for offset in [3, 4, 7, 9] {
            stream.restore(offset, message("m"), 10 * offset);
        }
        let found: Vec<_> = (0..11).map(|offset| stream.at(offset).map(|(offset, _)| offset)).collect();
        assert_eq!(
            found,
            [3, 3, 3, 3, 4, 7, 7, 7, 9, 9].map(Some).into_iter().chain([None]).collect::<Vec<_>>()
        );
        assert_eq!(stream.begin(OffsetArgument::Ago(30), 85, 0), 7);
        assert_eq!(stream.append(message("m"), Kept::NO, 100), 10);
        assert_eq!(stream.at(10).map(|(offset, _)| offset), Some(10));
    }

    #[test]
    fn what_is_too_old_goes() {
        let arguments = QueueArguments { max_age: Some(15), ..Default::default() };
        let mut stream = filled(&arguments);
        assert_eq!((stream.len(), stream.next_expiry(&arguments)), (2, 35));
        while stream.trim_one(45, &arguments).is_some() {}
        assert_eq!((stream.len(), stream.body_bytes(), stream.begin(OffsetArgument::Last, 45, 0)), (0, 0, 3));
    }
}
