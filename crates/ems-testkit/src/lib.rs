//! For tests: a whole server over TLS on a port of its own, in a directory that cleans up after
//! itself, with a clock that the test turns, and callers that speak to it.
//!
//! Nothing is mocked: an instance is made as `ems init` makes one, and every request goes over a
//! socket through every layer. [`mongo`] and [`redis`] start real ones for what speaks to
//! them.

mod attempt;
mod caller;
mod clock;
pub mod mongo;
mod port;
mod process;
pub mod provider;
pub mod receiver;
pub mod redis;
mod server;

pub use caller::{Answer, Caller};
pub use clock::TestClock;
pub use process::{Binary, Ran, TestProcess, secret_file};
pub use redis::{Proxy as RedisProxy, Redis};
pub use rustix::process::Signal;
pub use server::{ADMIN, Builder, MONGO_URI, TestServer, files};
