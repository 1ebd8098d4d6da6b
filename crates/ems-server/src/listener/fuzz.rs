//! Fuzz targets of what stands before HTTP: the PROXY header, and the sieve.

use std::net::IpAddr;

use ems_fuzz::Input;
use futures_util::FutureExt as _;

use super::proxy_protocol::read;
pub use super::sieve::fuzz::sieve;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A PROXY header and what follows, with a signature in front where the first byte says so: not a byte
/// past it is read, and the address is the one that stands there.
///
/// # Panics
/// Where that does not hold.
#[expect(clippy::panic, reason = "a fault has to end the fuzzer")]
pub fn proxy(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = match input.byte() % 2 {
        0 => input.rest().to_vec(),
        _ => [SIGNATURE, input.rest()].concat(),
    };
    let mut stream = &*bytes;
    // What lies in memory is always ready.
    let found = read(&mut stream).now_or_never();
    assert!(found.is_some(), "it waits for what does not come");
    let Some(Ok(found)) = found else {
        return;
    };
    let Some((SIGNATURE, [command, family, high, low, rest @ ..])) =
        bytes.split_at_checked(SIGNATURE.len())
    else {
        panic!("a header without a signature");
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    assert_eq!(rest.len() - stream.len(), length, "what follows is left");
    let said: Option<IpAddr> = match (command, family) {
        (0x21, 0x11) => rest.first_chunk::<4>().map(|source| (*source).into()),
        (0x21, 0x21) => rest
            .first_chunk::<16>()
            .map(|source| IpAddr::from(*source).to_canonical()),
        _ => None,
    };
    assert_eq!(found, said);
    assert!(
        found.is_some() || *command == 0x20,
        "LOCAL alone names nobody"
    );
}
