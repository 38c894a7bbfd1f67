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
