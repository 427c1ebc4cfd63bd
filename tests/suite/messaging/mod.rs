//! Producers, consumers, RPC and notifications as their users use them: the same tests in memory, against the embedded broker
//! over TCP, and against RabbitMQ.

mod consume;
mod fixture;
mod notify;
mod produce;
mod quickstart;
mod rpc;
mod rpc_wire;
mod transport;

/// Makes one test of each function for each kind of broker.
macro_rules! on_every_broker {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Broker::memory()).await;
            })*
        }

        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Broker::embedded().await).await;
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
