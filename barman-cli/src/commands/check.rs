//! `barman check`.

use crate::app::App;
use crate::args::commands::CheckArgs;
use crate::output::nagios::CheckLine;
use barman_core::ops::check::{self, CheckOptions, CheckReport};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) fn run(app: &App<'_>, args: &CheckArgs) {
    let options = CheckOptions {
        timeout: args.check_timeout.map(Duration::from_secs),
    };
    let several = Cell::new(false);
    app.for_all(
        "check",
        &args.servers,
        |servers, found| {
            several.set(servers.len() > 1);
            check::run_each(servers, &options, &app.context(), found);
        },
        |checked| match checked {
            Ok(report) => {
                render(app, report, several.get());
                ControlFlow::Continue(())
            }
            Err(error) => app.failure(&error),
        },
    );
}

/// The lines of a server, and after them hints, which name it if there are `several`: they are on another stream.
fn render(app: &App<'_>, report: CheckReport, several: bool) {
    let CheckReport {
        server,
        active,
        state,
        results,
        messages,
    } = report;
    app.output.line(&format!("Server {server}{state}:"));
    let mut hints = Vec::new();
    for result in results {
        if let Some(reason) = result.reason.as_deref().filter(|_| !result.ok) {
            hints.push(format!("{}: {reason}", result.name));
        }
        let configuration = !result.ok && result.name == "configuration";
        app.output.check(CheckLine {
            server: server.clone(),
            active,
            result,
        });
        if configuration {
            for message in &messages {
                app.output.info_unlogged(&format!("\t\t{message}"));
            }
            let config = app.config.server(&server);
            hints.extend(config.and_then(|config| app.config.advice(config)));
        }
    }
    for hint in hints {
        if several {
            app.output.line_hint(&format!("{server}: {hint}"));
        } else {
            app.output.line_hint(&hint);
        }
    }
}
