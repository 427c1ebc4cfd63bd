//! The resources that a process has used, by `/proc`, for measurements and limits.

use std::{fs, io, time::Duration};

use tokio::time::sleep;

/// The pause between two checks whether a process is idle, and how many in a row must find it idle.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const LOOKS_AT_REST: usize = 15;

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Its CPU time, user and system, in seconds.
    pub processor: f64,
    /// Its peak resident memory, in bytes.
    pub peak: u64,
    /// Its current resident memory, in bytes.
    pub resident: u64,
    /// Whether a thread of it runs, or waits for a processor or a disk.
    pub busy: bool,
}

impl Usage {
    /// The usage of the process with this id.
    ///
    /// # Errors
    /// When it has ended, or there is no `/proc`.
    pub fn of(pid: u32) -> io::Result<Self> {
        // The kernel counts in hundredths of a second (sysconf(_SC_CLK_TCK)).
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The program's name, in parentheses, may contain spaces; the fields behind it are counted
        // from 3 (proc(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            processor: ticks as f64 / TICKS,
            peak: kilobytes(&status, "VmHWM:")? * 1024,
            resident: kilobytes(&status, "VmRSS:")? * 1024,
            busy: fs::read_dir(format!("/proc/{pid}/task"))?.flatten().any(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit_once(')').map_or("", |(_, fields)| fields).trim_start();
                state.starts_with(['R', 'D'])
            }),
        })
    }

    /// Waits until a process is idle: for a third of a second it is never seen busy and uses no CPU
    /// time.
    ///
    /// # Errors
    /// When it ends meanwhile.
    pub async fn rest(pid: u32) -> io::Result<Self> {
        let (mut last, mut looks) = (Self::of(pid)?, 0);
        while looks < LOOKS_AT_REST {
            sleep(LOOK_INTERVAL).await;
            let now = Self::of(pid)?;
            looks = if now.busy || now.processor > last.processor { 0 } else { looks + 1 };
            last = now;
        }
        Ok(last)
    }
}

fn kilobytes(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    // A process that has ended and is not reaped has no memory.
    number.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_of_both() {
        let mut memory = vec![1_u8; 64 << 20];
        let before = Usage::of(std::process::id()).unwrap();
        while Usage::of(std::process::id()).unwrap().processor < before.processor + 0.05 {
            memory.iter_mut().for_each(|octet| *octet = octet.wrapping_mul(3));
        }
        assert!(before.peak >= 64 << 20 && before.peak >= before.resident, "{before:?} {}", memory[0]);
    }

    #[test]
    fn a_process_that_is_not_there_has_none() {
        assert!(Usage::of(u32::MAX).is_err());
    }
}
