//! One exchange with the service: a request, an answer, deadlines. No redirect is followed here and nothing repeated.

use std::fmt;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::{HeaderMap, Request};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

use crate::tls::{TlsConnector, TlsOptions, TlsRefusal};
use crate::url::HttpUrl;

/// The most that the head of an answer may have.
const MAX_HEAD: usize = 64 << 10;

/// The longest deadline: more cannot be added to every time.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a connection is kept that is not used. Services close such connections after some seconds; a request that
/// meets that fails.
const KEPT: Duration = Duration::from_secs(1);

/// The most that an answer may have. The longest one that means something has some dozen bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// What the requests call themselves.
const USER_AGENT: &str = concat!("patroni_barman/", env!("CARGO_PKG_VERSION"));

/// How long is waited for the network; a day at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the name, for the connection, and for the TLS handshake, each.
    pub connect: Duration,
    /// For the request to be sent, for the head of the answer, and for its body, each.
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    Get,
    /// With a body, which is JSON.
    Post(&'a str),
    Delete,
}

impl Ask<'_> {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post(_) => "POST",
            Self::Delete => "DELETE",
        }
    }

    pub(crate) fn is_post(self) -> bool {
        matches!(self, Self::Post(_))
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct TransportError {
    /// How far it came.
    pub kind: TransportErrorKind,
    /// What happened.
    pub text: String,
}

/// How far an exchange came that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// No byte of the request was sent.
    NotConnected,
    /// The request was sent, at least in part: the service may have acted on it.
    Broken,
    /// Another attempt would end in the same way.
    Hopeless,
}

/// Makes exchanges, one at a time. Connections are kept for the next one where the service allows it, but for a moment
/// only, and not for a POST: a service may close a kept connection at any time, a POST that meets that cannot be
/// repeated, as it may have been acted on, and nobody can tell before.
#[derive(Debug)]
pub(crate) struct Exchanger {
    tls: TlsOptions,
    /// Holds the connection that the last exchange left. Locked while one runs: what [`Witness`] notes is of that one.
    agent: Mutex<Agent>,
    sent: Arc<AtomicBool>,
    deadlines: Deadlines,
}

impl Exchanger {
    pub(crate) fn new(tls: TlsOptions, deadlines: Deadlines) -> Self {
        let sent = Arc::new(AtomicBool::new(false));
        let deadlines = Deadlines {
            connect: deadlines.connect.min(LONGEST_DEADLINE),
            answer: deadlines.answer.min(LONGEST_DEADLINE),
        };
        Self {
            agent: Mutex::new(agent(&tls, deadlines, &sent)),
            tls,
            sent,
            deadlines,
        }
    }

    /// Sends a request and reads the answer.
    pub(crate) fn exchange(&self, url: &HttpUrl, ask: Ask<'_>) -> Result<Reply, TransportError> {
        let mut kept = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if ask.is_post() {
            *kept = agent(&self.tls, self.deadlines, &self.sent);
        }
        self.sent.store(false, Ordering::Relaxed);
        Self::attempt(&kept, url, ask)
            .map_err(|error| describe(&error, self.sent.load(Ordering::Relaxed), self.deadlines))
    }

    fn attempt(agent: &Agent, url: &HttpUrl, ask: Ask<'_>) -> Result<Reply, ureq::Error> {
        let mut response = match ask {
            Ask::Get => agent.run(Request::get(url.as_str()).body(())?),
            Ask::Delete => agent.run(Request::delete(url.as_str()).body(())?),
            Ask::Post(body) => agent.run(
                Request::post(url.as_str())
                    .header("Content-Type", "application/json")
                    .body(body)?,
            ),
        }?;
        let text = |headers: &HeaderMap, name: &str| {
            headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut bytes = Vec::new();
        let status = response.status().as_u16();
        let location = text(response.headers(), "location");
        let retry_after = text(response.headers(), "retry-after");
        response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .reader()
            .read_to_end(&mut bytes)
            .map_err(ureq::Error::from)?;
        Ok(Reply {
            status,
            location,
            retry_after,
            body: bytes,
        })
    }
}

/// A client without a connection.
fn agent(tls: &TlsOptions, deadlines: Deadlines, sent: &Arc<AtomicBool>) -> Agent {
    let Deadlines { connect, answer } = deadlines;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(AutoHeaderValue::Provided(Arc::new(USER_AGENT.to_owned())))
        .accept(AutoHeaderValue::None)
        .accept_encoding(AutoHeaderValue::Provided(Arc::new("identity".to_owned())))
        // Answers are small, and so is this program.
        // The head of an answer must fit in, and one byte more, so that one that is too long is seen.
        .input_buffer_size(MAX_HEAD + 1)
        .output_buffer_size(8 << 10)
        .max_response_header_size(MAX_HEAD)
        .max_idle_age(KEPT)
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_send_request(Some(answer))
        .timeout_send_body(Some(answer))
        .timeout_recv_response(Some(answer))
        .timeout_recv_body(Some(answer))
        .build();
    let connector =
        ().chain(TcpConnector::default())
            .chain(TlsConnector::new(tls.clone()))
            .chain(Witness(Arc::clone(sent)));
    Agent::with_parts(config, connector, DefaultResolver::default())
}

fn describe(error: &ureq::Error, sent: bool, deadlines: Deadlines) -> TransportError {
    let passing = if sent {
        TransportErrorKind::Broken
    } else {
        TransportErrorKind::NotConnected
    };
    let (kind, text) = match error {
        ureq::Error::Other(inner) => match inner.downcast_ref::<TlsRefusal>() {
            Some(refusal) => (TransportErrorKind::Hopeless, refusal.to_string()),
            None => (passing, inner.to_string()),
        },
        ureq::Error::Timeout(_) if sent => (
            passing,
            format!(
                "there was no answer within {} seconds",
                deadlines.answer.as_secs_f32()
            ),
        ),
        ureq::Error::Timeout(_) => (
            passing,
            format!(
                "the connection could not be made within {} seconds",
                deadlines.connect.as_secs_f32()
            ),
        ),
        ureq::Error::Io(io) if !sent => (passing, format!("the connection could not be made: {io}")),
        ureq::Error::Io(io) => (passing, format!("the connection broke: {io}")),
        ureq::Error::HostNotFound => (passing, "the host has no address".to_owned()),
        ureq::Error::BodyExceedsLimit(limit) => (
            TransportErrorKind::Hopeless,
            format!("the answer has more than {limit} bytes"),
        ),
        ureq::Error::LargeResponseHeader(_, limit) => (
            TransportErrorKind::Hopeless,
            format!("the head of the answer has more than {limit} bytes"),
        ),
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => (
            TransportErrorKind::Hopeless,
            format!("the request is not valid: {error}"),
        ),
        ureq::Error::Protocol(error) => (passing, format!("the answer is not HTTP: {error}")),
        other => (passing, other.to_string()),
    };
    TransportError { kind, text }
}

/// Notes when the first byte of a request leaves: before that, a request may be repeated whatever it asks for.
#[derive(Debug)]
struct Witness(Arc<AtomicBool>);

impl<In: Transport> Connector<In> for Witness {
    type Out = Witnessed<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Witnessed {
            inner,
            sent: self.0.clone(),
        }))
    }
}

struct Witnessed<T> {
    inner: T,
    sent: Arc<AtomicBool>,
}

impl<T> fmt::Debug for Witnessed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnessed").finish_non_exhaustive()
    }
}

impl<T: Transport> Transport for Witnessed<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.sent.store(true, Ordering::Relaxed);
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
