//! The broker over HTTP.

mod page;
