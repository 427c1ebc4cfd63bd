//! The management page.

mod browsing;
mod files;
