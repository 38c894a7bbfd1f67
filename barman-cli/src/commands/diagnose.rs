//! `barman diagnose`: one JSON document, on the console as it is, with `-f json` as a text in the document.

mod document;
mod settings;

use crate::app::{App, CLI};
use crate::args::commands::DiagnoseArgs;
use crate::output::json;
use crate::redact::redact;
use barman_core::ops::diagnose;
use serde_json::Value;

pub(super) fn run(app: &App<'_>, args: &DiagnoseArgs) {
    app.section_warnings();
    for server in &app.config.servers {
        app.notices(server);
    }
    let report = diagnose::run(app.config, &app.context());
    if app.stop_requested() {
        return;
    }
    for server in &report.servers {
        for problem in &server.problems {
            app.output
                .warning(CLI, &format!("diagnose of server '{}': {problem}", server.server));
        }
    }
    let mut document = document::document(app.config, &report, args.show_config_source);
    hide(&mut document);
    app.output.info_unlogged(&json::to_indented_text(&document));
}

/// Replaces the secrets in all texts. Done before they are quoted, so that nothing of a secret hides behind a quote.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(hidden) = redact(text) {
                *text = hidden;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(members) => members.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_core::config::Config;
    use barman_core::context::{Silent, SystemClock};
    use barman_core::{Cancel, Context};

    #[test]
    fn no_secret_is_in_the_document() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::fs::write(
            &path,
            format!(
                "[barman]\nbarman_home = {}\nconninfo = host=a password='top \"secret'\n\
                 [s]\nactive = false\narchiver = on\nconninfo = postgresql://u:secret@127.0.0.1:1/x\n\
                 streaming_conninfo = host=h password='a\\'secret b' user=u sslpassword=secret\n\
                 aws_sse_customer_key = secretkey\n\
                 [m]\nmodel = true\ncluster = s\nconninfo = host=b password=secret\n",
                dir.path().display()
            ),
        )
        .unwrap();
        let config = Config::load(&path, None).unwrap();
        let cancel = Cancel::new();
        let ctx = Context {
            progress: &Silent,
            cancel: &cancel,
            clock: &SystemClock,
        };
        let report = diagnose::run(&config, &ctx);
        for with_source in [false, true] {
            let mut document = document::document(&config, &report, with_source);
            hide(&mut document);
            let text = json::to_indented_text(&document);
            assert!(!text.contains("secret"), "{text}");
            assert!(text.contains("*REDACTED*"));
            // What is hidden leaves a document that can be read.
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
        }
    }
}
