//! Which providers carry what: a list for each channel, and rules for projects, countries and number ranges.

use std::fmt;

use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::otp::channel::Channel;
use crate::otp::ids::parse_project_name;
use crate::otp::target::is_region;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    pub sms: Vec<Share>,
    pub email: Vec<Share>,
    pub whatsapp: Vec<Share>,
    pub rules: Vec<Rule>,
}

/// A provider in a route: `name`, which is asked in its order, or `name=70`, which gets that part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub provider: String,
    pub weight: Option<u32>,
}

/// A route for some of a channel's messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub channel: Channel,
    #[serde(default)]
    project: String,
    #[serde(default)]
    pub country: String,
    #[serde(default)]
    pub prefix: String,
    pub providers: Vec<Share>,
}

/// What a message is routed by.
#[derive(Debug, Clone, Copy)]
pub struct Routed<'a> {
    pub project: Uuid,
    pub channel: Channel,
    /// Of a phone number.
    pub country: Option<&'a str>,
    /// In its canonical form.
    pub target: &'a str,
}

impl Rule {
    #[must_use]
    pub fn project(&self) -> Option<Uuid> {
        parse_project_name(&self.project)
    }

    #[must_use]
    pub fn takes(&self, message: &Routed<'_>) -> bool {
        self.channel == message.channel
            && self.project().is_none_or(|project| project == message.project)
            && (self.country.is_empty() || message.country == Some(self.country.as_str()))
            && message.target.starts_with(&self.prefix)
    }

    /// Of the rules that take a message the one with the greatest of these wins: a project's own before others, a longer
    /// prefix before a shorter one, a country before none.
    #[must_use]
    pub fn precision(&self) -> (bool, usize, bool) {
        (!self.project.is_empty(), self.prefix.len(), !self.country.is_empty())
    }

    fn problems(&self) -> Vec<String> {
        let is_for_all = self.project.is_empty() && self.country.is_empty() && self.prefix.is_empty();
        let is_mail = self.channel == Channel::Email && !(self.country.is_empty() && self.prefix.is_empty());
        let digits = self.prefix.strip_prefix('+').unwrap_or_default();
        let is_prefix = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_project = self.project.is_empty() || self.project().is_some();
        [
            is_for_all
                .then_some("needs a project, a country or a prefix; what is for all stands in the channel's list"),
            is_mail.then_some("addresses have no country and no prefix"),
            (!self.prefix.is_empty() && !is_prefix).then_some("prefix must begin as numbers do: +998"),
            (!self.country.is_empty() && !is_region(&self.country)).then_some("country must be a region such as UZ"),
            (!is_project).then_some("project must be a project's id such as PRJ_…"),
            self.providers.is_empty().then_some("providers is empty"),
        ]
        .into_iter()
        .flatten()
        .map(|problem| format!("routes.rules ({self}): {problem}"))
        .collect()
    }
}

/// As it is told in logs, metrics and records.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.channel)?;
        let narrower = [&self.project, &self.country, &self.prefix];
        narrower.into_iter().filter(|part| !part.is_empty()).try_for_each(|part| write!(f, " {part}"))
    }
}

impl Routes {
    #[must_use]
    pub fn of(&self, channel: Channel) -> &[Share] {
        match channel {
            Channel::Sms => &self.sms,
            Channel::Email => &self.email,
            Channel::Whatsapp => &self.whatsapp,
        }
    }

    /// Every name in a route, with its channel.
    pub fn names(&self) -> impl Iterator<Item = (Channel, &str)> {
        let lists = Channel::ALL.into_iter().map(|channel| (channel, self.of(channel)));
        let lists = lists.chain(self.rules.iter().map(|rule| (rule.channel, rule.providers.as_slice())));
        lists.flat_map(|(channel, list)| list.iter().map(move |share| (channel, share.provider.as_str())))
    }

    pub(super) fn validate(&self) -> Vec<String> {
        let lists = Channel::ALL.into_iter().map(|channel| (format!("routes.{channel}"), self.of(channel)));
        let rules = self.rules.iter().map(|rule| (format!("routes.rules ({rule})"), rule.providers.as_slice()));
        let lists = lists.chain(rules).flat_map(|(name, list)| list_problems(&name, list));
        let rules = self.rules.iter().flat_map(Rule::problems);
        let twice =
            self.rules.iter().enumerate().filter(|(nth, rule)| {
                self.rules.iter().take(*nth).any(|earlier| earlier.to_string() == rule.to_string())
            });
        let twice = twice.map(|(_, rule)| format!("routes.rules ({rule}): there is another rule for the same"));
        lists.chain(rules).chain(twice).collect()
    }
}

fn list_problems(name: &str, list: &[Share]) -> Vec<String> {
    let weighted = list.iter().filter(|share| share.weight.is_some()).count();
    let is_mixed = weighted > 0 && weighted < list.len();
    let is_idle = weighted > 0 && list.iter().all(|share| share.weight.unwrap_or_default() == 0);
    let is_twice = |nth: usize, share: &Share| list.iter().take(nth).any(|other| other.provider == share.provider);
    let twice = list.iter().enumerate().find(|(nth, share)| is_twice(*nth, share));
    [
        is_mixed.then(|| format!("{name}: give all providers a weight (name=70) or none")),
        is_idle.then(|| format!("{name}: all weights are 0")),
        twice.map(|(_, share)| format!("{name}: {} is there twice", share.provider)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (provider, weight) = match text.split_once('=') {
            Some((provider, weight)) => (provider.trim(), Some(weight.trim())),
            None => (text.trim(), None),
        };
        let weight = weight.map(|weight| weight.parse().ok().filter(|weight| *weight <= 1000)).map(|weight| {
            weight.ok_or_else(|| serde::de::Error::custom(format!("a weight is 0 to 1000, as in {provider}=70")))
        });
        Ok(Self { provider: provider.to_owned(), weight: weight.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHOP: &str = "PRJ_0198f3c2a1b47c0d8e5f112233445566";

    fn routes(rules: &serde_json::Value) -> Routes {
        let routes = json!({ "sms": ["a=70", "b = 30"], "email": ["c"], "whatsapp": [], "rules": rules });
        serde_json::from_value(routes).expect("routes")
    }

    fn rules() -> Routes {
        routes(&json!([
            { "channel": "sms", "country": "UZ", "providers": ["eskiz"] },
            { "channel": "sms", "prefix": "+998", "providers": ["a"] },
            { "channel": "sms", "prefix": "+99890", "providers": ["b"] },
            { "channel": "sms", "project": SHOP, "providers": ["c"] },
            { "channel": "email", "project": SHOP, "providers": ["d"] },
        ]))
    }

    #[test]
    fn the_narrowest_rule_wins() {
        let routes = rules();
        assert_eq!(routes.validate(), Vec::<String>::new());
        let shop = parse_project_name(SHOP).expect("a project");
        let of = |project, channel, country, target| {
            let message = Routed { project, channel, country, target };
            let rules = routes.rules.iter().filter(|rule| rule.takes(&message));
            rules.max_by_key(|rule| rule.precision()).map(|rule| rule.providers[0].provider.as_str())
        };
        let other = Uuid::nil();
        assert_eq!(of(other, Channel::Sms, Some("UZ"), "+998901234567"), Some("b"));
        assert_eq!(of(other, Channel::Sms, Some("UZ"), "+998711234567"), Some("a"));
        assert_eq!(of(shop, Channel::Sms, Some("UZ"), "+998901234567"), Some("c"));
        assert_eq!(of(shop, Channel::Email, None, "a@example.com"), Some("d"));
        assert_eq!(of(other, Channel::Sms, Some("US"), "+14155552671"), None);
        assert_eq!(of(other, Channel::Whatsapp, Some("UZ"), "+998901234567"), None);
    }

    #[test]
    fn shares_are_names_with_or_without_a_weight() {
        let routes = rules();
        let share = |provider: &str, weight| Share { provider: provider.to_owned(), weight };
        assert_eq!(routes.sms, [share("a", Some(70)), share("b", Some(30))]);
        assert_eq!(routes.email, [share("c", None)]);
        let bad = json!({ "sms": ["a=lots"], "email": [], "whatsapp": [], "rules": [] });
        let problem = serde_json::from_value::<Routes>(bad).expect_err("no weight").to_string();
        assert_eq!(problem, "a weight is 0 to 1000, as in a=70");
    }

    #[test]
    fn every_problem_is_named() {
        let mut all = routes(&json!([
            { "channel": "sms", "providers": ["a"] },
            { "channel": "email", "prefix": "+1", "providers": ["a"] },
            { "channel": "sms", "prefix": "998", "providers": [] },
            { "channel": "sms", "country": "Uzbekistan", "providers": ["a", "a"] },
            { "channel": "sms", "project": "shop", "providers": ["a"] },
            { "channel": "sms", "country": "UZ", "providers": ["a"] },
            { "channel": "sms", "country": "UZ", "providers": ["b"] },
        ]));
        all.sms[1].weight = None;
        assert_eq!(
            all.validate(),
            [
                "routes.sms: give all providers a weight (name=70) or none",
                "routes.rules (sms Uzbekistan): a is there twice",
                "routes.rules (sms): needs a project, a country or a prefix; what is for all stands in the channel's list",
                "routes.rules (email +1): addresses have no country and no prefix",
                "routes.rules (sms 998): prefix must begin as numbers do: +998",
                "routes.rules (sms 998): providers is empty",
                "routes.rules (sms Uzbekistan): country must be a region such as UZ",
                "routes.rules (sms shop): project must be a project's id such as PRJ_…",
                "routes.rules (sms UZ): there is another rule for the same",
            ]
        );
    }
}
