//! `otpd providers list`: which providers are on and from where, what is half set up, and what would switch others on.

use clap::Args;
use common::config::{Config, Flags, environment};
use common::otp::channel::Channel;
use providers::registry::kind_of;
use providers::sandbox;
use providers::usual::{self, Usual};
use serde_json::{Value, json};

use super::{Settings, channels};
use crate::configured;
use crate::outcome::{Failure, Outcome, hint, say};
use crate::table::aligned;

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    settings: Settings,
}

/// A provider that the settings or the environment name.
struct Named {
    name: String,
    kind: String,
    channels: Vec<Channel>,
    has_receipts: bool,
    /// Names of files and variables, never what stands there.
    from: Vec<String>,
    /// Its channel, its place in the route and how many there are; no place where the route leaves it out.
    routes: Vec<(Channel, Option<usize>, usize)>,
    /// The rules that name it.
    rules: Vec<String>,
    problems: Vec<String>,
}

impl List {
    pub(super) fn run(self) -> Outcome {
        let config = self.settings.common.load(&Flags::new())?;
        let mut named = self.named(&config)?;
        route(&mut named, &config);
        let is_named = |usual: &Usual| named.iter().any(|named| named.kind == usual.kind);
        let (half, off): (Vec<_>, Vec<_>) =
            usual::kinds(&environment()).into_iter().filter(|usual| !is_named(usual)).partition(|usual| usual.is_half);
        let warnings = configured::warnings(&config);
        if self.settings.json {
            say(json!({
                "providers": named.iter().map(Named::in_json).collect::<Vec<_>>(),
                "half": half.iter().map(kind_in_json).collect::<Vec<_>>(),
                "off": off.iter().map(kind_in_json).collect::<Vec<_>>(),
                "warnings": warnings,
            }));
        } else {
            say(in_words(&named, &half, &off));
        }
        warnings.into_iter().for_each(hint);
        Ok(())
    }

    fn named(&self, config: &Config) -> Outcome<Vec<Named>> {
        let each = configured::each(config).map_err(Failure::Config)?;
        let bounds = configured::caps(config).err().unwrap_or_default();
        let bounds_of = |name: &str| {
            let of = [format!("providers.{name}."), format!("providers.{name}:")];
            bounds.iter().filter(move |problem| of.iter().any(|of| problem.starts_with(of))).cloned()
        };
        let is_known = |name: &String| each.iter().any(|(known, ..)| known == name) || name == sandbox::NAME;
        // Bounds of nothing.
        let unknown = config.providers.iter().filter(|(name, _)| !is_known(name));
        let unknown = unknown.map(|(name, value)| (name.clone(), value.clone(), Err(Vec::new())));
        let unknown: Vec<_> = unknown.collect();
        let each = each.into_iter().chain(unknown).filter(|(name, ..)| name != sandbox::NAME);
        let named = each.map(|(name, value, built)| {
            let kind = kind_of(&name, &value).to_owned();
            let (channels, has_receipts, mut problems) = match built {
                Ok(provider) => (provider.channels().to_vec(), provider.has_receipts(), Vec::new()),
                Err(problems) => (Vec::new(), false, problems),
            };
            problems.extend(bounds_of(&name));
            let from = self.sources(config, &name, &value);
            Named { name, kind, channels, has_receipts, from, routes: Vec::new(), rules: Vec::new(), problems }
        });
        Ok(named.collect())
    }

    /// Where a provider's settings come from.
    fn sources(&self, config: &Config, name: &str, value: &Value) -> Vec<String> {
        let environment = environment();
        if !config.providers.contains_key(name) {
            let usual = usual::kinds(&environment).into_iter().find(|usual| usual.kind == name);
            return usual.map(|usual| usual.set).unwrap_or_default().into_iter().map(str::to_owned).collect();
        }
        let prefix = format!("otpd_providers__{name}__");
        let variables: Vec<_> =
            environment.into_keys().filter(|variable| variable.to_lowercase().starts_with(&prefix)).collect();
        let field = |variable: &String| {
            let rest = variable.to_lowercase()[prefix.len()..].to_owned();
            rest.split("__").next().unwrap_or_default().to_owned()
        };
        let set: Vec<_> = variables.iter().map(field).collect();
        let is_in_file =
            value.as_object().is_none_or(|fields| fields.is_empty() || fields.keys().any(|of| !set.contains(of)));
        let file = self.settings.common.config.as_ref().filter(|_| is_in_file);
        file.map(|file| file.display().to_string()).into_iter().chain(variables).collect()
    }
}

/// Finds each provider's places in the routes. A route that is left empty has all who carry the channel.
fn route(named: &mut [Named], config: &Config) {
    for channel in Channel::ALL {
        let carriers = named.iter().filter(|named| named.channels.contains(&channel));
        let order = match config.routes.of(channel) {
            [] => carriers.map(|named| named.name.clone()).collect(),
            order => order.iter().map(|share| share.provider.clone()).collect::<Vec<_>>(),
        };
        for named in named.iter_mut().filter(|named| named.channels.contains(&channel)) {
            let place = order.iter().position(|name| *name == named.name).map(|place| place + 1);
            named.routes.push((channel, place, order.len()));
        }
    }
    for named in named {
        let rules = config.routes.rules.iter();
        let rules = rules.filter(|rule| rule.providers.iter().any(|share| share.provider == named.name));
        named.rules = rules.map(ToString::to_string).collect();
    }
}

impl Named {
    fn in_json(&self) -> Value {
        let routes =
            self.routes.iter().map(|(channel, place, of)| json!({ "channel": channel, "place": place, "of": of }));
        json!({
            "provider": self.name,
            "kind": self.kind,
            "status": if self.problems.is_empty() { "on" } else { "wrong" },
            "from": self.from,
            "channels": self.channels,
            "routes": routes.collect::<Vec<_>>(),
            "rules": self.rules,
            "receipts": self.has_receipts,
            "problems": self.problems,
        })
    }

    fn row(&self) -> [String; 6] {
        let routes = self.routes.iter().map(|(channel, place, of)| match place {
            Some(place) => format!("{channel} {place} of {of}"),
            None => format!("{channel} not in its route"),
        });
        let routes = routes.chain(self.rules.iter().map(|rule| format!("rule {rule}")));
        let (is_on, receipts) = (self.problems.is_empty(), if self.has_receipts { "yes" } else { "no" });
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [
            self.name.clone(),
            self.kind.clone(),
            if is_on { "on" } else { "wrong" }.to_owned(),
            or_dash(routes.collect::<Vec<_>>().join(", ")),
            if is_on { receipts } else { "-" }.to_owned(),
            or_dash(self.from.join(", ")),
        ]
    }
}

fn kind_in_json(usual: &Usual) -> Value {
    json!({ "kind": usual.kind, "channels": usual.channels, "set": usual.set, "missing": usual.missing })
}

fn in_words(named: &[Named], half: &[Usual], off: &[Usual]) -> String {
    let mut parts = Vec::new();
    if named.is_empty() {
        parts.push("no provider is on".to_owned());
    } else {
        let head = ["provider", "kind", "status", "routes", "receipts", "from"];
        parts.push(aligned(head, &named.iter().map(Named::row).collect::<Vec<_>>()));
    }
    let problems: Vec<_> = named.iter().flat_map(|named| named.problems.iter().map(String::as_str)).collect();
    if !problems.is_empty() {
        parts.push(problems.join("\n"));
    }
    if !half.is_empty() {
        let row = |usual: &Usual| {
            [usual.kind.to_owned(), channels(usual.channels), usual.set.join(", "), usual::alternatives(&usual.missing)]
        };
        let rows: Vec<_> = half.iter().map(row).collect();
        parts.push(aligned(["half set up", "channels", "is set", "is missing"], &rows));
    }
    if !off.is_empty() {
        let row =
            |usual: &Usual| [usual.kind.to_owned(), channels(usual.channels), usual::alternatives(&usual.missing)];
        let rows: Vec<_> = off.iter().map(row).collect();
        parts.push(aligned(["not on", "channels", "switched on by"], &rows));
    }
    parts.push(
        "A sender of your own and any HTTP API need a table: kind = \"webhook\" or \"http\" (docs/providers.md)."
            .to_owned(),
    );
    parts.join("\n\n")
}
