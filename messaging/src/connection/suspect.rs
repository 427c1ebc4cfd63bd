//! Declarations that are suspected because the broker has closed their connection.
//!
//! A broker closes the whole connection for some requests, such as an exchange of a type that it
//! does not know (503). The close names the method at most, and not whose request it was. So the
//! suspect is declared on a connection of its own: only what is refused there as well is to blame.

use amqp_client::{Error as Client, ReplyCode};
use futures_util::future::BoxFuture;

use crate::connection::{entity::Entities, lazy_connection::LazyConnection, setup_error::SetupError};

/// The most times that a setup is repeated because another request ended its connection.
const REPEATS: u32 = 3;

impl LazyConnection {
    /// Runs `setup`, which declares `entities`, and runs it again if the broker closes the
    /// connection meanwhile because of another request.
    ///
    /// # Errors
    /// Those of `setup`; the broker's refusal of the entities.
    pub(crate) fn set_up<'a, T, F>(
        &'a self,
        entities: &'a [Entities],
        setup: impl Fn() -> F + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<T, SetupError>>
    where
        T: Send + 'a,
        F: Future<Output = Result<T, SetupError>> + Send + 'a,
    {
        // The future is boxed, because those of its callers would be nested too deep to compile.
        Box::pin(async move {
            let mut result = setup().await;
            for _ in 0..REPEATS {
                match closed(&result) {
                    // Who closes a connection by hand, or stops the broker, has nothing against it.
                    Some(ReplyCode::CONNECTION_FORCED) => {}
                    Some(_) => self.declare_alone(entities).await?,
                    None => break,
                }
                result = setup().await;
            }
            result
        })
    }

    /// Declares the entities on a connection of their own, which is closed then.
    async fn declare_alone(&self, entities: &[Entities]) -> Result<(), SetupError> {
        let (_turn, connection) = self.connect_alone().await?;
        let channel = connection.open_channel().await.map_err(SetupError::broker("open a channel"))?;
        for entities in entities {
            entities.declare(&channel).await?;
        }
        // All that it declares is there, whatever becomes of the connection.
        let _ = connection.close().await;
        Ok(())
    }
}

/// Returns the code with which the broker has closed the connection, because of this or another
/// request.
fn closed<T>(result: &Result<T, SetupError>) -> Option<ReplyCode> {
    let Err(SetupError::Broker { source, .. }) = result else { return None };
    let source = if let Client::PublishLost(source) = source { source } else { source };
    if let Client::ConnectionClosed(close) = source { Some(close.code) } else { None }
}
