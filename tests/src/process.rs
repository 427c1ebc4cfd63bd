//! Child processes: run to the end, to a deadline, or until they are dropped.

use std::io;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A child process.
///
/// # On drop
/// It is killed, and reaped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`, with nothing on its standard input.
    ///
    /// # Errors
    /// When it cannot be started; the error names it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).spawn().map(Self).map_err(|error| name(command, &error))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its status if it has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Kills it (SIGKILL), and reaps it.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// `TimedOut` when it still runs after `deadline`; it is not killed then.
    pub(crate) async fn terminate(&mut self, deadline: Duration) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // It is not reaped yet, so the id is still valid.
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let deadline = Instant::now() + deadline;
        while self.ended()?.is_none() {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.kill();
    }
}

/// Runs `command` with nothing on its standard input, and returns its output.
///
/// # Errors
/// When it cannot be started, or `TimedOut` when it has not ended within `deadline`; it is killed
/// then. Both errors name it.
///
/// # Cancel safety
/// The program is killed when the future is dropped.
pub(crate) async fn output(mut command: Command, deadline: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asynchronous = tokio::process::Command::from(command);
    let child =
        asynchronous.kill_on_drop(true).spawn().map_err(|error| name(asynchronous.as_std(), &error))?;
    timeout(deadline, child.wait_with_output()).await.unwrap_or_else(|_| {
        let late = io::Error::new(
            io::ErrorKind::TimedOut,
            format!("did not end within {} s", deadline.as_secs_f32()),
        );
        Err(name(asynchronous.as_std(), &late))
    })
}

fn name(command: &Command, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_program_that_ends_gives_its_output_and_status() {
        let output = output(shell("echo out; echo err >&2; exit 3"), SOON).await.unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_a_timeout_naming_it() {
        let error = output(shell("exec sleep 600"), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "sh: did not end within 0.05 s");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = output(Command::new("/no/such/program"), SOON).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("/no/such/program: "), "{error}");
        let error = Process::start(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/program: "), "{error}");
    }

    #[tokio::test]
    async fn a_process_ends_when_asked_to() {
        let mut process = Process::start(&mut shell("exec sleep 600")).unwrap();
        assert!(process.ended().unwrap().is_none());
        process.terminate(SOON).await.unwrap();
        assert!(process.ended().unwrap().is_some());
        process.terminate(SOON).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_will_not_end_can_be_killed() {
        let mut command = shell("trap '' TERM; echo ready; exec sleep 600");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // After this output it ignores the signal.
        let mut said = [0; 6];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let mut process = Process(child);
        let error = process.terminate(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        process.kill().unwrap();
        assert!(process.ended().unwrap().is_some());
    }
}
