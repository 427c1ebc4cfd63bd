//! What is to survive the process, noted as it happens.

pub(crate) mod groups;
pub(crate) mod kept;
pub(crate) mod records;
