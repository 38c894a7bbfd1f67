//! Questions to a file system that may never answer (an NFS mount whose server is gone). A thread asks, and is left
//! alone once nobody waits for it any more: it has nothing that others need, and the end of the process ends it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::Cancel;

/// How often the wait looks at the user's wish.
const LOOK: Duration = Duration::from_millis(25);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The time is over, or the user asked to stop.
    #[error("no answer within {} seconds", waited.as_secs_f32().round())]
    Late {
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no thread that asks.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The question ended without an answer.
    #[error("it was not found out")]
    Lost,
}

/// What `question` finds out, if it does so within `patience` and before the user asks to stop. It must change nothing:
/// it may go on when this function has returned.
///
/// # Errors
/// There is no answer.
pub fn within<T: Send + 'static>(
    patience: Duration,
    cancel: &Cancel,
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let start = Instant::now();
    let (sender, answer) = mpsc::channel();
    thread::Builder::new()
        .name("question".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(question());
        })?;
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Disconnected) => return Err(NoAnswer::Lost),
            Err(RecvTimeoutError::Timeout) => {
                let waited = start.elapsed();
                if waited >= patience || cancel.is_requested() {
                    return Err(NoAnswer::Late { waited });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CancelCause;

    #[test]
    fn an_answer_is_waited_for_and_not_for_ever() {
        let cancel = Cancel::new();
        let long = Duration::from_secs(600);
        assert_eq!(within(long, &cancel, || 7).unwrap(), 7);
        assert!(matches!(
            within(long, &cancel, || -> () { panic!("on purpose") }),
            Err(NoAnswer::Lost)
        ));
        // It hangs until the end of the test.
        let (held, gate) = mpsc::channel::<()>();
        let question = move || gate.recv().is_ok();
        let late = within(Duration::ZERO, &cancel, question);
        assert!(matches!(late, Err(NoAnswer::Late { .. })));
        let (other, gate) = mpsc::channel::<()>();
        cancel.request(CancelCause::Interrupt);
        let late = within(long, &cancel, move || gate.recv().is_ok());
        assert!(matches!(late, Err(NoAnswer::Late { .. })));
        drop((held, other));
    }
}
