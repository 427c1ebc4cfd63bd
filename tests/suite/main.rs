//! The integration suite.

mod codec;
