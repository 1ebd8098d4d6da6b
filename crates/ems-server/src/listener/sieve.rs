//! What hyper would take and should not, held back beneath it: heads and chunks that two readers may
//! read differently, and frames that cost us work and mean nothing.
//!
//! It looks at bytes as they pass, copies none of a body, and lets hyper end the connection: where
//! it cuts, hyper reads a few words of ours that it refuses in the way that fits (a 400, a GOAWAY),
//! and then the end. So what was asked before is still answered.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod http1;
mod http2;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{GivenUp, activity::Activity};

/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a stream is cut, and what hyper reads in place of the rest.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    keep: usize,
    last_words: Vec<u8>,
}

/// A socket of which hyper sees only what is plain.
pub(super) struct Sieve<I> {
    inner: I,
    activity: Arc<Activity>,
    stage: Stage,
}

enum Stage {
    /// So many bytes of the preface have come, and nothing else.
    Beginning(usize),
    Http1(http1::Framing),
    Http2(http2::Frames),
    /// The last words, from a byte on; then the end.
    Cut(Vec<u8>, usize),
}

impl<I> Sieve<I> {
    pub(super) fn new(inner: I, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            stage: Stage::Beginning(0),
        }
    }
}

impl Stage {
    fn look(&mut self, bytes: &[u8]) -> Option<Cut> {
        match self {
            Self::Beginning(come) => {
                let due = PREFACE.get(*come..).unwrap_or_default();
                let same = bytes.iter().zip(due).take_while(|(a, b)| a == b).count();
                if same == due.len() {
                    *self = Self::Http2(http2::Frames::new());
                } else if same == bytes.len() {
                    *come += same;
                    return None;
                } else {
                    let mut framing = http1::Framing::new();
                    let earlier = framing.look(PREFACE.get(..*come).unwrap_or_default());
                    *self = Self::Http1(framing);
                    if let Some(cut) = earlier {
                        return Some(Cut { keep: 0, ..cut });
                    }
                    return self.look(bytes);
                }
                let cut = self.look(bytes.get(same..).unwrap_or_default())?;
                Some(Cut {
                    keep: cut.keep + same,
                    ..cut
                })
            }
            Self::Http1(framing) => framing.look(bytes),
            Self::Http2(frames) => frames.look(bytes),
            Self::Cut(..) => None,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Sieve<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if !matches!(this.stage, Stage::Cut(..)) {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
            let come = buffer.filled().get(before..).unwrap_or_default();
            let Some(cut) = this.stage.look(come) else {
                return Poll::Ready(Ok(()));
            };
            buffer.set_filled(before + cut.keep);
            this.activity.give_up(match this.stage {
                Stage::Http2(_) => GivenUp::Flood,
                _ => GivenUp::Ambiguous,
            });
            this.stage = Stage::Cut(cut.last_words, 0);
        }
        if let Stage::Cut(words, said) = &mut this.stage {
            let rest = words.get(*said..).unwrap_or_default();
            let rest = rest.get(..buffer.remaining()).unwrap_or(rest);
            buffer.put_slice(rest);
            *said += rest.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Sieve<I> {
    /// Notes what went out: an HTTP/2 client has to answer it.
    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Stage::Http2(frames)) = (&written, &mut self.stage) {
            frames.sent(*bytes);
        }
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Sieve<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Pieces of which requests and frames are made, and what may stand between them.
    const PIECES: [&[u8]; 26] = [
        PREFACE,
        b"PRI * ",
        b"GET / HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding: gzip\r\n",
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"5\r\n",
        b"5;x=y\r\n",
        b"5 \r\n",
        b"0\r\n",
        b"hello",
        b"hello\r\n",
        b"0000000000000000000000000000000000000000000000000000",
        b"Content-Length: ",
        b":",
        b"\0\0\x08\x06\0\0\0\0\0........",
        b"\0\0\x02\x01\x05\0\0\0\x01\x82\x86",
        b"\0\0\x01\x01\0\0\0\0\x03\x82",
        b"\0\0\0\x09\0\0\0\0\x03",
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
        b"\0\0\0\0\0\0\0\0\x01",
    ];

    /// Where a stream that comes so many bytes at a time is cut.
    fn cut_of(bytes: &[u8], step: usize) -> Option<Cut> {
        let mut stage = Stage::Beginning(0);
        let mut before = 0;
        bytes.chunks(step).find_map(|come| {
            let cut = stage.look(come);
            let keep = before;
            before += come.len();
            cut.map(|cut| Cut {
                keep: keep + cut.keep,
                ..cut
            })
        })
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_up_decides_nothing(
            pieces in vec(select(&PIECES[..]), 0..12),
            times in 1..60_usize,
            step in 1..40_usize,
        ) {
            let mut bytes = pieces.concat().repeat(times);
            if pieces.len() % 2 == 0 {
                bytes.splice(0..0, PREFACE.iter().copied());
            }
            prop_assert_eq!(cut_of(&bytes, step), cut_of(&bytes, usize::MAX));
        }
    }

    /// What hyper would read of a client that sends `bytes`, `step` at a time.
    async fn seen(bytes: &[u8], step: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(step);
        let bytes = bytes.to_vec();
        let sent = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // A stream that was cut takes no more.
            let _ = client.write_all(&bytes).await;
        });
        let mut seen = Vec::new();
        Sieve::new(server, Activity::new())
            .read_to_end(&mut seen)
            .await
            .unwrap();
        sent.await.unwrap();
        seen
    }

    #[tokio::test]
    async fn what_is_plain_passes_as_it_came_however_it_is_cut_up() {
        let requests: &[u8] = b"\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\n\n\n\
            PRI / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n2\r\n\n\n\r\n00A;x=y\r\n0123456789\r\n\
            0\r\nA: 1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let frames = [
            PREFACE,
            b"\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x82\x86",
        ]
        .concat();
        for whole in [requests, &frames] {
            for step in [1, 2, 3, 7, 24, 4096] {
                assert_eq!(seen(whole, step).await, whole, "{step}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_is_cut_in_the_same_place_however_it_is_cut_up() {
        let bare: &[u8] = b"GET / HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n";
        let chunk: &[u8] = b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n";
        let pings = [PREFACE, &b"\0\0\x08\x06\0\0\0\0\0........".repeat(200)].concat();
        for step in [1, 2, 3, 7, 24, 4096] {
            assert_eq!(
                seen(bare, step).await,
                b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n"
            );
            assert_eq!(seen(chunk, step).await, chunk[..chunk.len() - 8]);
            let seen = seen(&pings, step).await;
            assert_eq!(seen[..24 + 17 * 101], pings[..24 + 17 * 101], "{step}");
            assert_eq!(seen[24 + 17 * 101 + 3], 1, "{step}");
        }
    }
}
