//! Where the versions of RabbitMQ differ: each difference is a named fact, and each version has a
//! value for it. Code asks for the fact and never for the version.

/// What a version of RabbitMQ does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The version that is announced.
    pub(crate) patch: &'static str,
    pub(crate) copyright: &'static str,
    /// The largest body by default, in bytes.
    pub(crate) max_message_size: u64,
    /// Clients may log in with ANONYMOUS as `guest` by default.
    pub(crate) anonymous_is_guest: bool,
}

pub(super) const V3_10: Profile = Profile {
    patch: "3.10.8",
    copyright: "Copyright (c) 2007-2022 VMware, Inc. or its affiliates.",
    max_message_size: 128 << 20,
    anonymous_is_guest: false,
};

pub(super) const V4_0: Profile = Profile {
    patch: "4.0.9",
    copyright: "Copyright (c) 2007-2024 Broadcom Inc and/or its subsidiaries",
    max_message_size: 16 << 20,
    anonymous_is_guest: true,
};

pub(super) const V4_2: Profile = Profile {
    patch: "4.2.9",
    copyright: "Copyright (c) 2007-2025 Broadcom Inc and/or its subsidiaries",
    ..V4_0
};

pub(super) const V4_3: Profile = Profile {
    patch: "4.3.6",
    copyright: "Copyright (c) 2007-2026 Broadcom Inc and/or its subsidiaries",
    ..V4_2
};
