//! Ports for servers that are told theirs.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};
use ems_crypto::random;

/// A port that nobody listens on. Not one that the kernel picks: a server that was killed could
/// find its own taken by some outgoing connection.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = 10_000 + u16::from_be_bytes(random::bytes()) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
