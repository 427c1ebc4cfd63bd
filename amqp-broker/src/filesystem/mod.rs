//! A backend in folders: kombu's `filesystem://`. A message is a file, and each exchange has a file
//! with its bindings. It is the smallest complete [`Backend`](crate::backend::Backend), and so the
//! example for whoever writes one.
//!
//! Files and names are those of kombu 5.7, so that Python and AMQP clients work on the same
//! folders. In one respect it is safer: a message that is delivered stays in its folder under
//! another name until it is acknowledged, and returns when its reader is gone.
//!
//! A file that ends like a message or like an exchange's bindings and is none, or that its writer
//! has not finished for seconds, stays as it is and is logged once. An exchange with such a file
//! cannot be used (406).

mod claims;
mod clock;
mod folders;
mod left_alone;
mod link;
mod messages;
mod names;
mod options;
mod tables;

pub use self::{
    link::{Filesystem, FilesystemLink},
    options::{FilesystemOptions, FilesystemUrlError},
};
