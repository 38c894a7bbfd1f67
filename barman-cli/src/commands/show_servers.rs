//! `barman show-servers`.

use crate::app::App;
use crate::args::commands::ServersArgs;
use barman_core::config::python;
use barman_core::ops::show_servers::{self, ShownServer};
use serde_json::{Value, json};
use std::ops::ControlFlow;

pub(super) fn run(app: &App<'_>, options: &ServersArgs) {
    app.for_all(
        "show-servers",
        &options.servers,
        |servers, found| show_servers::run_each(servers, &app.context(), found),
        |shown| {
            match shown {
                Ok(shown) => render(app, shown),
                Err(error) => app.output.error(crate::app::CLI, &error.to_string()),
            }
            ControlFlow::Continue(())
        },
    );
}

fn render(app: &App<'_>, shown: ShownServer) {
    let ShownServer {
        name,
        state,
        mut members,
    } = shown;
    app.output.line(&format!("Server {name}{state}:"));
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| key.as_str());
    for (key, value) in sorted {
        app.output.line(&format!("\t{key}: {}", python::text(value)));
    }
    // In the document a server without description is described by its state.
    if members.get("description") == Some(&Value::Null) && !state.is_empty() {
        members.insert("description".to_owned(), json!(state.trim_start()));
    }
    app.output.member(&name, Value::Object(members));
}
