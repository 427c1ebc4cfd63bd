//! Messages as arguments, JSON, templates and text.

pub(crate) mod assignment;
pub(crate) mod outcomes;
pub(crate) mod printer;
pub(crate) mod properties_arguments;
pub(crate) mod sink;
pub(crate) mod value_json;
pub(crate) mod view;
