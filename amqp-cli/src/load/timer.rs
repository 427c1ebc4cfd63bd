//! A timer that is exact to microseconds.
//!
//! The runtime's own timers are exact to a millisecond, which would be a part of every latency.

use std::time::Duration;

use crate::error::Error;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::Timer;
#[cfg(not(target_os = "linux"))]
pub(crate) use self::other::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, os::fd::OwnedFd};

    use rustix::{
        io::{Errno, read},
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };
    use tokio::io::{Interest, unix::AsyncFd};

    use super::{Duration, Error};

    /// A timer of the system, which becomes readable when it is due.
    #[derive(Debug)]
    pub(crate) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        /// # Errors
        /// [`Error::System`] when no file can be opened.
        // The function's successor is younger than the oldest tokio that the manifest allows; the
        // descriptor is owned, which is what the successor demands.
        #[allow(deprecated)]
        pub(crate) fn new() -> Result<Self, Error> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed)?;
            AsyncFd::with_interest(timer, Interest::READABLE).map(Timer).map_err(system)
        }

        /// Has the timer expire after a while. What was set before is forgotten.
        ///
        /// # Errors
        /// [`Error::System`] when the system refuses.
        pub(crate) fn set(&mut self, after: Duration) -> Result<(), Error> {
            // Zero would turn it off.
            let after = after.max(Duration::from_nanos(1));
            let it_value = Timespec {
                tv_sec: after.as_secs().min(i64::MAX as u64) as i64,
                tv_nsec: after.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).map(drop).map_err(failed)
        }

        /// Waits until it expires.
        ///
        /// # Errors
        /// [`Error::System`].
        ///
        /// # Cancel safety
        /// If the future is dropped while pending, it can be called again.
        pub(crate) async fn expired(&self) -> Result<(), Error> {
            loop {
                let mut guard = self.0.readable().await.map_err(system)?;
                let mut expirations = [0; 8];
                match read(self.0.get_ref(), &mut expirations) {
                    Ok(_) => return Ok(()),
                    Err(Errno::AGAIN) => guard.clear_ready(),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
    }

    fn failed(error: Errno) -> Error {
        system(error.into())
    }

    fn system(source: io::Error) -> Error {
        Error::System { operation: "wait for a time", source }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use tokio::time::{Instant, sleep_until};

    use super::{Duration, Error};

    /// The runtime's timer.
    #[derive(Debug)]
    pub(crate) struct Timer(Instant);

    impl Timer {
        /// # Errors
        /// None.
        pub(crate) fn new() -> Result<Self, Error> {
            Ok(Timer(Instant::now()))
        }

        /// Has the timer expire after a while.
        ///
        /// # Errors
        /// None.
        pub(crate) fn set(&mut self, after: Duration) -> Result<(), Error> {
            self.0 = Instant::now() + after;
            Ok(())
        }

        /// Waits until it expires.
        ///
        /// # Errors
        /// None.
        pub(crate) async fn expired(&self) -> Result<(), Error> {
            sleep_until(self.0).await;
            Ok(())
        }
    }
}
