//! A fuzz target: what the sieve lets through is what came, and how it came in pieces decides nothing.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use ems_fuzz::{Input, linear};
use tokio::io::{AsyncRead, ReadBuf};

use super::{Cut, PREFACE, Sieve, Stage};

/// More than the last words of any cut.
const LAST_WORDS: usize = 1024;

/// A stream in pieces: the first byte says how many bytes come first, the second how many at a time
/// from there on, and whether the preface of HTTP/2 stands in front. The verdict is that of the whole
/// at once; what hyper reads is the stream, or its start and then a few words.
///
/// # Panics
/// Where that does not hold.
pub fn sieve(data: &[u8]) {
    let mut input = Input::new(data);
    let (first, kind) = (usize::from(input.byte()), input.byte());
    let step = 1 + usize::from(kind >> 1);
    let bytes = match kind % 2 {
        0 => input.rest().to_vec(),
        _ => [PREFACE, input.rest()].concat(),
    };
    let whole = cut_of(&bytes, bytes.len(), bytes.len().max(1));
    for (first, step) in [(first, step), (0, 1)] {
        assert_eq!(cut_of(&bytes, first, step), whole);
    }
    let seen = seen(&bytes, first.max(1), step);
    match whole {
        None => assert!(seen == bytes, "what is plain passes as it came"),
        Some(cut) => {
            let kept = bytes.get(..cut.keep).unwrap_or_default();
            assert!(cut.keep <= bytes.len() && cut.last_words.len() <= LAST_WORDS);
            assert_eq!(seen, [kept, &cut.last_words].concat());
        }
    }
    linear(&bytes, |bytes| {
        cut_of(bytes, bytes.len(), bytes.len().max(1));
    });
}

/// Where a stream is cut of which `first` bytes come at once, and then `step` at a time.
fn cut_of(bytes: &[u8], first: usize, step: usize) -> Option<Cut> {
    let mut stage = Stage::Beginning(0);
    let (start, rest) = bytes.split_at_checked(first).unwrap_or((bytes, &[]));
    let mut before = 0;
    std::iter::once(start)
        .chain(rest.chunks(step))
        .find_map(|come| {
            let cut = stage.look(come);
            let keep = before;
            before += come.len();
            cut.map(|cut| Cut {
                keep: keep + cut.keep,
                ..cut
            })
        })
}

/// A stream that gives so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = self.1.min(buffer.remaining());
        let (come, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        buffer.put_slice(come);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

/// What hyper would read, `room` bytes at a time.
fn seen(bytes: &[u8], room: usize, step: usize) -> Vec<u8> {
    let mut sieve = Sieve::new(Pieces(bytes, step), super::super::activity::Activity::new());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut seen = Vec::new();
    loop {
        let mut room = vec![0; room];
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(&mut sieve).poll_read(&mut context, &mut buffer);
        assert!(matches!(read, Poll::Ready(Ok(()))), "it waits for nothing");
        if buffer.filled().is_empty() {
            return seen;
        }
        seen.extend_from_slice(buffer.filled());
    }
}
