//! Sends a request, and repeats it where the provider has not acted on it, or a repeat does no harm (RFC 9110 § 9.2.2).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::{Request, Response, Version, request};
use tokio::time::{Instant, sleep, timeout};

use super::connect::Connected;
use super::error::{ConnectError, SendError};
use super::http2::Unanswered;
use super::pool::{Key, Lease, Need, Sender, Way};
use super::{Inner, Offer, Target, Upstream};
use crate::http::headers::{Protocol, prepare_request};
use crate::http::request::{RequestBody, RequestSource};
use crate::http::splice::Unasked;
use crate::http2::{ReceiveError, Received};
use crate::observe::{Observer, Step, UpstreamEvent};

/// A request that cannot be repeated does not go on a connection unused for longer than this: the server may be closing it.
const SURELY_ALIVE: Duration = Duration::from_secs(2);

/// How often a connection may turn out to be closed before a request was written to it.
const STALE: u32 = 3;

/// How long a new HTTP/2 connection's SETTINGS are waited for, where they matter.
const SETTINGS: Duration = Duration::from_secs(2);

/// What a request needs of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// To be sent.
    Plain,
    /// To switch protocols over HTTP/2 (extended CONNECT, RFC 8441).
    ExtendedConnect,
}

/// A request on its way out.
pub(crate) struct Outgoing {
    pub(crate) parts: request::Parts,
    pub(crate) source: RequestSource,
    /// What the client speaks.
    pub(crate) from: Protocol,
    pub(crate) wish: Wish,
    /// Whether there is no body.
    pub(crate) empty: bool,
    /// Whether the body is surely small enough to be kept for a second attempt.
    pub(crate) small: bool,
    /// How it goes to a provider that refuses to be asked for usage, where it is asked.
    pub(crate) unasked: Option<Box<Unasked>>,
}

impl Upstream {
    /// Sends a request to its target, and returns the head of the response with the connection that carries its body.
    pub(crate) async fn send(
        &self,
        target: &Target,
        outgoing: &Outgoing,
        observer: &Arc<dyn Observer>,
    ) -> Result<(Response<Received>, Lease), SendError> {
        let (mut stale, mut resent) = (0, false);
        loop {
            let max_idle = (!outgoing.small).then_some(SURELY_ALIVE);
            let need = Need { fresh: resent || stale >= STALE, max_idle };
            let mut lease = self.lease(target, outgoing.from, need, observer).await?;
            if outgoing.wish == Wish::ExtendedConnect && !lease.has_extended_connect().await {
                lease.give_back();
                return Err(SendError::NoExtendedConnect { host: Arc::clone(&target.host) });
            }
            let received = lease.wire.received();
            let request = outgoing.request(&lease, &target.host);
            let started = Instant::now();
            let within = self.inner.limits.resend_within;
            let sent = {
                let sending = pin!(lease.send(request));
                outgoing.watch(within, sending).await
            };
            let error = match sent {
                Ok(response) => {
                    outgoing.source.forget_kept();
                    lease.heed(response.headers());
                    return Ok((response, lease));
                }
                Err(error) => error,
            };
            let error = match error {
                Unanswered::Unsent(_) if stale < STALE && outgoing.source.can_repeat() => {
                    // What an earlier attempt took of its body is still there.
                    stale += 1;
                    continue;
                }
                Unanswered::Unsent(error) | Unanswered::Sent(error) => error,
            };
            // By the clock: the failure may be noticed long after a busy machine should have noticed that it is late.
            let harmless = started.elapsed() < within || outgoing.parts.method.is_idempotent();
            let unseen = lease.is_unprocessed(&error) || (harmless && lease.was_stale(received));
            if !resent && unseen && outgoing.source.can_repeat() {
                resent = true;
                observer.upstream(UpstreamEvent::Resent);
                continue;
            }
            return Err(failed(target, error));
        }
    }

    async fn lease(
        &self,
        target: &Target,
        wanted: Protocol,
        need: Need,
        observer: &Arc<dyn Observer>,
    ) -> Result<Lease, SendError> {
        let inner = &self.inner;
        let (host, destination, uid) = (Arc::clone(&target.host), target.destination, target.uid);
        let key = Key { host, destination, uid, plain: target.plain, wanted };
        loop {
            let mut joint = match inner.pool.way(&key, need) {
                Way::Ready(lease) => {
                    observer.upstream(UpstreamEvent::Reused);
                    return Ok(lease);
                }
                Way::MakeOwn => return inner.make(&key, target, observer).await,
                Way::Wait(joint) => joint,
                Way::Make(sender, joint) => {
                    let (inner, key, target) = (Arc::clone(inner), key.clone(), target.clone());
                    let observer = Arc::clone(observer);
                    // On its own task: the first to ask may leave, and the others still wait.
                    tokio::spawn(async move {
                        let result = inner.make_joint(&key, &target, &observer).await;
                        inner.pool.disjoin(&key);
                        sender.send_replace(Some(result));
                    });
                    joint
                }
            };
            let Ok(result) = joint.wait_for(Option::is_some).await.map(|result| result.clone()) else { continue };
            if let Some(Err(error)) = result {
                return Err(SendError::Connect(error));
            }
        }
    }
}

impl Inner {
    async fn make(&self, key: &Key, target: &Target, observer: &Arc<dyn Observer>) -> Result<Lease, SendError> {
        let connected = self.connect_observed(key, target, observer).await?;
        Ok(self.pool.adopt(key, connected))
    }

    async fn make_joint(
        &self,
        key: &Key,
        target: &Target,
        observer: &Arc<dyn Observer>,
    ) -> Result<(), Arc<ConnectError>> {
        let connected = self.connect_observed(key, target, observer).await?;
        self.pool.insert(key, connected);
        Ok(())
    }

    async fn connect_observed(
        &self,
        key: &Key,
        target: &Target,
        observer: &Arc<dyn Observer>,
    ) -> Result<Connected, ConnectError> {
        let started = Instant::now();
        // Boxed, as most requests find a connection: it is the largest part of what each would have to hold.
        let connected = Box::pin(self.connect(target, Offer::wanted(key.wanted))).await;
        if connected.is_ok() {
            observer.took(Step::Connect, started.elapsed());
        }
        observer.upstream(match &connected {
            Ok(connected) => UpstreamEvent::Connected { http2: matches!(connected, Connected::Http2(..)) },
            Err(_) => UpstreamEvent::ConnectFailed,
        });
        connected
    }
}

impl Outgoing {
    /// Waits for the response, and lets go of what was kept for a repeat when it is too late for one.
    /// `sending` is pinned, as it would be held twice: as it was handed in, and as it is awaited.
    async fn watch<T>(&self, within: Duration, mut sending: Pin<&mut impl Future<Output = T>>) -> T {
        if let Ok(sent) = timeout(within, sending.as_mut()).await {
            return sent;
        }
        self.source.forget_kept();
        sending.await
    }

    fn request(&self, lease: &Lease, host: &str) -> Request<RequestBody> {
        let mut parts = self.parts.clone();
        let to = lease.protocol();
        prepare_request(&mut parts, self.from, to, host, self.empty);
        // Any HTTP/2 stream may be refused unprocessed; of HTTP/1.1, only a connection that was used before may be stale.
        let keep = lease.reused || to == Protocol::Http2;
        let mut request = Request::from_parts(parts, self.source.attempt(keep));
        if to == Protocol::Http1 && self.expects_continue() && !self.source.is_received() {
            self.source.hold();
            let source = self.source.clone();
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == http::StatusCode::CONTINUE {
                    source.proceed();
                }
            });
        }
        request
    }

    fn expects_continue(&self) -> bool {
        let expect = self.parts.headers.get(EXPECT);
        self.parts.version == Version::HTTP_11
            && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }
}

impl Lease {
    async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Received>, Unanswered> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                let answered = sender.try_send_request(request).await.map(|response| response.map(Received::Http1));
                answered.map_err(|error| match (error.message().is_some(), error.into_error().into()) {
                    (true, error) => Unanswered::Unsent(error),
                    (false, error) => Unanswered::Sent(error),
                })
            }
            Sender::Http2(requests) => requests.send(request).await,
        }
    }

    /// Whether the server lets HTTP/2 streams switch protocols. Its first frame says so, which may not be here yet.
    async fn has_extended_connect(&mut self) -> bool {
        let Sender::Http2(requests) = &mut self.sender else { return false };
        let deadline = Instant::now() + SETTINGS;
        loop {
            if requests.has_extended_connect() {
                return true;
            }
            let settings_came = self.wire.received() > 0;
            // The connection's task reads what has been received in the meantime.
            sleep(Duration::from_millis(5)).await;
            if requests.is_closed() || Instant::now() > deadline {
                return false;
            }
            if settings_came {
                return requests.has_extended_connect();
            }
        }
    }

    /// Whether the server said of a request that failed like this that it has not acted on it.
    fn is_unprocessed(&self, error: &ReceiveError) -> bool {
        let ReceiveError::Http2(error) = error else { return false };
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // GOAWAY fails the streams that it names unprocessed (RFC 9113 § 6.8) while the connection is still up. Once it has
        // ended, every stream fails with the same error, and nothing is proven.
        let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) && !self.wire.has_ended();
        error.is_remote() && (refused || gone)
    }

    /// Whether the server seems to have closed the unused connection before the request reached it. `received` is what had come
    /// over it before. Browsers repeat such requests whatever the method, and so do we, but only right after they were begun.
    fn was_stale(&self, received: u64) -> bool {
        self.reused && self.wire.received() == received
    }
}

fn failed(target: &Target, error: ReceiveError) -> SendError {
    let host = Arc::clone(&target.host);
    match error {
        ReceiveError::Http1(error) if error.is_parse() => SendError::Protocol { host, error },
        ReceiveError::Http2(error) if error.is_reset() => match error.reason() {
            Some(reason) => SendError::Reset { host, reason },
            None => SendError::Closed { host },
        },
        _ => SendError::Closed { host },
    }
}
