//! Reports of what was measured.

pub(crate) mod axis;
pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod plot;
pub(crate) mod summary;
