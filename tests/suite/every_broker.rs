//! The same tests on every kind of broker.

/// Makes a test of each function for each kind of broker; the module's `Broker` starts them.
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

/// As `on_every_broker`, and on a Redis by its URL. Behind a semicolon come the tests of what a
/// Redis does not have.
macro_rules! on_every_broker_and_redis {
    ($($name:ident),* $(,)? $(; $($amqp_only:ident),* $(,)?)?) => {
        crate::every_broker::on_every_broker!($($name,)* $($($amqp_only,)*)?);

        mod redis {
            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                if let Some(broker) = super::Broker::redis(test).await {
                    super::$name(broker).await;
                }
            })*
        }
    };
}

/// As `on_every_broker`, only for those that are reached over TCP.
macro_rules! on_tcp_brokers {
    ($($name:ident),* $(,)?) => {
        mod over_tcp {
            mod embedded {
                $(#[tokio::test]
                async fn $name() {
                    super::super::$name(super::super::Broker::embedded().await).await;
                })*
            }

            mod rabbitmq {
                $(#[tokio::test]
                async fn $name() {
                    let test = concat!(module_path!(), "::", stringify!($name));
                    if let Some(broker) = super::super::Broker::rabbitmq(test) {
                        super::super::$name(broker).await;
                    }
                })*
            }
        }
    };
}

pub(crate) use {on_every_broker, on_every_broker_and_redis, on_tcp_brokers};
