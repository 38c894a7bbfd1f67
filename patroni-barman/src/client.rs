//! The client: typed operations on the API. Deadlines, repeated attempts, redirects, patience where the service asks
//! for it.
//!
//! Two layers repeat. A *request* is sent again at once when the connection failed, three times at most, and a POST
//! only while no byte of it was sent. An *answer* that cannot be used is asked for again after a pause, as often as
//! [`Attempts`] says, and only if another answer can be hoped for ([`ApiError::hope`]).

use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::events::{Event, Host};
use crate::protocol::{self, NewOperation, Progress, Unfit};
use crate::secrets::Secrets;
use crate::tls::TlsOptions;
use crate::transport::{Ask, Deadlines, Exchanger, Reply, TransportError, TransportErrorKind};
use crate::url::{HttpUrl, UrlError, segment};

/// How often one request is repeated: connections that failed, redirects and waits that were asked for, together.
const REPEATS: u32 = 3;

/// The longest wait that a service can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The longest pause between two attempts to get a usable answer, unless the user wants longer ones.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The shortest pause after a failure of the service: operations of one second have one id, so the next attempt must
/// fall into another one.
const SHORTEST_BACKOFF: Duration = Duration::from_secs(1);

/// How often an answer that cannot be used is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How often in all. Without any, nothing is sent.
    pub max: i64,
    /// How long to wait between two.
    pub wait: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            max: 5,
            wait: Duration::from_secs(2),
        }
    }
}

/// Options of a [`PgBackupApi`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiOptions {
    /// Certificates, for `https`.
    pub tls: TlsOptions,
    /// Limits of waiting.
    pub deadlines: Deadlines,
    /// Attempts.
    pub attempts: Attempts,
}

/// Why an operation of the API failed. The messages have no secret and are one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The service says of itself that it is not well.
    #[error("The API at {url} is not OK: it answered {answer}")]
    NotOk {
        /// Base URL.
        url: String,
        /// What it said.
        answer: String,
    },
    /// No answer.
    #[error("{method} {url} failed: {error}")]
    Transport {
        /// Method of the request.
        method: &'static str,
        /// URL of the request.
        url: String,
        /// Why.
        error: TransportError,
    },
    /// A redirect that is not followed.
    #[error("{method} {url} was redirected, {reason}")]
    Redirect {
        /// Method of the request.
        method: &'static str,
        /// URL of the request that was answered so.
        url: String,
        /// Why it is not followed.
        reason: String,
    },
    /// An answer that cannot be used.
    #[error("{method} {url} was answered with HTTP status {status}: {reason}")]
    Answer {
        /// Method of the request.
        method: &'static str,
        /// URL of the request.
        url: String,
        /// HTTP status of the answer.
        status: u16,
        /// What is wrong with it.
        reason: String,
        /// Whether another attempt may bring a better one.
        hope: Hope,
    },
    /// The API's URL and the server's name give no URL.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// Nothing was tried.
    #[error("--max-retries {0} allows no attempt")]
    NoAttempt(i64),
    /// It takes longer than allowed.
    #[error("it did not end within {} seconds, the limit of --operation-timeout", .0.as_secs())]
    TooLong(Duration),
    /// The [`Host`] does not want to wait any more.
    #[error("cancelled")]
    Cancelled,
}

/// What another attempt may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hope {
    /// The same again.
    None,
    /// Perhaps a whole answer, after the usual pause.
    Soon,
    /// Perhaps a service that has recovered, after a pause that grows.
    Later,
}

impl ApiError {
    /// What another attempt may bring.
    pub fn hope(&self) -> Hope {
        match self {
            Self::Answer { hope, .. } => *hope,
            _ => Hope::None,
        }
    }

    /// Whether the service may have done what it was asked for by a POST, though there is no answer that says so.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Transport {
                method: "POST",
                error,
                ..
            } => error.kind == TransportErrorKind::Broken,
            // A proxy that gave up waiting, or an answer that makes no sense.
            Self::Answer {
                method: "POST",
                status,
                ..
            } => matches!(status, 0..300 | 502 | 504),
            _ => false,
        }
    }
}

/// A `pg-backup-api` service.
///
/// ```no_run
/// use patroni_barman::protocol::NewOperation;
/// use patroni_barman::{ApiOptions, PgBackupApi, Silent};
///
/// let api = PgBackupApi::new("https://barman:7480", ApiOptions::default())?;
/// api.check(&mut Silent)?;
/// let id = api.create("main", &NewOperation::Reset, &mut Silent)?;
/// println!("{:?}", api.status("main", &id, &mut Silent)?);
/// # Ok::<(), patroni_barman::ApiError>(())
/// ```
#[derive(Debug)]
pub struct PgBackupApi {
    base: HttpUrl,
    exchanger: Exchanger,
    attempts: Attempts,
    secrets: Secrets,
}

/// A request and its answer.
struct Exchange {
    method: &'static str,
    url: String,
    reply: Reply,
}

impl PgBackupApi {
    /// A client for the service at `api_url`. Nothing is sent.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(api_url: &str, options: ApiOptions) -> Result<Self, UrlError> {
        Ok(Self {
            base: HttpUrl::parse(api_url)?,
            exchanger: Exchanger::new(options.tls, options.deadlines),
            attempts: options.attempts,
            secrets: Secrets::default(),
        })
    }

    /// The base URL.
    pub fn base(&self) -> &HttpUrl {
        &self.base
    }

    /// Asks the service whether it is well (`GET status`).
    ///
    /// # Errors
    /// It is not, or cannot be asked.
    pub fn check(&self, host: &mut dyn Host) -> Result<(), ApiError> {
        let last = self.base.last_segment();
        if !last.is_empty() {
            let example = self.base.join("status")?;
            host.tell(&Event::NoSlash {
                segment: last,
                example: example.as_str(),
            });
        }
        let exchange = self.request("status", Ask::Get, host)?;
        match protocol::read_health(&exchange.reply.body) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(answer)) => Err(ApiError::NotOk {
                url: self.base.as_str().to_owned(),
                answer: protocol::excerpt(answer.as_bytes()),
            }),
            Err(unfit) => Err(exchange.unfit(&unfit, &self.secrets)),
        }
    }

    /// Creates an operation of a server (`POST servers/<server>/operations`), and gives its id.
    ///
    /// # Errors
    /// The service does not, or does not say so in all attempts.
    pub fn create(
        &self,
        server: &str,
        operation: &NewOperation,
        host: &mut dyn Host,
    ) -> Result<String, ApiError> {
        let path = format!("servers/{}/operations", segment(server));
        let body = operation.to_json();
        self.secrets.of(operation);
        let call = format!("create the {} operation", operation.name());
        self.attempt(&call, host, |host| {
            let exchange = self.request(&path, Ask::Post(&body), host)?;
            protocol::read_created(&exchange.reply.body)
                .map_err(|unfit| exchange.unfit(&unfit, &self.secrets))
        })
    }

    /// Asks for the state of an operation (`GET servers/<server>/operations/<id>`). What the service tells of its output
    /// has no ssh command that this client has sent.
    ///
    /// # Errors
    /// The service does not say in all attempts.
    pub fn status(&self, server: &str, id: &str, host: &mut dyn Host) -> Result<Progress, ApiError> {
        let path = operation_path(server, id);
        let call = format!(
            "learn the state of operation {}",
            protocol::excerpt(id.as_bytes())
        );
        self.attempt(&call, host, |host| {
            let exchange = self.request(&path, Ask::Get, host)?;
            let mut progress = protocol::read_progress(&exchange.reply.body)
                .map_err(|unfit| exchange.unfit(&unfit, &self.secrets))?;
            progress.output = progress.output.map(|output| self.secrets.hide(&output));
            Ok(progress)
        })
    }

    /// Asks to end an operation (`DELETE servers/<server>/operations/<id>`), and tells whether the service does: the
    /// original knows no such request.
    ///
    /// # Errors
    /// The service cannot be asked.
    pub fn cancel(&self, server: &str, id: &str, host: &mut dyn Host) -> Result<bool, ApiError> {
        let exchange = self.request(&operation_path(server, id), Ask::Delete, host)?;
        Ok(matches!(exchange.reply.status, 200 | 202 | 204))
    }

    /// Repeats a call while there is hope and an attempt left.
    fn attempt<T>(
        &self,
        name: &str,
        host: &mut dyn Host,
        mut call: impl FnMut(&mut dyn Host) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let Attempts { max, wait } = self.attempts;
        let mut backoff = wait.max(SHORTEST_BACKOFF);
        let mut attempt = 1;
        loop {
            if attempt > max {
                return Err(ApiError::NoAttempt(max));
            }
            let error = match call(host) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let pause = match error.hope() {
                Hope::None => return Err(error),
                Hope::Soon => wait,
                Hope::Later => {
                    let pause = backoff;
                    backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF.max(wait));
                    pause
                }
            };
            host.tell(&Event::BadAnswer {
                attempt,
                max,
                call: name,
                why: &error.to_string(),
            });
            if attempt == max {
                return Err(error);
            }
            rest(host, pause)?;
            attempt += 1;
        }
    }

    /// Sends one request until it has an answer that is neither a redirect nor a wish to wait.
    fn request(&self, path: &str, ask: Ask<'_>, host: &mut dyn Host) -> Result<Exchange, ApiError> {
        let mut url = self.base.join(path)?;
        let mut ask = ask;
        let mut left = REPEATS;
        loop {
            let method = ask.method();
            let here = url.as_str().to_owned();
            let reply = match self.exchanger.exchange(&url, ask) {
                Ok(reply) => reply,
                Err(error) => {
                    let repeatable = match error.kind {
                        TransportErrorKind::NotConnected => true,
                        // The service may have acted on a POST.
                        TransportErrorKind::Broken => !ask.is_post(),
                        TransportErrorKind::Hopeless => false,
                    };
                    if !repeatable || left == 0 {
                        return Err(ApiError::Transport {
                            method,
                            url: here,
                            error,
                        });
                    }
                    left -= 1;
                    host.tell(&Event::Reconnecting {
                        left,
                        cause: &error.text,
                        path: url.path(),
                    });
                    // Nothing to wait for, but whoever runs the command may have had enough.
                    rest(host, Duration::ZERO)?;
                    continue;
                }
            };
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (reply.status, &reply.location) {
                let refused = |reason: String| ApiError::Redirect {
                    method,
                    url: here.clone(),
                    reason,
                };
                let target = url
                    .join(location)
                    .map_err(|error| refused(format!("but {error}")))?;
                if url.is_secure() && !target.is_secure() {
                    return Err(refused(format!(
                        "but not followed: {} is not encrypted",
                        target.as_str()
                    )));
                }
                if left == 0 {
                    return Err(refused(format!("for the {}th time", REPEATS + 1)));
                }
                left -= 1;
                host.tell(&Event::Redirected {
                    from: &here,
                    to: target.as_str(),
                });
                if reply.status == 303 {
                    ask = Ask::Get;
                }
                url = target;
                continue;
            }
            let asked = reply
                .retry_after
                .as_deref()
                .and_then(|text| retry_after(text, Timestamp::now()))
                .filter(|_| matches!(reply.status, 413 | 429 | 503) && !ask.is_post() && left > 0);
            if let Some(time) = asked {
                left -= 1;
                host.tell(&Event::ToldToWait {
                    status: reply.status,
                    time,
                    path: url.path(),
                });
                rest(host, time)?;
                continue;
            }
            return Ok(Exchange {
                method,
                url: here,
                reply,
            });
        }
    }
}

fn operation_path(server: &str, id: &str) -> String {
    format!("servers/{}/operations/{}", segment(server), segment(id))
}

pub(crate) fn rest(host: &mut dyn Host, time: Duration) -> Result<(), ApiError> {
    match host.pause(time) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ApiError::Cancelled),
    }
}

/// The wait that a `Retry-After` asks for, in seconds or until a date; nothing if it cannot be read.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

impl Exchange {
    /// The error for an answer that is not what was asked for.
    fn unfit(&self, unfit: &Unfit, secrets: &Secrets) -> ApiError {
        let status = self.reply.status;
        let success = (200..300).contains(&status);
        let shown = |text: &str| protocol::excerpt(secrets.hide(text).as_bytes());
        let body = shown(&String::from_utf8_lossy(&self.reply.body));
        let reason = if status == 404
            && let Some(reason) = protocol::read_not_found(&self.reply.body)
        {
            shown(&reason)
        } else if body.is_empty() {
            "the answer is empty".to_owned()
        } else if success {
            let unfit = shown(&unfit.to_string());
            format!("the answer cannot be used, {unfit}; it begins with {body}")
        } else {
            body
        };
        ApiError::Answer {
            method: self.method,
            url: self.url.clone(),
            status,
            reason,
            hope: hope(self.method, status, unfit),
        }
    }
}

fn hope(method: &str, status: u16, unfit: &Unfit) -> Hope {
    match (method, status) {
        // Caught while it wrote the operation's file.
        ("GET", 404) => Hope::Soon,
        (_, 429) => Hope::Later,
        ("GET", 500..) => Hope::Later,
        // Two operations of one second; not ready. Behind other failures (a proxy that gave up waiting) the operation
        // may run, and must not be started twice.
        ("POST", 500 | 503) => Hope::Later,
        (_, 400..) => Hope::None,
        // It says that it did something, and not what: once more may be twice.
        ("POST", _) => Hope::None,
        _ => match unfit {
            Unfit::Malformed(_) => Hope::Soon,
            Unfit::Nonsense(_) => Hope::None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("1", Some(1)),
            (" 0 ", Some(0)),
            ("100000", Some(300)),
            ("Sat, 21 Nov 2026 10:00:07 GMT", Some(7)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn hopes() {
        let malformed = Unfit::Malformed(String::new());
        let nonsense = Unfit::Nonsense(String::new());
        for (method, status, unfit, expected) in [
            ("POST", 202, &malformed, Hope::None),
            ("POST", 202, &nonsense, Hope::None),
            ("GET", 200, &malformed, Hope::Soon),
            ("GET", 200, &nonsense, Hope::None),
            ("POST", 404, &malformed, Hope::None),
            ("GET", 404, &malformed, Hope::Soon),
            ("GET", 404, &nonsense, Hope::Soon),
            ("POST", 400, &nonsense, Hope::None),
            ("POST", 500, &nonsense, Hope::Later),
            ("POST", 502, &nonsense, Hope::None),
            ("GET", 502, &nonsense, Hope::Later),
            ("POST", 429, &nonsense, Hope::Later),
        ] {
            assert_eq!(
                hope(method, status, unfit),
                expected,
                "{method} {status} {unfit:?}"
            );
        }
    }
}
