//! The same test on every kind of broker.

/// Makes one test of each function for each kind of broker, which the `Broker` beside the functions knows how to start.
macro_rules! on_every_broker {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Broker::embedded().await).await;
            })*
        }

        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Broker::memory()).await;
            })*
        }

        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(broker) = super::Broker::rabbitmq(test) {
                    super::$name(broker).await;
                }
            })*
        }
    };
}

pub(crate) use on_every_broker;
