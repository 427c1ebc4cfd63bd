//! The management page.

mod files;
