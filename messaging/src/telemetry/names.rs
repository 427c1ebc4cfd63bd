//! The names that OpenTelemetry's conventions give to attributes, values and metrics.

pub(super) const SYSTEM: &str = "messaging.system";
pub(super) const RABBITMQ: &str = "rabbitmq";
pub(super) const OPERATION_NAME: &str = "messaging.operation.name";
pub(super) const OPERATION_TYPE: &str = "messaging.operation.type";
pub(super) const DESTINATION_NAME: &str = "messaging.destination.name";
pub(super) const DESTINATION_TEMPORARY: &str = "messaging.destination.temporary";
pub(super) const DESTINATION_ANONYMOUS: &str = "messaging.destination.anonymous";
pub(super) const ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
pub(super) const MESSAGE_ID: &str = "messaging.message.id";
pub(super) const CONVERSATION_ID: &str = "messaging.message.conversation_id";
pub(super) const BATCH_COUNT: &str = "messaging.batch.message_count";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";

#[cfg(feature = "oslo")]
pub(super) const RPC_SYSTEM: &str = "rpc.system.name";
#[cfg(feature = "oslo")]
pub(super) const OSLO: &str = "oslo.messaging";
#[cfg(feature = "oslo")]
pub(super) const RPC_METHOD: &str = "rpc.method";
#[cfg(feature = "oslo")]
pub(super) const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// The value for what has no name of its own.
#[cfg(feature = "oslo")]
pub(super) const OTHER: &str = "_OTHER";

pub(super) const OPERATION_DURATION: &str = "messaging.client.operation.duration";
pub(super) const PROCESS_DURATION: &str = "messaging.process.duration";
pub(super) const SENT_MESSAGES: &str = "messaging.client.sent.messages";
pub(super) const CONSUMED_MESSAGES: &str = "messaging.client.consumed.messages";

// The conventions have no names for these.
pub(super) const CONNECTIONS: &str = "amqp.client.connections";
pub(super) const RECONNECTS: &str = "amqp.client.reconnects";
pub(super) const BLOCKED_TIME: &str = "amqp.client.blocked.time";
pub(super) const ROLE: &str = "amqp.client.connection.role";
