//! What is sent in confidence, and is not shown when somebody repeats it.

use std::sync::{Mutex, PoisonError};

use crate::protocol::NewOperation;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// The secrets that a service has been told: ssh commands.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Vec<String>>);

impl Secrets {
    /// Keeps what an operation has.
    pub(crate) fn of(&self, operation: &NewOperation) {
        let NewOperation::Recovery {
            remote_ssh_command, ..
        } = operation
        else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for spelling in spellings(remote_ssh_command) {
            if !spelling.is_empty() && !known.contains(&spelling) {
                known.push(spelling);
            }
        }
        // What contains another one goes first.
        known.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    }

    /// A text of the service without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// A text as it is, and as it stands in JSON, with and without ASCII's limits, and in a page of HTML.
fn spellings(text: &str) -> [String; 5] {
    let json = serde_json::to_string(text).unwrap_or_default();
    let inner = |quoted: &str| {
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.unwrap_or_default().to_owned()
    };
    let ascii = inner(crate::protocol::to_body(&text).trim_end());
    let page = |apostrophe: &str, quote: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('\'', apostrophe)
            .replace('"', quote)
    };
    [
        text.to_owned(),
        inner(&json),
        ascii,
        page("&#39;", "&#34;"),
        page("&#x27;", "&quot;"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_in_confidence_is_not_shown() {
        let secrets = Secrets::default();
        assert_eq!(secrets.hide("ssh"), "ssh");
        for command in ["", "ssh -i \"k\" é '<x>' &"] {
            secrets.of(&NewOperation::Recovery {
                backup_id: "latest".to_owned(),
                remote_ssh_command: command.to_owned(),
                destination_directory: "/x".to_owned(),
            });
        }
        for repeated in [
            "ssh -i \"k\" é '<x>' &",
            "ssh -i \\\"k\\\" é '<x>' &",
            "ssh -i \\\"k\\\" \\u00e9 '<x>' &",
            "ssh -i &#34;k&#34; é &#39;&lt;x&gt;&#39; &amp;",
            "ssh -i &quot;k&quot; é &#x27;&lt;x&gt;&#x27; &amp;",
        ] {
            assert_eq!(
                secrets.hide(&format!("no: {repeated}, {repeated}")),
                "no: ***, ***"
            );
        }
    }
}
