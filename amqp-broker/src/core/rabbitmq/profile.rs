//! The differences between the versions of RabbitMQ: each is a named fact, and each version has a
//! value for it. Code asks for the fact and never for the version.

use amqp_codec::{FRAME_MIN_SIZE, ReplyCode};

/// The order of messages in a quorum queue by their priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuorumPriorities {
    /// It does not.
    None,
    /// Messages above priority 4 are preferred two to one.
    TwoToOne,
    /// The highest comes first; higher ones than this count as this.
    Strict(u8),
}

/// The keys that the definitions of policies have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PolicyKeys {
    /// Those of mirrored queues among them.
    Mirrors,
    /// Those of mirrored queues are gone, and others are there.
    NoMirrors,
    /// Those of delayed retries are there too.
    Delays,
}

/// The facts of a version of RabbitMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The version that is announced.
    pub(crate) patch: &'static str,
    pub(crate) copyright: &'static str,
    /// The largest body by default, in bytes.
    pub(crate) max_message_size: u64,
    /// AMQP 0-8 is spoken, here until a virtual host is open.
    pub(crate) speaks_0_8: bool,
    /// A client with another protocol is told that AMQP 1.0 is spoken.
    pub(crate) refers_to_1_0: bool,
    /// The smallest frame_max that a client may ask for, in bytes; frames up to this size are read
    /// before one is agreed on.
    pub(crate) least_frame_max: u32,
    /// A direct reply whose requester is there counts as routed, and is not returned.
    pub(crate) direct_replies_are_routed: bool,
    /// The code that refuses an exchange of an unknown type.
    pub(crate) unknown_exchange_type: ReplyCode,
    /// In headers exchanges a float equals the integer of its value.
    pub(crate) float_equals_integer: bool,
    /// The top-level headers of every message are sorted by name.
    pub(crate) sorts_headers: bool,
    /// A queue that names no type has one all the same when declarations are compared.
    pub(crate) queue_type_is_known: bool,
    /// Classic queues know `x-queue-leader-locator`.
    pub(crate) classic_leader_locator: bool,
    /// Consumers know `x-credit`, and those of classic queues `x-cancel-on-ha-failover`.
    pub(crate) consumer_credit: bool,
    /// Streams know filters.
    pub(crate) stream_filters: bool,
    /// Refusals about consumers of a stream say `stream queue 'NAME'`.
    pub(crate) streams_by_type: bool,
    /// Whoever rejects a message of a stream loses the connection; otherwise that acknowledges it.
    pub(crate) streams_refuse_rejections: bool,
    /// Messages of a stream that have no delivery mode are delivered with mode 1.
    pub(crate) streams_set_delivery_mode: bool,
    /// The number of returns of a message to a quorum queue that sets no limit.
    pub(crate) delivery_limit: Option<u64>,
    /// A negative delivery limit is none, and not zero.
    pub(crate) negative_limit_is_none: bool,
    /// The first `basic.get` from a quorum queue carries `x-delivery-count` 0.
    pub(crate) first_get_is_counted: bool,
    /// A message that a client returns to a quorum queue without a limit goes to its end.
    pub(crate) unlimited_returns_go_last: bool,
    /// The order of priorities in quorum queues.
    pub(crate) quorum_priorities: QuorumPriorities,
    /// Queues that are neither durable nor exclusive may be declared.
    pub(crate) transient_queues: bool,
    /// A prefetch for the whole channel is taken as one for each consumer.
    pub(crate) global_prefetch_is_per_consumer: bool,
    /// The oldest version of classic queues.
    pub(crate) least_queue_version: u64,
    /// Of what returns to a quorum queue, only failed deliveries count towards the delivery limit:
    /// rejected ones, and those of channels that end.
    pub(crate) only_failures_count: bool,
    /// Quorum queues delay what returns, if they are asked to.
    pub(crate) delayed_retries: bool,
    /// Only quorum queues have an acknowledgement timeout, which ends the consumer where the client
    /// is told of that, and not the channel.
    pub(crate) timeouts_end_consumers: bool,
    /// A passive declaration needs some permission on the name.
    pub(crate) passive_needs_permission: bool,
    /// Deaths are what the broker has recorded, whatever a publisher writes into `x-death`.
    pub(crate) deaths_are_recorded: bool,
    /// Clients may log in with ANONYMOUS as `guest` by default.
    pub(crate) anonymous_is_guest: bool,
    pub(crate) policy_keys: PolicyKeys,
    /// The most publishes of a transaction that is not committed yet.
    pub(crate) most_in_transaction: usize,
    /// Two maximum ages of a stream are equal if they are as long.
    pub(crate) ages_are_compared_as_times: bool,
    /// A refusal for want of permission says whether it is one to configure, write or read.
    pub(crate) refusals_name_the_act: bool,
    /// Topic permissions are checked for the keys in `CC` and `BCC` too.
    pub(crate) copies_need_topic_permission: bool,
    /// Imported bindings of entities that are not there are passed over.
    pub(crate) passes_over_lost_bindings: bool,
    /// Definitions have the descriptions and tags of virtual hosts.
    pub(crate) exports_descriptions: bool,
}

pub(super) const V3_10: Profile = Profile {
    patch: "3.10.8",
    copyright: "Copyright (c) 2007-2022 VMware, Inc. or its affiliates.",
    max_message_size: 128 << 20,
    speaks_0_8: true,
    refers_to_1_0: false,
    least_frame_max: FRAME_MIN_SIZE,
    direct_replies_are_routed: false,
    unknown_exchange_type: ReplyCode::COMMAND_INVALID,
    float_equals_integer: true,
    sorts_headers: false,
    queue_type_is_known: false,
    classic_leader_locator: false,
    consumer_credit: true,
    stream_filters: false,
    streams_by_type: false,
    streams_refuse_rejections: true,
    streams_set_delivery_mode: false,
    delivery_limit: None,
    negative_limit_is_none: false,
    first_get_is_counted: true,
    unlimited_returns_go_last: true,
    quorum_priorities: QuorumPriorities::None,
    transient_queues: true,
    global_prefetch_is_per_consumer: false,
    least_queue_version: 1,
    only_failures_count: false,
    delayed_retries: false,
    timeouts_end_consumers: false,
    passive_needs_permission: false,
    deaths_are_recorded: false,
    anonymous_is_guest: false,
    policy_keys: PolicyKeys::Mirrors,
    most_in_transaction: usize::MAX,
    refusals_name_the_act: false,
    copies_need_topic_permission: false,
    passes_over_lost_bindings: true,
    exports_descriptions: false,
    ages_are_compared_as_times: false,
};

pub(super) const V4_0: Profile = Profile {
    patch: "4.0.9",
    copyright: "Copyright (c) 2007-2024 Broadcom Inc and/or its subsidiaries",
    max_message_size: 16 << 20,
    speaks_0_8: false,
    refers_to_1_0: true,
    least_frame_max: FRAME_MIN_SIZE,
    direct_replies_are_routed: false,
    unknown_exchange_type: ReplyCode::PRECONDITION_FAILED,
    float_equals_integer: false,
    sorts_headers: true,
    queue_type_is_known: true,
    classic_leader_locator: true,
    consumer_credit: false,
    stream_filters: true,
    streams_by_type: true,
    streams_refuse_rejections: false,
    streams_set_delivery_mode: true,
    delivery_limit: Some(20),
    negative_limit_is_none: true,
    first_get_is_counted: false,
    unlimited_returns_go_last: false,
    quorum_priorities: QuorumPriorities::TwoToOne,
    transient_queues: true,
    global_prefetch_is_per_consumer: false,
    least_queue_version: 1,
    only_failures_count: false,
    delayed_retries: false,
    timeouts_end_consumers: false,
    passive_needs_permission: false,
    deaths_are_recorded: true,
    anonymous_is_guest: true,
    policy_keys: PolicyKeys::NoMirrors,
    most_in_transaction: usize::MAX,
    refusals_name_the_act: true,
    copies_need_topic_permission: true,
    passes_over_lost_bindings: false,
    exports_descriptions: true,
    ages_are_compared_as_times: false,
};

pub(super) const V4_2: Profile = Profile {
    patch: "4.2.9",
    least_frame_max: 8192,
    direct_replies_are_routed: true,
    copyright: "Copyright (c) 2007-2025 Broadcom Inc and/or its subsidiaries",
    ..V4_0
};

pub(super) const V4_3: Profile = Profile {
    patch: "4.3.6",
    quorum_priorities: QuorumPriorities::Strict(31),
    transient_queues: false,
    global_prefetch_is_per_consumer: true,
    least_queue_version: 2,
    only_failures_count: true,
    delayed_retries: true,
    timeouts_end_consumers: true,
    passive_needs_permission: true,
    policy_keys: PolicyKeys::Delays,
    most_in_transaction: 10_000,
    ages_are_compared_as_times: true,
    copyright: "Copyright (c) 2007-2026 Broadcom Inc and/or its subsidiaries",
    ..V4_2
};
