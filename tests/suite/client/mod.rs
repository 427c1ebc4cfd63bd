//! The client as its users use it, on every broker there is: the same tests against the embedded broker over TCP and in memory,
//! and against RabbitMQ.

mod alarm;
mod bad_input;
mod channel;
mod connect;
mod consume;
mod fixture;
mod publish;
mod tls;
mod topology;

/// Makes one test of each function for each kind of broker.
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

use on_every_broker;
