#![doc = include_str!("../README.md")]

mod api_error;
mod commands;
mod connection;
mod context;
mod contexts;
mod error;
mod exit;
mod interrupt;
mod load;
mod management;
mod message;
mod output;
mod program;
mod records;

pub use program::main;
