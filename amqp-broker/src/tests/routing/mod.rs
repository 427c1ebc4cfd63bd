//! Where messages go, and what of them is kept on the way.

mod copies;
mod dead_letters;
mod deep_headers;
mod reply_to;
