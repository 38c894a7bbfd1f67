//! A server that says what it is told: a thread with a Unix socket, for each thread that runs parsers.
//!
//! A conversation is written as *frames*: the type byte and the body of a message, without the length, separated by
//! two bytes that real messages hardly ever have. So a mutated byte stays in its message, and messages can be
//! inserted, left out and exchanged; lengths are wrong only where the input asks for it. An input whose first byte is
//! 0 is sent as it is.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use barman_pg::{ConnInfo, ConnectOptions};

use crate::input::scratch;

/// Between two frames.
const FRAME_END: [u8; 2] = [0xFE, 0xFE];
/// How long a client that has something to say may take. One that is waiting for more loses this time.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest that anything here waits.
const LIMIT: Duration = Duration::from_secs(5);

/// What is sent before the client has its turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Vec<u8>);

/// In a turn of SCRAM: what the client has made up for this session, and the server must repeat.
pub(super) const NONCE: &[u8] = b"<nonce>";

impl Turn {
    /// One message of an authentication.
    pub(super) fn authentication(code: u8, body: &[u8]) -> Self {
        Self::of(b'R', &[&[0, 0, 0, code], body].concat())
    }

    /// The same after the client has said this: its nonce is filled in.
    fn with_nonce(&self, heard: &[u8]) -> Self {
        let begins = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|here| here == part);
        let Some(at) = begins(&self.0, NONCE).filter(|_| self.0.starts_with(b"R")) else {
            return self.clone();
        };
        let Some(nonce) = begins(heard, b",r=").and_then(|at| heard.get(at + 3..)) else {
            return self.clone();
        };
        let (before, after) = self.0.split_at(at);
        let body = [before.get(5..).unwrap_or_default(), nonce, &after[NONCE.len()..]].concat();
        Self::of(b'R', &body)
    }

    /// One message.
    pub(super) fn of(tag: u8, body: &[u8]) -> Self {
        let mut turn = Self::default();
        turn.add(tag, body);
        turn
    }

    pub(super) fn add(&mut self, tag: u8, body: &[u8]) {
        self.0.push(tag);
        self.0
            .extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend(body);
    }

    /// What a server of this version says until the first command.
    pub(super) fn greeting(version: &str) -> Self {
        let mut turn = Self::of(b'R', &[0; 4]);
        turn.add(b'S', format!("server_version\0{version}\0").as_bytes());
        turn.add(b'K', &[0; 8]);
        turn.add(b'Z', b"I");
        turn
    }
}

/// The input as turns: each ends where a server waits for its client.
pub(super) fn turns(bytes: &[u8]) -> Vec<Turn> {
    if let Some(raw) = bytes.strip_prefix(&[0]) {
        return vec![Turn(raw.to_vec())];
    }
    let mut turns = vec![Turn::default()];
    for frame in frames(bytes) {
        let Some((tag, body)) = frame.split_first() else {
            continue;
        };
        if let Some(turn) = turns.last_mut() {
            turn.add(*tag, body);
        }
        let asks =
            *tag == b'R' && body.get(..4) != Some(&[0; 4]) && body.get(..4) != Some(&12_i32.to_be_bytes());
        if *tag == b'Z' || asks {
            turns.push(Turn::default());
        }
    }
    turns.retain(|turn| !turn.0.is_empty());
    turns
}

/// The parts of an input.
pub(super) fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|pair| pair == FRAME_END) {
        let (frame, after) = rest.split_at(end);
        frames.push(frame);
        rest = after.get(2..).unwrap_or_default();
    }
    frames.push(rest);
    frames
}

struct Server {
    directory: PathBuf,
    script: Arc<Mutex<Option<Vec<Turn>>>>,
    heard: Receiver<Vec<Vec<u8>>>,
    info: ConnInfo,
    options: ConnectOptions,
}

/// Lets a client talk to a server that plays this script on its first connection and closes every other one. Returns
/// what the client said, turn by turn.
pub(super) fn play(script: Vec<Turn>, client: impl FnOnce(&ConnInfo, &ConnectOptions)) -> Vec<Vec<u8>> {
    thread_local! {
        static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
    }
    SERVER.with_borrow_mut(|server| {
        let directory = scratch();
        // The directory of an earlier one was removed.
        if server
            .as_ref()
            .is_some_and(|server| server.directory != directory)
        {
            *server = None;
        }
        play_on(server.get_or_insert_with(|| start(directory)), script, client)
    })
}

fn play_on(
    server: &Server,
    script: Vec<Turn>,
    client: impl FnOnce(&ConnInfo, &ConnectOptions),
) -> Vec<Vec<u8>> {
    while server.heard.try_recv().is_ok() {}
    *server.script.lock().unwrap_or_else(PoisonError::into_inner) = Some(script);
    client(&server.info, &server.options);
    let unused = server
        .script
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if unused.is_some() {
        return Vec::new();
    }
    server.heard.recv_timeout(LIMIT).unwrap_or_default()
}

fn start(directory: PathBuf) -> Server {
    let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).expect("listen on a Unix socket");
    let script = Arc::new(Mutex::new(None::<Vec<Turn>>));
    let (sender, heard) = channel();
    let ours = Arc::clone(&script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = ours.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A client that gives up asks on another connection to cancel, before it closes this one.
            if let Some(script) = script {
                let sender = sender.clone();
                std::thread::spawn(move || sender.send(talk(stream, &script)));
            }
        }
    });
    Server {
        script,
        heard,
        info: conninfo(&directory),
        directory,
        options: ConnectOptions {
            environment: |_| None,
            ..ConnectOptions::default().with_timeouts(LIMIT, LIMIT)
        },
    }
}

fn conninfo(directory: &Path) -> ConnInfo {
    let text = format!("host={} port=5432 user=u dbname=d", directory.display());
    text.parse().expect("a connection string")
}

fn talk(mut stream: UnixStream, script: &[Turn]) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let mut wait = LIMIT;
    for turn in script {
        let _ = stream.set_read_timeout(Some(wait));
        match listen(&mut stream) {
            Some(message) => heard.push(message),
            None => return heard,
        }
        wait = PAUSE;
        let turn = turn.with_nonce(heard.last().map_or(&[], Vec::as_slice));
        // In two pieces, so that messages arrive torn.
        let (one, other) = turn.0.split_at(turn.0.len() / 3);
        if stream
            .write_all(one)
            .and_then(|()| stream.write_all(other))
            .is_err()
        {
            return heard;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(LIMIT));
    while heard.len() < 1000
        && let Some(message) = listen(&mut stream)
        && !message.is_empty()
    {
        heard.push(message);
    }
    heard
}

/// What the client says next; empty if it says nothing for a while, `None` when it has hung up.
fn listen(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 8192];
    match stream.read(&mut buffer) {
        Ok(0) => None,
        Ok(count) => {
            buffer.truncate(count);
            Some(buffer)
        }
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            Some(Vec::new())
        }
        Err(_) => None,
    }
}
