//! A new secret on an open connection: on request, or automatically before the present one expires.

use std::{sync::Arc, time::Duration};

use amqp_codec::{Arguments as _, Report, ShortString, method::connection};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::{
    error::{Error, Result},
    login::{
        credentials::{Credentials, CredentialsError, Password, Provider},
        sasl,
    },
    runtime::{shared::Shared, waiting::Answer},
};

/// The shortest wait before credentials are renewed, and before a failed renewal is repeated.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST_RETRY: Duration = Duration::from_secs(60);

/// Sends the secret and waits for the broker's answer.
pub(crate) async fn update(
    shared: &Shared,
    password: &Password,
    reason: ShortString,
    patience: Duration,
) -> Result<()> {
    let secret = sasl::secret(password.expose().as_bytes().to_vec());
    let call = shared.with(|engine| engine.update_secret(secret, reason))?;
    let late = Error::CallTimeout { method: connection::UpdateSecret::NAME, after: patience };
    timeout(patience, Answer::new(shared, None, call)).await.unwrap_or(Err(late)).map(drop)
}

/// The task that renews the credentials of one connection. It holds no handle, so it does not keep
/// the connection open, and it ends with the connection.
pub(crate) struct Refresh {
    shared: Arc<Shared>,
    provider: Provider,
    /// How long the provider and the broker may each take to answer.
    patience: Duration,
}

impl Refresh {
    pub(crate) fn new(shared: Arc<Shared>, provider: Provider, patience: Duration) -> Self {
        Refresh { shared, provider, patience }
    }

    /// Runs until the connection has ended, or until there are credentials that do not expire.
    pub(crate) async fn run(self, valid_for: Duration) {
        let _ = self.shared.unless_ended(self.refresh(valid_for)).await;
    }

    async fn refresh(&self, mut valid_for: Duration) {
        let mut wait = renewal(valid_for);
        loop {
            sleep(wait).await;
            match self.renew().await {
                Ok(Some(duration)) => {
                    valid_for = duration;
                    wait = renewal(valid_for);
                }
                Ok(None) => return,
                Err(error) => {
                    warn!(error = %Report(&*error), "cannot renew the credentials; another attempt follows");
                    wait = (valid_for / 20).clamp(SOONEST, LATEST_RETRY);
                }
            }
        }
    }

    /// Asks for credentials and gives them to the broker; returns how long they are valid.
    async fn renew(&self) -> Result<Option<Duration>, CredentialsError> {
        let Credentials { password, valid_for, .. } =
            timeout(self.patience, self.provider.0.credentials()).await??;
        let reason = ShortString::from_static("the credentials expire");
        update(&self.shared, &password, reason, self.patience).await?;
        debug!("the credentials are renewed");
        Ok(valid_for)
    }
}

/// Returns how long to wait before credentials that are valid for this long are renewed.
fn renewal(valid_for: Duration) -> Duration {
    (valid_for / 5 * 4).max(SOONEST)
}
