//! Polling with a deadline and a message that says what was waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// A flag that, once set (by a signal handler), makes every wait of the kit fail, so that whatever was started is cleaned up on the way out.
pub fn interrupt_flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// Fails when the flag of [`interrupt_flag`] is set.
pub(crate) fn check_interrupt() -> Result<()> {
    ensure!(!interrupt_flag().load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Calls `condition` every few milliseconds until it is `Ok(true)`. An error of the condition counts as "not yet" and is quoted when the time is up.
///
/// # Errors
/// The condition was not met within `timeout`; the message names `what`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        check_interrupt()?;
        let outcome = condition();
        if matches!(outcome, Ok(true)) {
            return Ok(());
        }
        if start.elapsed() >= timeout {
            match outcome {
                Ok(_) => bail!("waited {:.1?} in vain until {what}", start.elapsed()),
                Err(e) => bail!(
                    "waited {:.1?} in vain until {what}; last error: {e:#}",
                    start.elapsed()
                ),
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn returns_as_soon_as_the_condition_holds() {
        let mut calls = 0;
        wait_until("three calls were made", Duration::from_secs(5), || {
            calls += 1;
            Ok(calls == 3)
        })
        .unwrap();
        assert_eq!(calls, 3);
    }

    #[test]
    fn says_what_it_waited_for_and_the_last_error() {
        let error = wait_until("the moon is full", Duration::from_millis(5), || {
            Err(anyhow!("cloudy"))
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("until the moon is full") && text.contains("last error: cloudy"),
            "{text}"
        );
    }
}
