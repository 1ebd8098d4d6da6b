//! The domain of EMS Agent: meters, readings, time, roles, scopes, analytics, audit events.
//!
//! Pure: no IO, no async, and no clock; what depends on "now" takes it as an argument. Types
//! here are valid by construction (parse, don't validate), so no later code asks again.

pub mod analytics;
pub mod audit;
pub mod block;
pub mod calendar;
pub mod clock;
pub mod fault;
pub mod meter;
pub mod policy;
pub mod quantity;
pub mod reading;
pub mod role;
pub mod scope;
pub mod time;

pub use fault::{Fault, FaultCode};
