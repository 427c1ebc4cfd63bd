//! Messages of the program to the service manager that started it.

use amqp_codec::Report;
use sd_notify::NotifyState;

/// Tells systemd that the program serves clients (sd_notify(3)); without systemd it does nothing.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells systemd that the settings are read again; [`ready`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => untold(&error),
    }
}

/// Tells systemd that the program ends, however long that takes.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        untold(&error);
    }
}

fn untold(error: &std::io::Error) {
    tracing::warn!("the service manager cannot be told: {}", Report(error));
}
