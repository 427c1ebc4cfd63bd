//! The mutator of frames on their way.

use super::{
    arguments, bytes,
    change::{Change, Level},
    frames, order,
};
use crate::{choices::Choices, wire_frame::WireFrame};

/// How many frames that were sent are kept.
const KEPT: usize = 32;

/// How often another change is tried when one is not possible.
const TRIES: usize = 8;

/// Changes frames on the levels it is told, and remembers those that have passed, to send them
/// again.
///
/// ```
/// use amqp_fuzz::{Choices, Level, Mutator, Session, SessionOptions, WireFrame};
///
/// let mut choices = Choices::from_seed(3);
/// let mut session = Session::new(SessionOptions { is_told: false, ..Default::default() });
/// let mut mutator = Mutator::new(Level::ALL);
/// let mut frames: Vec<_> = session.next(&mut choices).frames.iter().map(WireFrame::of).collect();
/// let change = mutator.mutate(&mut frames, &mut choices).expect("something can be changed");
/// println!("{change}");
/// ```
#[derive(Clone, Debug)]
pub struct Mutator {
    levels: Vec<Level>,
    past: Vec<WireFrame>,
    next: usize,
}

impl Mutator {
    /// A mutator on these levels.
    pub fn new(levels: &[Level]) -> Self {
        Mutator { levels: levels.to_vec(), past: Vec::new(), next: 0 }
    }

    /// Remembers frames that are sent as they are.
    pub fn pass(&mut self, frames: &[WireFrame]) {
        for frame in frames {
            if let Some(slot) = self.past.get_mut(self.next) {
                *slot = frame.clone();
            } else {
                self.past.push(frame.clone());
            }
            self.next = (self.next + 1) % KEPT;
        }
    }

    /// Makes one change to `frames`. Returns what it is; `None` when there are no frames, or the
    /// levels offer nothing for them.
    pub fn mutate(&mut self, frames: &mut Vec<WireFrame>, choices: &mut Choices<'_>) -> Option<Change> {
        let mut channels: Vec<_> = self.past.iter().chain(frames.iter()).map(|frame| frame.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        for _ in 0..TRIES {
            if frames.is_empty() {
                return None;
            }
            let level = *choices.pick(&self.levels)?;
            let change = match level {
                Level::Order => order::mutate(frames, &self.past, &channels, choices),
                level => self.within(level, frames, &channels, choices),
            };
            if change.is_some() {
                self.pass(frames);
                return change;
            }
        }
        None
    }

    fn within(
        &self,
        level: Level,
        frames: &mut [WireFrame],
        channels: &[u16],
        choices: &mut Choices<'_>,
    ) -> Option<Change> {
        let fit: Vec<_> = frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| level != Level::Arguments || arguments::has_any(frame))
            .map(|(index, _)| index)
            .collect();
        let index = *choices.pick(&fit)?;
        let frame = frames.get_mut(index)?;
        let what = match level {
            Level::Arguments => arguments::mutate(frame, choices)?,
            Level::Frames => frames::mutate(frame, channels, choices)?,
            Level::Bytes | Level::Order => {
                let mut payload = frame.payload.to_vec();
                let what = bytes::mutate(&mut payload, choices)?;
                let size = frame.size;
                *frame = WireFrame::new(frame.kind, frame.channel, payload.into());
                // Now and then the size is that of before.
                if choices.one_in(6) {
                    frame.size = size;
                }
                what
            }
        };
        Some(Change { level, frame: index, what })
    }
}

/// Changes the bytes of a stream in one way, without regard to frames. Returns what was done; the
/// change's frame is always 0.
pub fn mutate_bytes(stream: &mut Vec<u8>, choices: &mut Choices<'_>) -> Option<Change> {
    let what = bytes::mutate(stream, choices)?;
    Some(Change { level: Level::Bytes, frame: 0, what })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{Session, SessionOptions, octets};

    /// Sessions of which each step is changed on one level, and how many of them a peer that reads
    /// frames can still tell apart.
    fn changed(level: Level) -> (usize, usize, HashSet<String>) {
        let (mut changes, mut delimited, mut kinds) = (0, 0, HashSet::new());
        for seed in 0..20 {
            let mut choices = Choices::from_seed(seed);
            let mut session = Session::new(SessionOptions { is_told: false, ..Default::default() });
            let mut mutator = Mutator::new(&[level]);
            for _ in 0..100 {
                let valid: Vec<_> = session.next(&mut choices).frames.iter().map(WireFrame::of).collect();
                let mut frames = valid.clone();
                let Some(change) = mutator.mutate(&mut frames, &mut choices) else { continue };
                assert_eq!(change.level, level);
                changes += 1;
                delimited += usize::from(frames.iter().all(WireFrame::is_delimited));
                kinds.extend(change.what.split(' ').next().map(str::to_owned));
                if level == Level::Order && change.what == "doubled" {
                    assert_eq!(
                        octets(&frames).len(),
                        octets(&valid).len() + octets(&valid[change.frame..][..1]).len()
                    );
                }
            }
        }
        (changes, delimited, kinds)
    }

    #[test]
    fn arguments_and_order_leave_frames_well_formed_and_the_others_do_not() {
        for (level, always) in
            [(Level::Arguments, true), (Level::Order, true), (Level::Bytes, false), (Level::Frames, false)]
        {
            let (changes, delimited, kinds) = changed(level);
            assert!(changes > 1500, "{level:?}: {changes}");
            assert_eq!(changes == delimited, always, "{level:?}: {changes} {delimited}");
            assert!(kinds.len() >= 4, "{level:?}: {kinds:?}");
        }
    }
}
