//! Reads the batches of a journal of the store before the store opens it, because the store
//! discards everything behind the first batch that it cannot read.
//!
//! A batch is a start (tag 1, count of entries, sequence number), entries (tag 2, kind,
//! compression, keyspace, lengths, key, value; or tag 4, keyspace) and an end (tag 3, checksum XXH3
//! of the entries, trailer), all numbers little-endian.

use std::ops::Range;

use bytes::Buf;
use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

use super::number::{self, Secret};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// The length of the start, in octets.
const START_LENGTH: usize = 13;
/// The length of an item before its key, in octets.
const ITEM_HEAD: usize = 21;

/// How far the sequence number of a batch may be from that of the batch before it: the store uses
/// some numbers itself.
const NEAR: u64 = 1 << 32;

/// A batch that is intact as far as its own bytes tell.
#[derive(Clone, Debug, PartialEq)]
struct JournalBatch {
    place: Range<usize>,
    /// The sequence number. No checksum protects it, but it must increase.
    sequence: u64,
    number: Option<u64>,
}

/// The contents of a journal.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Journal {
    /// The ranges of consecutive intact batches.
    pub(super) intact: Vec<Range<usize>>,
    /// The ranges of consecutive batch numbers: first and last.
    pub(super) numbers: Vec<(u64, u64)>,
    /// The unreadable ranges that intact batches follow.
    pub(super) holes: Vec<Range<usize>>,
    /// The unreadable range at the end.
    pub(super) tail: Range<usize>,
}

impl Journal {
    /// Reads a whole journal. After an unreadable range only batches with this secret are accepted;
    /// without a secret, before batches have one, all are.
    pub(super) fn read(octets: &[u8], secret: Option<&Secret>) -> Self {
        let mut journal = Journal::default();
        // These are the last batch read, which the next may show to be misread, and the sequence
        // number before it.
        let (mut last, mut before): (Option<JournalBatch>, Option<u64>) = (None, None);
        let mut at = 0;
        while let Some(batch) = read_batch(octets, at, secret).or_else(|| find(octets, at + 1, secret)) {
            at = batch.place.end;
            let Some(previous) = last.replace(batch.clone()) else { continue };
            if previous.sequence < batch.sequence && follows(before, &previous) {
                before = Some(previous.sequence);
                journal.add(previous);
            } else if !follows(before, &batch) {
                last = Some(previous);
            }
        }
        if let Some(batch) = last.filter(|batch| follows(before, batch)) {
            journal.add(batch);
        }
        let end = journal.intact.last().map_or(0, |intact| intact.end);
        journal.tail = end..written_to(octets).max(end);
        let starts = std::iter::once(0).chain(journal.intact.iter().map(|intact| intact.end));
        let holes = starts.zip(&journal.intact).map(|(start, intact)| start..intact.start);
        journal.holes = holes.filter(|hole| !hole.is_empty()).collect();
        journal
    }

    fn add(&mut self, batch: JournalBatch) {
        match self.intact.last_mut() {
            Some(last) if last.end == batch.place.start => last.end = batch.place.end,
            _ => self.intact.push(batch.place),
        }
        let Some(number) = batch.number else { return };
        match self.numbers.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.numbers.push((number, number)),
        }
    }

    /// The number of the last batch.
    pub(super) fn last(&self) -> Option<u64> {
        self.numbers.last().map(|(_, last)| *last)
    }

    /// How many octets are unreadable.
    pub(super) fn unreadable(&self) -> usize {
        self.holes.iter().map(Range::len).sum::<usize>() + self.tail.len()
    }
}

/// Where the preallocated part of the file begins, which is zero.
fn written_to(octets: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut pages = octets.chunks(ZEROS.len());
    let last = pages.rposition(|page| ZEROS.get(..page.len()).is_none_or(|zeros| zeros != page));
    let Some(page) = last.and_then(|last| octets.get(last * ZEROS.len()..)) else { return 0 };
    let in_page = page.iter().take(ZEROS.len()).rposition(|octet| *octet != 0);
    octets.len() - page.len() + in_page.map_or(0, |last| last + 1)
}

/// Tells whether a batch can follow one with this sequence number.
fn follows(before: Option<u64>, batch: &JournalBatch) -> bool {
    before.is_none_or(|before| before < batch.sequence && batch.sequence - before < NEAR)
}

/// The first intact batch at or after this offset.
fn find(octets: &[u8], from: usize, secret: Option<&Secret>) -> Option<JournalBatch> {
    let rest = octets.get(from..)?;
    match secret {
        // The first item of a batch is its number.
        Some(_) => {
            let keys = memmem::find_iter(rest, number::KEY).map(|found| from + found);
            let starts =
                keys.filter_map(|at| at.checked_sub(START_LENGTH + ITEM_HEAD)).filter(|at| *at >= from);
            let mut batches = starts.filter_map(|at| read_batch(octets, at, secret));
            batches.find(|batch| batch.number.is_some())
        }
        None => {
            let starts = memchr::memchr_iter(START, rest).map(|found| from + found);
            let mut likely =
                starts.filter(|at| matches!(octets.get(at + START_LENGTH), Some(&(ITEM | CLEAR))));
            likely.find_map(|at| read_batch(octets, at, None))
        }
    }
}

/// Reads the batch at this offset, if it is intact.
fn read_batch(octets: &[u8], at: usize, secret: Option<&Secret>) -> Option<JournalBatch> {
    let all = octets.get(at..)?;
    let mut rest = all;
    if rest.try_get_u8().ok()? != START {
        return None;
    }
    let (count, sequence) = (rest.try_get_u32_le().ok()?, rest.try_get_u64_le().ok()?);
    let items = rest;
    let mut number = None;
    for _ in 0..count {
        let found = read_entry(&mut rest, secret)?;
        number = number.or(found);
    }
    let length = items.len() - rest.len();
    if rest.try_get_u8().ok()? != END || rest.try_get_u64_le().ok()? != xxh3_64(items.get(..length)?) {
        return None;
    }
    let rest = rest.strip_prefix(&TRAILER)?;
    Some(JournalBatch { place: at..at + all.len() - rest.len(), sequence, number })
}

/// Steps over an entry; returns the batch's number if the entry is that.
fn read_entry(rest: &mut &[u8], secret: Option<&Secret>) -> Option<Option<u64>> {
    match rest.try_get_u8().ok()? {
        CLEAR => rest.try_get_u64_le().ok().map(|_| None),
        ITEM => {
            // The kind is a value, a tombstone or a weak tombstone. Compression is compiled out of
            // the store.
            let (kind, compression) = (rest.try_get_u8().ok()?, rest.try_get_u8().ok()?);
            if kind > 2 || compression != 0 {
                return None;
            }
            let _keyspace = rest.try_get_u64_le().ok()?;
            let key_length = rest.try_get_u16_le().ok()?;
            let (_length, stored_length) = (rest.try_get_u32_le().ok()?, rest.try_get_u32_le().ok()?);
            let (key, after) = rest.split_at_checked(key_length.into())?;
            let (value, after) = after.split_at_checked(stored_length as usize)?;
            *rest = after;
            Some(number::read(key, value, secret))
        }
        _ => None,
    }
}

#[cfg(test)]
// These are lists of ranges, often of one.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;
    use bytes::BufMut;

    const SECRET: Secret = [9; 16];

    fn item(items: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        items.extend([ITEM, 0, 0]);
        items.put_u64_le(5);
        items.put_u16_le(key.len() as u16);
        items.put_u32_le(value.len() as u32);
        items.put_u32_le(value.len() as u32);
        items.extend_from_slice(key);
        items.extend_from_slice(value);
    }

    fn batch(number: u64, secret: &Secret, body: &[u8]) -> Vec<u8> {
        let mut items = Vec::new();
        item(&mut items, number::KEY, &number::value(number, secret));
        item(&mut items, &[1; 16], body);
        let mut batch = vec![START];
        batch.put_u32_le(2);
        batch.put_u64_le(number + 100);
        batch.extend_from_slice(&items);
        batch.put_u8(END);
        batch.put_u64_le(xxh3_64(&items));
        batch.extend_from_slice(&TRAILER);
        batch
    }

    fn journal(numbers: Range<u64>) -> Vec<u8> {
        numbers.flat_map(|number| batch(number, &SECRET, &[7; 100])).collect()
    }

    #[test]
    fn what_is_intact_is_read_to_its_end_and_what_was_taken_ahead_of_time_is_none_of_it() {
        let mut octets = journal(1..4);
        let end = octets.len();
        octets.resize(end + 5000, 0);
        let read = Journal::read(&octets, Some(&SECRET));
        assert_eq!(
            read,
            Journal { intact: vec![0..end], numbers: vec![(1, 3)], holes: vec![], tail: end..end }
        );
        assert_eq!(Journal::read(&[], None), Journal::default());
    }

    #[test]
    fn wherever_a_batch_is_cut_off_it_is_a_tail_and_the_ones_before_it_are_intact() {
        let (octets, one) = (journal(1..4), batch(3, &SECRET, &[7; 100]).len());
        let before = octets.len() - one;
        for cut in 1..one {
            let mut torn = octets[..octets.len() - cut].to_vec();
            for _ in 0..2 {
                let read = Journal::read(&torn, Some(&SECRET));
                assert_eq!((read.intact, read.holes), (vec![0..before], vec![]), "{cut} octets less");
                assert!(read.tail.start == before && read.tail.end <= octets.len() - cut);
                torn.resize(torn.len() + 100, 0);
            }
        }
    }

    #[test]
    fn whatever_octet_is_another_it_is_a_hole_before_intact_ones() {
        let octets = journal(1..4);
        let one = octets.len() / 3;
        for at in one..2 * one {
            let mut damaged = octets.clone();
            damaged[at] ^= 0x80;
            for secret in [Some(&SECRET), None] {
                let read = Journal::read(&damaged, secret);
                assert_eq!(
                    (read.holes, read.intact),
                    (vec![one..2 * one], vec![0..one, 2 * one..3 * one]),
                    "{at}"
                );
                assert_eq!(read.numbers, [(1, 1), (3, 3)]);
            }
        }
    }

    #[test]
    fn what_a_client_published_is_not_taken_for_a_batch() {
        let forged = batch(3, &[1; 16], b"forged");
        let mut octets = journal(1..3);
        let end = octets.len();
        let unfinished = batch(3, &SECRET, &forged);
        octets.extend_from_slice(&unfinished[..unfinished.len() - 1]);
        let read = Journal::read(&octets, Some(&SECRET));
        assert_eq!((read.holes, read.tail), (vec![], end..octets.len()));
    }
}
