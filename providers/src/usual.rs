//! The names by which operators know a vendor's credentials: what they switch on, what they only half switch on, and names
//! that say too little. A vendor's own names stand in its file.

use std::collections::BTreeMap;

use common::otp::channel::Channel;
use serde_json::{Map, Value};

use crate::registry::{KINDS, Kind, kind_of};

/// Variables as a process has them.
pub type Environment = BTreeMap<String, String>;

/// How a kind of provider stands in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usual {
    pub kind: &'static str,
    pub channels: &'static [Channel],
    /// Its variables that are set.
    pub set: Vec<&'static str>,
    /// What would switch it on, each list by itself; empty where it is on.
    pub missing: Vec<Vec<&'static str>>,
    /// Whether somebody has begun to set it up.
    pub is_half: bool,
}

/// Names that others are known to use for a vendor, and that mean nothing to it.
const MISNOMERS: &[(&str, &str)] = &[
    ("PLAYMOBILE_API_KEY", "Play Mobile has no keys: set PLAYMOBILE_USERNAME and PLAYMOBILE_PASSWORD"),
    ("TWILIO_API_KEY", "receipts are signed with the account's token: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"),
];

/// Beginnings of names that tell a channel and no vendor.
const VAGUE: [(&str, Channel); 4] =
    [("SMS_", Channel::Sms), ("EMAIL_", Channel::Email), ("MAIL_", Channel::Email), ("WHATSAPP_", Channel::Whatsapp)];
/// Their ends, where they are about credentials.
const VAGUE_ENDS: [&str; 20] = [
    "API_ID",
    "API_KEY",
    "API_SECRET",
    "API_TOKEN",
    "API_URL",
    "AUTH_TOKEN",
    "BASE_URL",
    "GATEWAY",
    "HOST",
    "HOST_PASSWORD",
    "HOST_USER",
    "KEY",
    "LOGIN",
    "PASS",
    "PASSWORD",
    "PROVIDER",
    "SECRET",
    "TOKEN",
    "USER",
    "USERNAME",
];

/// Settings out of variables that operators of these vendors have set anyway: enough to switch a provider on, under the
/// name of its kind.
#[must_use]
pub fn settings(environment: &Environment) -> BTreeMap<String, Value> {
    let settings_of = |kind: &Kind| {
        let set = kind.environment.iter().filter_map(|(name, field)| Some((*field, value(environment, name)?)));
        Value::Object(set.map(|(field, value)| (field.to_owned(), Value::from(value))).collect::<Map<_, _>>())
    };
    let on = KINDS.iter().filter(|kind| !kind.switched_on_by.is_empty() && missing(kind, environment).is_empty());
    on.map(|kind| (kind.name.to_owned(), settings_of(kind))).collect()
}

/// Every kind that has variables.
#[must_use]
pub fn kinds(environment: &Environment) -> Vec<Usual> {
    let kinds = KINDS.iter().filter(|kind| !kind.switched_on_by.is_empty());
    kinds
        .map(|kind| {
            let set: Vec<_> = variables(kind).filter(|name| value(environment, name).is_some()).collect();
            let missing = missing(kind, environment);
            // Amazon's are set for many other reasons.
            let is_half = !missing.is_empty() && set.iter().any(|name| !name.starts_with("AWS_"));
            Usual { kind: kind.name, channels: kind.facts.channels, set, missing, is_half }
        })
        .collect()
}

/// What an operator should know of variables that nothing reads, beside these settings: a sentence for each.
#[must_use]
pub fn warnings(environment: &Environment, settings: &BTreeMap<String, Value>) -> Vec<String> {
    let has_table = |kind: &str| settings.iter().any(|(name, value)| kind_of(name, value) == kind);
    let half = kinds(environment).into_iter().filter(|usual| usual.is_half && !has_table(usual.kind));
    let half = half.map(|usual| {
        let (set, missing) = (enumerated(&usual.set), alternatives(&usual.missing));
        format!("{} stays off: {set} alone will not do, set {missing} too", usual.kind)
    });
    let misnomers = MISNOMERS.iter().filter(|(name, _)| value(environment, name).is_some());
    let misnomers = misnomers.map(|(name, advice)| format!("nothing reads {name}: {advice}"));
    half.chain(misnomers).chain(Channel::ALL.into_iter().filter_map(|channel| vague(environment, channel))).collect()
}

/// The advice for names of this channel that could be any vendor's.
fn vague(environment: &Environment, channel: Channel) -> Option<String> {
    let is_known = |name: &str| KINDS.iter().flat_map(variables).any(|known| known == name);
    let is_vague = |name: &str| {
        let end = VAGUE.iter().filter(|(_, of)| *of == channel).find_map(|(start, _)| name.strip_prefix(start));
        end.is_some_and(|end| VAGUE_ENDS.contains(&end)) && !is_known(name)
    };
    let names: Vec<_> = environment.keys().map(String::as_str).filter(|name| is_vague(name)).collect();
    let names: Vec<_> = names.into_iter().filter(|name| value(environment, name).is_some()).collect();
    let carries = |kind: &&Kind| kind.facts.channels.contains(&channel) && !kind.switched_on_by.is_empty();
    let choices = KINDS.iter().filter(carries).map(|kind| format!("{} ({})", variables_of(kind), kind.name));
    let choices = choices.collect::<Vec<_>>().join("; ");
    (!names.is_empty()).then(|| {
        format!(
            "nothing reads {}, which could be any provider's: set those of yours, {choices}; any other is a table \
             [providers.<name>] with kind = \"http\"",
            enumerated(&names)
        )
    })
}

/// The variables that switch a kind on, as words.
pub(crate) fn variables_of(kind: &Kind) -> String {
    alternatives(&kind.switched_on_by.iter().map(|names| names.to_vec()).collect::<Vec<_>>())
}

/// `A and B, or C`
#[must_use]
pub fn alternatives(lists: &[Vec<&str>]) -> String {
    lists.iter().map(|names| enumerated(names)).collect::<Vec<_>>().join(", or ")
}

/// `A, B and C`
fn enumerated(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
}

fn variables(kind: &Kind) -> impl Iterator<Item = &'static str> {
    kind.environment.iter().map(|(name, _)| *name)
}

/// What is not there of what would switch it on, where least is missing; nothing where it is on.
fn missing(kind: &Kind, environment: &Environment) -> Vec<Vec<&'static str>> {
    // A variable stands in for any other of the same field.
    let is_set = |name: &str| {
        let field = kind.environment.iter().find(|(known, _)| *known == name).map(|(_, field)| field);
        let same = kind.environment.iter().filter(|(_, of)| Some(of) == field);
        same.map(|(name, _)| *name).any(|name| value(environment, name).is_some())
    };
    let lists = kind.switched_on_by.iter().map(|names| names.iter().copied().filter(|name| !is_set(name)));
    let lists: Vec<Vec<_>> = lists.map(Iterator::collect).collect();
    let least = lists.iter().map(Vec::len).min().unwrap_or(0);
    lists.into_iter().filter(|names| names.len() == least && least > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::build;
    use crate::testing::tools;
    use serde_json::json;

    /// What operators of each vendor set, with a sender for each of its channels.
    const COMPLETE: &[(&str, &str)] = &[
        ("AFRICASTALKING_USERNAME", "shop"),
        ("AFRICASTALKING_API_KEY", "k"),
        ("ESKIZ_EMAIL", "shop@example.uz"),
        ("ESKIZ_PASSWORD", "p"),
        ("INFOBIP_BASE_URL", "abc123.api.infobip.com"),
        ("INFOBIP_API_KEY", "k"),
        ("INFOBIP_FROM", "Shop"),
        ("INFOBIP_WHATSAPP_FROM", "+15005550007"),
        ("PLAYMOBILE_USERNAME", "shop"),
        ("PLAYMOBILE_PASSWORD", "p"),
        ("TELNYX_API_KEY", "KEY1"),
        ("TELNYX_FROM", "+15005550006"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("TWILIO_AUTH_TOKEN", "t"),
        ("TWILIO_FROM", "+15005550006"),
        ("TWILIO_WHATSAPP_FROM", "+15005550007"),
        ("VONAGE_API_KEY", "abcd1234"),
        ("VONAGE_API_SECRET", "s"),
        ("VONAGE_FROM", "Shop"),
        ("VONAGE_WHATSAPP_FROM", "+15005550007"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "eu-west-1"),
        ("SES_FROM", "otp@example.com"),
        ("MAILGUN_API_KEY", "k"),
        ("MAILGUN_DOMAIN", "mg.example.com"),
        ("POSTMARK_SERVER_TOKEN", "t"),
        ("POSTMARK_FROM", "otp@example.com"),
        ("RESEND_API_KEY", "re_k"),
        ("RESEND_FROM", "otp@example.com"),
        ("SENDGRID_API_KEY", "SG.k"),
        ("SENDGRID_FROM", "otp@example.com"),
        ("SMTP_HOST", "localhost"),
        ("SMTP_FROM", "otp@example.com"),
        ("WHATSAPP_ACCESS_TOKEN", "EAA"),
        ("WHATSAPP_PHONE_NUMBER_ID", "1067"),
        ("WHATSAPP_TEMPLATE", "otp"),
    ];

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn warned(variables: &[(&str, &str)]) -> Vec<String> {
        warnings(&environment(variables), &BTreeMap::new())
    }

    #[tokio::test]
    async fn the_usual_variables_of_every_vendor_are_enough_for_every_channel_it_has() {
        let built = build(&settings(&environment(COMPLETE)), &tools()).expect("providers");
        let on: Vec<_> = built.iter().map(|provider| provider.name()).collect();
        let with_variables = KINDS.iter().filter(|kind| !kind.switched_on_by.is_empty());
        assert_eq!(on, with_variables.map(|kind| kind.name).collect::<Vec<_>>());
        for provider in &built {
            let kind = KINDS.iter().find(|kind| kind.name == provider.name()).expect("its kind");
            assert_eq!(provider.channels(), kind.facts.channels, "{} in the table", kind.name);
        }
        assert_eq!(warned(COMPLETE), Vec::<String>::new());
    }

    #[test]
    fn other_names_of_the_same_setting_will_do() {
        for (names, kind) in [
            (["AT_USERNAME", "AT_API_KEY"].as_slice(), "africastalking"),
            (&["NEXMO_API_KEY", "NEXMO_API_SECRET"], "vonage"),
            (&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "SES_FROM"], "ses"),
            (&["POSTMARK_API_TOKEN", "POSTMARK_FROM_EMAIL"], "postmark"),
            (&["SENDGRID_API_KEY", "SENDGRID_FROM_EMAIL"], "sendgrid"),
            (&["RESEND_API_KEY", "RESEND_FROM_EMAIL"], "resend"),
            (&["WHATSAPP_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_TEMPLATE"], "meta"),
        ] {
            let set: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
            assert!(settings(&environment(&set)).contains_key(kind), "{names:?}");
        }
        let found = settings(&environment(&[("SMTP_HOST", "mx"), ("SMTP_USER", "u"), ("SMTP_PASS", "p")]));
        assert_eq!(found["smtp"], json!({"host": "mx", "username": "u", "password": "p"}));
    }

    #[test]
    fn the_vendors_own_name_goes_before_its_stand_ins() {
        let both = [
            ("TWILIO_ACCOUNT_SID", "AC1"),
            ("TWILIO_AUTH_TOKEN", "t"),
            ("TWILIO_PHONE_NUMBER", "+1500"),
            ("TWILIO_FROM", "Shop"),
        ];
        assert_eq!(settings(&environment(&both))["twilio"]["from"], "Shop");
        assert_eq!(settings(&environment(&both[..3]))["twilio"]["from"], "+1500");
    }

    #[test]
    fn all_of_what_switches_a_vendor_on_is_needed_and_what_is_not_there_is_named() {
        for kind in KINDS {
            for names in kind.switched_on_by {
                for gone in *names {
                    let rest: Vec<_> = names.iter().filter(|name| *name != gone).map(|name| (*name, "x")).collect();
                    let rest = environment(&rest);
                    assert!(settings(&rest).is_empty(), "{} without {gone}", kind.name);
                    let found = kinds(&rest).into_iter().find(|usual| usual.kind == kind.name).expect("the kind");
                    assert!(found.missing.iter().any(|names| names == &[*gone]), "{found:?} without {gone}");
                }
            }
        }
    }

    #[test]
    fn half_of_a_vendors_variables_switch_nothing_on_and_are_answered() {
        let half =
            [("TWILIO_ACCOUNT_SID", "AC1"), ("TWILIO_AUTH_TOKEN", " "), ("SMTP_PORT", "25"), ("AWS_REGION", "x")];
        assert!(settings(&environment(&half)).is_empty());
        assert_eq!(
            warned(&half),
            [
                "smtp stays off: SMTP_PORT alone will not do, set SMTP_URL, or SMTP_HOST too",
                "twilio stays off: TWILIO_ACCOUNT_SID alone will not do, set TWILIO_AUTH_TOKEN too",
            ]
        );
        let table = BTreeMap::from([("sms".to_owned(), json!({"kind": "twilio"}))]);
        assert_eq!(warnings(&environment(&half[..1]), &table), Vec::<String>::new(), "a table says it all");
    }

    #[test]
    fn names_of_no_vendor_are_answered_with_those_of_the_vendors() {
        let seen =
            warned(&[("SMS_API_KEY", "k"), ("SMS_API_SECRET", "s"), ("PLAYMOBILE_API_KEY", "k"), ("MAIL", "/var")]);
        let [misnomer, vague] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(misnomer.starts_with("nothing reads PLAYMOBILE_API_KEY: ") && misnomer.contains("PLAYMOBILE_USERNAME"));
        assert!(vague.starts_with("nothing reads SMS_API_KEY and SMS_API_SECRET, which could be any"), "{vague}");
        for choice in ["TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (twilio)", "ESKIZ_EMAIL and ESKIZ_PASSWORD (eskiz)"] {
            assert!(vague.contains(choice), "{vague}");
        }
        assert!(!vague.contains("SMTP_HOST"), "{vague}");
        let mail = warned(&[("EMAIL_HOST", "mx"), ("MAIL_PASSWORD", "p")]);
        assert!(mail[0].contains("EMAIL_HOST and MAIL_PASSWORD") && mail[0].contains("SMTP_URL, or SMTP_HOST (smtp)"));
        assert_eq!(warned(&[("SMS_API_KEY", " ")]), Vec::<String>::new());
    }
}
