//! `barman check`.

use crate::app::App;
use crate::args::commands::CheckArgs;
use crate::output::nagios::CheckLine;
use barman_core::ops::check::{self, CheckOptions, CheckReport};
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) fn run(app: &App<'_>, args: &CheckArgs) {
    let options = CheckOptions {
        timeout: args.check_timeout.map(Duration::from_secs),
    };
    app.for_all(
        "check",
        &args.servers,
        |servers, found| check::run_each(servers, &options, &app.context(), found),
        |checked| match checked {
            Ok(report) => {
                render(app, report);
                ControlFlow::Continue(())
            }
            Err(error) => app.failure(&error),
        },
    );
}

fn render(app: &App<'_>, report: CheckReport) {
    let CheckReport {
        server,
        active,
        state,
        results,
        messages,
    } = report;
    app.output.line(&format!("Server {server}{state}:"));
    let mut reasons = Vec::new();
    for result in results {
        if let Some(reason) = result.reason.as_deref().filter(|_| !result.ok) {
            reasons.push(format!("{}: {reason}", result.name));
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
        }
    }
    for reason in reasons {
        app.output.line_hint(&reason);
    }
}
