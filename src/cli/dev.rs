//! `otpd dev`: everything in one process on the loopback interface, with a development project, for trying.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use common::config::{Flags, Role};
use common::otp::channel::Mode;
use common::otp::rows::Counters;
use common::otp::settings::ProjectSettings;
use common::otp::time::Timestamp;
use common::store::projects::Project;
use common::tenancy;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use worker::route::Unrouted;

use super::{Common, flag};
use crate::assemble::Process;
use crate::data_dir::DataDir;
use crate::listener::Port;
use crate::outcome::{Failure, Outcome, say};
use crate::telemetry;

/// Run everything in one process, with a development project and a sandbox: for trying
#[derive(Debug, Args)]
pub(super) struct Dev {
    #[command(flatten)]
    common: Common,
    /// Where to listen (default: 127.0.0.1:8080)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where data is kept
    #[arg(long, value_name = "DIR", default_value = "otpd-data")]
    data: PathBuf,
    /// Print one line of JSON instead of words: url, project_id, live_key, sandbox_key
    #[arg(long)]
    json: bool,
    /// Listen on an address that others can reach, although anyone who can read the sandbox can log in as anybody
    #[arg(long)]
    i_know: bool,
}

/// The keys of a first start: they are shown now and never again.
struct FirstKeys {
    live: SecretString,
    sandbox: SecretString,
}

impl Dev {
    pub(super) async fn run(self) -> Outcome {
        let mut flags = Flags::new();
        flag(&mut flags, "server", "listen", self.listen.as_deref());
        let config = self.common.load(&flags)?;
        telemetry::start_log(&config.log)?;
        let listen = config.server.listen;
        if !listen.ip().is_loopback() && !self.i_know {
            let problem = format!("{listen} can be reached by others: use `otpd serve`, or say --i-know");
            return Err(Failure::Usage(problem));
        }
        // Before the first start makes keys that nobody would be shown.
        let port = Port::bind(listen).await?;
        let process = Process::embedded(config, &DataDir::create(&self.data)?, self.common.clock()?).await?;
        let routes = process.routes(Unrouted::Sandbox)?;
        let inbox_only = routes.all().len() == 1;
        let (project, keys) = development_project(&process).await?;
        let api = process.api(&routes, Some(&project))?;
        let admin = process.admin_router(api.health());
        let router = api::router::router(api).merge(admin);
        let address = process.serve(port, router)?;
        process.start_worker(routes)?;
        process.start_relay(Role::Embedded);
        let url = format!("http://{address}");
        if self.json {
            say(in_json(&url, &project, keys.as_ref()));
        } else {
            say(in_words(&url, &project, keys.as_ref(), inbox_only, &self.data.display().to_string()));
        }
        process.run().await
    }
}

/// The oldest project of the data directory, or a new one with its keys.
async fn development_project(process: &Process) -> Outcome<(Project, Option<FirstKeys>)> {
    if let Some(project) = process.store.list_projects().await?.into_iter().next() {
        return Ok((project, None));
    }
    let now = process.clock.now();
    let project = Project {
        id: tenancy::new_project_id(),
        name: "Development".to_owned(),
        sandbox: false,
        settings: Arc::new(ProjectSettings::default()),
        counters: Counters { tokens: None, used: 0, rate: Timestamp::default() },
        created: now,
    };
    process.store.create_project(&project).await?;
    let (live, live_row) = tenancy::new_key(project.id, Mode::Live, false, now);
    let (sandbox, sandbox_row) = tenancy::new_key(project.id, Mode::Sandbox, false, now);
    process.store.create_key(&live_row).await?;
    process.store.create_key(&sandbox_row).await?;
    Ok((project, Some(FirstKeys { live, sandbox })))
}

fn in_json(url: &str, project: &Project, keys: Option<&FirstKeys>) -> serde_json::Value {
    json!({
        "url": url,
        "project_id": project.id.to_string(),
        "live_key": keys.map(|keys| keys.live.expose_secret()),
        "sandbox_key": keys.map(|keys| keys.sandbox.expose_secret()),
    })
}

fn in_words(url: &str, project: &Project, keys: Option<&FirstKeys>, inbox_only: bool, data: &str) -> String {
    let id = project.id;
    let mut lines =
        vec![format!("otpd is listening on {url}"), format!("  data        {data}"), format!("  project     {id}")];
    lines.push(format!("  log in at   {url}/demo"));
    lines.push(format!("  reference   {url}/docs"));
    match keys {
        Some(keys) => {
            lines.push(format!("  live key    {}", keys.live.expose_secret()));
            lines.push(format!("  sandbox key {}", keys.sandbox.expose_secret()));
            lines.push("The keys are shown this once; they are kept only as hashes.".to_owned());
            lines.push(String::new());
            lines.push("Try it: send a code, read the message, verify the code.".to_owned());
            lines.push(String::new());
            lines.extend(curl_lines(url, &id.to_string(), keys.sandbox.expose_secret()));
        }
        None => lines.push(format!(
            "The keys were shown at the first start. Make another: otpd key create --project {id} --sandbox --data {data}"
        )),
    }
    if inbox_only {
        lines.push(String::new());
        lines.push(
            "No provider is set up: live messages go to the sandbox inbox too. docs/providers.md tells how to set one up."
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn curl_lines(url: &str, project: &str, key: &str) -> [String; 5] {
    let headers = format!("-H 'x-api-key: {key}' -H 'x-project-id: {project}'");
    let post = format!("curl -s {headers} -H 'content-type: application/json'");
    let messages = format!("curl -s {headers} '{url}/api/v1/sandbox/messages?target=ann@example.com'");
    let code = format!("$({messages} | grep -o '\"code\":\"[0-9]*\"' | head -n 1 | tr -dc 0-9)");
    [
        format!("{post} {url}/api/v1/otp/send -d '{{\"target\":\"ann@example.com\",\"channel\":\"email\"}}'"),
        String::new(),
        messages,
        String::new(),
        format!("{post} {url}/api/v1/otp/verify -d '{{\"target\":\"ann@example.com\",\"code\":\"'\"{code}\"'\"}}'"),
    ]
}
