//! Entry points for fuzzers: streams of valid frames, and a mutator that keeps them frames.

use amqp_codec::Frame;
use bytes::Bytes;

use crate::{
    choices::Choices,
    client::options::SessionOptions,
    mutation::{change::Level, mutator::Mutator},
    session::session::Session,
    transcript::item::Item,
    wire_frame::{WireFrame, octets},
};

/// The frames of a valid session of so many acts that is told nothing, without the handshake and
/// the close.
///
/// ```
/// use amqp_fuzz::{Choices, SessionOptions, valid_frames};
///
/// let frames = valid_frames(&mut Choices::from_seed(1), SessionOptions::default(), 50);
/// assert!(frames.len() >= 50);
/// ```
pub fn valid_frames(choices: &mut Choices<'_>, options: SessionOptions, acts: usize) -> Vec<Frame> {
    let mut session = Session::new(SessionOptions { is_told: false, ..options });
    (0..acts).flat_map(|_| session.next(choices).frames).collect()
}

/// A mutator for libFuzzer and AFL++, whose input is a stream of frames: it changes arguments or
/// the order of frames, and leaves every frame well-formed. What is no frame at the beginning or
/// the end of the input stays as it is. An input without frames becomes a valid session.
///
/// `data` has `size` bytes of input and room for at most `max_size`. Returns the size of the new
/// input, which is that of the old one if the new one has no room.
pub fn mutate_stream(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut choices = Choices::from_seed(u64::from(seed));
    let Some(input) = data.get(..size) else { return size };
    let mut items = Item::of_stream(Bytes::copy_from_slice(input));
    let mut end = Vec::new();
    let mut start = Vec::new();
    if let Some(Item::Octets(header)) = items.first()
        && header.starts_with(b"AMQP")
    {
        start = header.to_vec();
        items.remove(0);
    }
    if let Some(Item::Octets(rest)) = items.last() {
        end = rest.to_vec();
        items.pop();
    }
    let mut frames: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::Frame(frame) => Some(WireFrame::of(&frame)),
            Item::Wire(frame) => Some(frame),
            Item::Octets(_) => None,
        })
        .collect();
    if frames.is_empty() {
        frames =
            valid_frames(&mut choices, SessionOptions::default(), 20).iter().map(WireFrame::of).collect();
    }
    let mut mutator = Mutator::new(&[Level::Arguments, Level::Order]);
    mutator.pass(&frames);
    mutator.mutate(&mut frames, &mut choices);
    let output = [&start[..], &octets(&frames), &end].concat();
    match data.get_mut(..output.len()) {
        Some(room) if output.len() <= max_size => {
            room.copy_from_slice(&output);
            output.len()
        }
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_stays_one_however_often_the_stream_is_changed() {
        let mut data = vec![0; 1 << 16];
        let (mut size, mut changes) = (0, 0);
        for seed in 0..400 {
            let before = data[..size].to_vec();
            let max_size = data.len();
            size = mutate_stream(&mut data, size, max_size, seed);
            changes += usize::from(before != data[..size]);
            let items = Item::of_stream(Bytes::copy_from_slice(&data[..size]));
            let is_whole = |item: &Item| match item {
                Item::Frame(_) => true,
                Item::Wire(frame) => frame.is_delimited(),
                Item::Octets(_) => false,
            };
            assert!(items.iter().all(is_whole), "seed {seed}");
        }
        assert!(changes > 300, "{changes}");
    }

    #[test]
    fn an_input_without_room_and_what_is_no_frame_stay_as_they_are() {
        let mut data = b"AMQP\0\0\x09\x01".to_vec();
        data.resize(1 << 16, 0);
        assert_eq!(mutate_stream(&mut data, 8, 8, 1), 8);
        assert_eq!(data.iter().position(|octet| *octet == 0x09), Some(6));
        assert!(data[8..].iter().all(|octet| *octet == 0));
        let size = mutate_stream(&mut data, 8, 1 << 16, 1);
        assert!(size > 200 && data.starts_with(b"AMQP\0\0\x09\x01"), "{size}");
    }
}
