//! Limits, and large numbers.

mod absence;
mod limits;
mod scale;
