//! `otpd simulate` as a process of its own, and the way of its receipts to an otpd that starts after it.

use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::beside::Beside;
use super::client::reply;
use super::eventually;
use super::process::{Environment, Process};

pub(crate) struct Simulated {
    pub(crate) process: Process,
    pub(crate) url: String,
    /// The settings that it prints.
    pub(crate) config: String,
    http: reqwest::Client,
    front: Front,
}

impl Simulated {
    /// Plays what the arguments say.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let front = Front::start();
        let fixed = ["simulate", "--json", "--listen", "127.0.0.1:0", "--receipts-to", &front.url];
        let process = Process::start(&[&fixed, arguments].concat(), &Environment::new());
        let first: Value = serde_json::from_str(&process.line()).expect("one line of JSON");
        let text = |name: &str| first[name].as_str().unwrap_or_else(|| panic!("{name} in {first}")).to_owned();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { process, url: text("url"), config: text("config"), http, front }
    }

    /// The file of settings that otpd is started with.
    pub(crate) fn config_in(&self, dir: &Path) -> PathBuf {
        let file = dir.join("simulated.toml");
        std::fs::write(&file, &self.config).expect("the settings are written");
        file
    }

    /// From now on receipts arrive at this otpd.
    pub(crate) fn receipts_go_to(&self, otpd: &str) {
        let url = Url::parse(otpd).expect("a URL");
        let address = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        self.front.otpd.send_replace(Some(address));
    }

    /// Orders a vendor to behave otherwise.
    pub(crate) async fn order(&self, vendor: &str, orders: &Value) {
        let request = self.http.post(format!("{}/_simulate/{vendor}", self.url)).json(orders);
        reply(request).await.expect(200);
    }

    /// How a vendor behaves, its counts and its messages.
    pub(crate) async fn shown(&self, vendor: &str) -> Value {
        reply(self.http.get(format!("{}/_simulate/{vendor}", self.url))).await.expect(200).body
    }

    pub(crate) async fn count(&self, vendor: &str, what: &str) -> u64 {
        self.shown(vendor).await[what].as_u64().unwrap_or_else(|| panic!("{what} of {vendor}"))
    }

    /// The newest message that a vendor has taken, once there is one.
    pub(crate) async fn message(&self, vendor: &str) -> Value {
        let newest = || async { self.shown(vendor).await["messages"].get(0).cloned() };
        eventually(&format!("a message at {vendor}"), newest).await
    }
}

/// Where receipts go before it is known at which port otpd listens: it carries connections there.
struct Front {
    url: String,
    otpd: watch::Sender<Option<String>>,
    _server: Beside,
}

impl Front {
    fn start() -> Self {
        let (otpd, address) = watch::channel(None);
        let server = Beside::start(move |listener| carry_all(listener, address));
        Self { url: format!("http://{}", server.address), otpd, _server: server }
    }
}

async fn carry_all(listener: TcpListener, address: watch::Receiver<Option<String>>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut caller, _) = listener.accept().await.expect("a connection");
        let mut address = address.clone();
        connections.spawn(async move {
            let address = address.wait_for(Option::is_some).await.ok()?.clone()?;
            let mut otpd = TcpStream::connect(address).await.ok()?;
            tokio::io::copy_bidirectional(&mut caller, &mut otpd).await.ok()
        });
    }
}
