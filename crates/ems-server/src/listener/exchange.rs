//! A request on its way to the service and its response back, with the connection kept informed.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::{ServiceExt, util::Oneshot};

use super::{
    HttpService, PacedBody, Peer, RequestBody,
    activity::{Activity, InFlight},
    bare::Refuse,
    deadline::Pace,
    head::{self, HeadFault},
};

/// The service as one connection sees it.
pub(super) struct Exchange<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) pace: Pace,
    pub(super) activity: Arc<Activity>,
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for Exchange<S> {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Answer<S> {
        let in_flight = self.activity.begin();
        let mut request = request.map(|body| PacedBody::new(Either::Left(body), self.pace));
        request.extensions_mut().insert(self.peer);
        let ambiguous = head::is_ambiguous(&request);
        if ambiguous {
            request.extensions_mut().insert(HeadFault::Unreadable);
        }
        Answer {
            // HTTP/2 knows no such word, and has no rest that could be read differently.
            closes: ambiguous && request.version() < Version::HTTP_2,
            response: self.service.clone().oneshot(request),
            in_flight: Some(in_flight),
        }
    }
}

impl<S: HttpService> Exchange<S> {
    /// What answers for heads that never become a request.
    pub(super) fn refuse(&self) -> Refuse {
        let (service, peer, pace) = (self.service.clone(), self.peer, self.pace);
        Box::new(move |fault| {
            let mut request = Request::new(PacedBody::new(Either::Right(Empty::new()), pace));
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(fault);
            let answer = service.clone().oneshot(request);
            Box::pin(async move {
                match answer.await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                }
            })
        })
    }
}

pin_project! {
    /// The response to come.
    pub(super) struct Answer<S: HttpService> {
        #[pin]
        response: Oneshot<S, Request<RequestBody>>,
        in_flight: Option<InFlight>,
        // Whether the connection ends with it.
        closes: bool,
    }
}

impl<S: HttpService> Future for Answer<S> {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match ready!(this.response.poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if *this.closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let mut in_flight = this.in_flight.take();
        Poll::Ready(Ok(response.map(|body| {
            if let Some(in_flight) = &mut in_flight {
                in_flight.set_unread(!body.is_end_stream());
            }
            TrackedBody {
                inner: body,
                in_flight,
            }
        })))
    }
}

/// A response's body that says whether it waits for the handler or for the client.
///
/// While it is asked for more and has none, it waits for the handler; between giving a part and
/// being asked again, for the client to take that part.
pub(super) struct TrackedBody {
    inner: Body,
    in_flight: Option<InFlight>,
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let gave = matches!(polled, Poll::Ready(Some(Ok(_))));
        if let Some(in_flight) = &mut this.in_flight {
            in_flight.set_unread(gave && !this.inner.is_end_stream());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
