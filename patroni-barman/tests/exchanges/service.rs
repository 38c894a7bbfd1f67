//! A service that does what a script says: answers well, badly, slowly, not at all. It records every request, byte by
//! byte.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use openssl::ssl::SslAcceptor;

/// What is done with a request.
#[derive(Clone)]
pub enum Act {
    /// An answer with its length; the connection stays.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The same, and nobody can connect any more; this connection ends too.
    LastAnswer(Vec<u8>),
    /// These bytes, whatever they are; then the connection ends.
    Raw(Vec<u8>),
    /// The connection ends without a byte.
    Close,
    /// Nothing, for as long as the service runs.
    Silence,
    /// These bytes, then nothing.
    Stall(Vec<u8>),
    /// These bytes, then these again and again, each byte after a pause; pieces as they are without one.
    Drip(Vec<u8>, &'static [u8], Duration),
    /// Does something with the body of the request, then answers with the text.
    Do(Arc<dyn Fn(&str) + Send + Sync>, &'static str),
}

/// Status 200 and a body.
pub fn ok(body: &str) -> Act {
    status(200, body)
}

/// A status and a body.
pub fn status(code: u16, body: &str) -> Act {
    Act::Answer(code, Vec::new(), body.as_bytes().to_vec())
}

/// A status, one header and a body.
pub fn with(code: u16, name: &'static str, value: &str, body: &str) -> Act {
    Act::Answer(code, vec![(name, value.to_owned())], body.as_bytes().to_vec())
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    /// Names in lower case, sorted; without the name of the program.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What is done with the requests of each kind, in order; the last act is repeated.
#[derive(Clone, Default)]
pub struct Script {
    pub health: Vec<Act>,
    pub create: Vec<Act>,
    pub poll: Vec<Act>,
    pub cancel: Vec<Act>,
}

struct Shared {
    queues: Mutex<[VecDeque<Act>; 4]>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    stop: AtomicBool,
    gone: AtomicBool,
    port: u16,
}

pub struct Service {
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Service {
    /// `{port}` in headers becomes the service's own port.
    pub fn start(script: &Script, tls: Option<SslAcceptor>) -> io::Result<Self> {
        // All addresses, of both kinds where there are both.
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let queue = |acts: &[Act]| acts.iter().cloned().collect();
        let shared = Arc::new(Shared {
            queues: Mutex::new([
                queue(&script.health),
                queue(&script.create),
                queue(&script.poll),
                queue(&script.cancel),
            ]),
            seen: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            port,
        });
        let inner = shared.clone();
        let acceptor = thread::spawn(move || accept(listener, &inner, tls.as_ref()));
        Ok(Self {
            shared,
            acceptor: Some(acceptor),
        })
    }

    pub fn port(&self) -> u16 {
        self.shared.port
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the one that accepts; if it is gone, nobody has to.
        let _ = TcpStream::connect(("127.0.0.1", self.shared.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>, tls: Option<&SslAcceptor>) {
    let mut workers = Vec::new();
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) || shared.gone.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let (shared, tls) = (shared.clone(), tls.cloned());
        workers.push(thread::spawn(move || match tls {
            None => {
                let raw = stream.try_clone();
                serve(&mut { stream }, raw.as_ref().ok(), &shared);
                // An end that the peer sees at once.
                let _ = raw.map(|raw| raw.shutdown(Shutdown::Both));
            }
            Some(tls) => {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let mut raw = stream.try_clone();
                let accepted = tls.accept(stream);
                if accepted.is_err() {
                    // Whoever closes with unread data takes back what he has said.
                    let _ = raw.as_mut().map(|raw| io::copy(raw, &mut io::sink()));
                }
                if let Ok(mut stream) = accepted {
                    let _ = stream
                        .get_ref()
                        .set_read_timeout(Some(Duration::from_millis(200)));
                    serve(&mut stream, None, &shared);
                    let _ = stream.shutdown();
                }
            }
        }));
    }
    drop(listener);
    for worker in workers {
        let _ = worker.join();
    }
}

/// `socket` is the one below, if nothing is between.
fn serve(stream: &mut dyn Stream, socket: Option<&TcpStream>, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(stream, &mut buffer, shared) {
        let kind = match seen.line.split(' ').collect::<Vec<_>>()[..] {
            ["POST", ..] => 1,
            ["DELETE", ..] => 3,
            [_, path, ..] if path.contains("/operations/") || path.contains("/poll") => 2,
            _ => 0,
        };
        let act = {
            let mut queues = shared.queues.lock().unwrap();
            let queue = &mut queues[kind];
            if queue.len() > 1 {
                queue.pop_front()
            } else {
                queue.front().cloned()
            }
        };
        let body = seen.body.clone();
        shared.seen.lock().unwrap().push(seen);
        let act = match act.unwrap_or(Act::Close) {
            Act::Do(action, answer) => {
                action(&body);
                ok(answer)
            }
            other => other,
        };
        let written = match act {
            Act::Do(..) => return,
            Act::Answer(code, headers, body) => {
                let mut head = format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    let value = value.replace("{port}", &shared.port.to_string());
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let mut bytes = (head + "\r\n").into_bytes();
                bytes.extend(body);
                stream.write_all(&bytes).and_then(|()| stream.flush())
            }
            Act::LastAnswer(body) => {
                shared.gone.store(true, Ordering::SeqCst);
                // The listener goes before the answer: whoever has that finds nobody any more.
                let _ = TcpStream::connect(("127.0.0.1", shared.port));
                while TcpStream::connect(("127.0.0.1", shared.port)).is_ok() {
                    thread::sleep(Duration::from_millis(1));
                }
                let head = format!(
                    "HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
                return;
            }
            Act::Raw(bytes) => {
                // The end goes with the bytes: whoever has read them sees it, and nothing depends on who is faster.
                let _ = socket.map(|socket| rustix::net::sockopt::set_tcp_cork(socket, true));
                let _ = stream.write_all(&bytes);
                return;
            }
            Act::Close => return,
            Act::Silence => return hold(shared),
            Act::Stall(bytes) => {
                let _ = stream.write_all(&bytes);
                return hold(shared);
            }
            Act::Drip(bytes, again, pause) => {
                let _ = stream.write_all(&bytes);
                return drip(stream, again, pause, || shared.stop.load(Ordering::SeqCst));
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// Writes until nobody reads any more.
pub fn drip(stream: &mut dyn Write, again: &[u8], pause: Duration, stop: impl Fn() -> bool) {
    let piece = if pause.is_zero() { again.len() } else { 1 };
    for piece in again.chunks(piece).cycle() {
        if stop() || stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}

fn hold(shared: &Shared) {
    while !shared.stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// One request; nothing if there comes none.
fn read_request(stream: &mut dyn Stream, buffer: &mut Vec<u8>, shared: &Shared) -> Option<Seen> {
    let end = fill(stream, buffer, shared, |bytes| {
        bytes.windows(4).position(|window| window == b"\r\n\r\n")
    })?;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| name != "user-agent")
        .map(|(name, value)| (name, value.replace(&shared.port.to_string(), "PORT")))
        .collect();
    headers.sort();
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    fill(stream, buffer, shared, |bytes| {
        (bytes.len() >= length).then_some(0)
    })?;
    let body = buffer.drain(..length).collect();
    Some(Seen {
        line,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

fn fill(
    stream: &mut dyn Stream,
    buffer: &mut Vec<u8>,
    shared: &Shared,
    found: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    loop {
        if let Some(position) = found(buffer) {
            return Some(position);
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if shared.stop.load(Ordering::SeqCst) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}
