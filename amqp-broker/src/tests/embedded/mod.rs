//! What tests of clients do with a broker: inject faults, and inspect it.

mod faults;
mod inspection;
mod publish_faults;
