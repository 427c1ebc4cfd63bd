//! Tests of the broker inside other tests: faults are injected, and it is inspected.

mod faults;
mod inspection;
mod publish_faults;
