//! hyper answers a head that it cannot read by itself, with a status and nothing else. Such an answer
//! is caught on its way out, and the service asked for one of ours: with a problem document, a
//! request id and all header fields, logged as any other.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use http::{Response, header};
use http_body_util::{BodyExt as _, Collected};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::HeadFault;

/// The fields of an answer of hyper's own; every answer of ours has more.
const BARE: [&str; 3] = ["connection", "content-length", "date"];

/// The service's answer to a head of which nothing but the fault is known.
pub(super) type Refusal = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Asks the service for one.
pub(super) type Refuse = Box<dyn Fn(HeadFault) -> Refusal + Send>;

type Rendered = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// A socket on which no bare answer goes out.
pub(super) struct Dressed<I> {
    inner: I,
    refuse: Refuse,
    state: State,
}

enum State {
    Passing,
    /// The service works on an answer.
    Asking(Rendered),
    /// It goes out, from a byte on, in place of the bare one.
    Writing(Vec<u8>, usize),
}

impl<I> Dressed<I> {
    pub(super) fn new(inner: I, refuse: Refuse) -> Self {
        Self {
            inner,
            refuse,
            state: State::Passing,
        }
    }
}

impl<I: AsyncWrite + Unpin> Dressed<I> {
    /// Writes another answer in place of `bytes`, if they are a bare one.
    fn poll_instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<bool>> {
        loop {
            self.state = match &mut self.state {
                State::Passing => match fault(bytes) {
                    None => return Poll::Ready(Ok(false)),
                    Some(fault) => {
                        let refusal = (self.refuse)(fault);
                        let bare = bytes.to_vec();
                        State::Asking(Box::pin(async move { render(refusal.await, bare).await }))
                    }
                },
                State::Asking(answer) => State::Writing(ready!(answer.as_mut().poll(cx)), 0),
                State::Writing(answer, at) => match answer.get(*at..).unwrap_or_default() {
                    [] => {
                        self.state = State::Passing;
                        return Poll::Ready(Ok(true));
                    }
                    rest => match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        written => {
                            *at += written;
                            continue;
                        }
                    },
                },
            };
        }
    }
}

/// The fault that a bare answer tells; `None` for whatever else is written.
fn fault(bytes: &[u8]) -> Option<HeadFault> {
    let fault = match bytes.strip_prefix(b"HTTP/1.1 ")?.first_chunk()? {
        b"400" => HeadFault::Unreadable,
        b"414" => HeadFault::TargetTooLong,
        b"431" => HeadFault::TooLarge,
        _ => return None,
    };
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut fields = head.split("\r\n").skip(1);
    let is_bare = |field: &str| {
        let name = field.split(':').next().unwrap_or_default();
        BARE.iter().any(|bare| name.eq_ignore_ascii_case(bare))
    };
    fields.all(is_bare).then_some(fault)
}

/// An answer as it goes over the wire, with the date of the bare one; that one where it cannot be
/// had.
async fn render(answer: Response<Body>, bare: Vec<u8>) -> Vec<u8> {
    let (parts, body) = answer.into_parts();
    let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
        return bare;
    };
    let mut out = Vec::with_capacity(1024 + body.len());
    let mut put = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    for (name, value) in &parts.headers {
        if *name != header::CONTENT_LENGTH {
            put(name.as_ref(), value.as_bytes());
        }
    }
    put(b"content-length", body.len().to_string().as_bytes());
    put(b"connection", b"close");
    let text = String::from_utf8_lossy(&bare);
    let date = |line: &&str| {
        let name = line.get(..5);
        name.is_some_and(|name| name.eq_ignore_ascii_case("date:"))
    };
    if let Some(date) = text.split("\r\n").find(date) {
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let mut whole = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    whole.extend_from_slice(&out);
    whole.extend_from_slice(b"\r\n");
    whole.extend_from_slice(&body);
    whole
}

impl<I: AsyncRead + Unpin> AsyncRead for Dressed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Dressed<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_instead(cx, bytes))? {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = parts
            && ready!(self.poll_instead(cx, bytes))?
        {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
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
    use super::*;

    #[test]
    fn only_a_whole_bare_answer_is_one() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: Tue, 24 Nov 2026 12:00:00 GMT\r\n\r\n";
        assert_eq!(fault(bare.as_bytes()), Some(HeadFault::TooLarge));
        let with = |field: &str| bare.replace("date:", field);
        for other in [
            bare.replace("431", "200"),
            with("x-request-id: 1\r\ndate:"),
            format!("{bare}{{}}"),
            bare.replace("\r\n\r\n", "\r\n"),
            String::new(),
        ] {
            assert_eq!(fault(other.as_bytes()), None, "{other}");
        }
    }
}
