//! The limits that both ends of a connection agree on (spec section 4.2.3 for frame_max, 1.4.2.6
//! for tune).

use crate::error::Error;

/// The smallest frame_max a peer may ask for.
pub const FRAME_MIN_SIZE: u32 = 4096;

/// The size of a frame's header and end marker, which frame_max counts besides the payload.
pub const FRAME_OVERHEAD: usize = 8;

/// Limits of a connection. 0 stands for "no limit", and for the heartbeat "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tune {
    /// The highest channel number.
    pub channel_max: u16,
    /// The largest frame, in bytes, including its header and end marker.
    pub frame_max: u32,
    /// The heartbeat interval in seconds: each end sends something at least this often.
    pub heartbeat: u16,
}

impl Tune {
    /// The client's answer to a broker's offer. Of each limit it takes the smaller, where 0 means
    /// no limit. Of the heartbeat it takes the smaller too; a client's 0 turns heartbeats off, and
    /// a broker's 0 leaves the choice to the client.
    ///
    /// # Errors
    /// [`Error::FrameMaxTooSmall`] when the broker offers less than the protocol's minimum.
    pub fn answer(self, offer: Tune) -> Result<Tune, Error> {
        if offer.frame_max != 0 && offer.frame_max < FRAME_MIN_SIZE {
            return Err(Error::FrameMaxTooSmall(offer.frame_max));
        }
        Ok(Tune {
            channel_max: smaller_limit(self.channel_max, offer.channel_max),
            frame_max: smaller_limit(self.frame_max, offer.frame_max),
            heartbeat: if self.heartbeat == 0 { 0 } else { smaller_limit(self.heartbeat, offer.heartbeat) },
        })
    }
}

fn smaller_limit<T: Ord + Default + Copy>(a: T, b: T) -> T {
    let none = T::default();
    match (a == none, b == none) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit_and_the_smaller_limit_holds() {
        let wish = Tune { channel_max: 0, frame_max: 131_072, heartbeat: 60 };
        let offer = Tune { channel_max: 2047, frame_max: 0, heartbeat: 30 };
        let answer = wish.answer(offer).unwrap();
        assert_eq!(answer, Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 30 });
    }

    #[test]
    fn a_client_that_wants_no_heartbeat_has_none() {
        let wish = Tune { channel_max: 1, frame_max: 0, heartbeat: 0 };
        let offer = Tune { channel_max: 0, frame_max: 0, heartbeat: 60 };
        assert_eq!(wish.answer(offer).unwrap().heartbeat, 0);
    }

    #[test]
    fn a_frame_max_below_the_minimum_is_refused() {
        let wish = Tune { channel_max: 0, frame_max: 131_072, heartbeat: 0 };
        let offer = Tune { frame_max: 4095, ..wish };
        assert_eq!(wish.answer(offer), Err(Error::FrameMaxTooSmall(4095)));
    }
}
