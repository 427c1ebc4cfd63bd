//! A cluster of RabbitMQ nodes whose leaders are killed, whose nodes are stopped, and whose network
//! is cut, by a seed, while clients of all kinds go on; and the account of all that they did.

mod account;
mod body;
mod calls;
mod clients;
mod continuity;
mod direct;
mod faults;
mod history;
mod load;
mod partition;
mod plan;
mod report;
mod run;
mod services;

pub use account::{Account, Fate, Sums};
pub use plan::{Kind, ROUND};
pub use report::Report;
pub use run::{Request, run};
