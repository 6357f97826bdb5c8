//! What a code is sent to, in one canonical form, so that spelling cannot dodge a limit.

use std::fmt;

use email_address::EmailAddress;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};
use unicode_normalization::UnicodeNormalization;

use super::channel::Channel;

/// The e-mail domain and the phone prefix of the sandbox's magic targets.
pub const MAGIC_DOMAIN: &str = "@sandbox.otpd";
pub const MAGIC_PREFIX: &str = "+99900000";
/// RFC 5321, section 4.5.3.1.3, less the angle brackets.
const LONGEST_EMAIL: usize = 254;
/// No phone number, however spelled, needs more.
const LONGEST_PHONE: usize = 64;

/// A phone number or an e-mail address. `Debug` and `Display` mask it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    delivered: String,
    canonical: String,
    country: Option<String>,
    is_phone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("target must be a valid phone number")]
    Phone,
    #[error("target must be a valid e-mail address")]
    Email,
    #[error("countryCode is needed: target is not in international form")]
    CountryCodeMissing,
    #[error("countryCode must be a calling code such as +1 or a region such as US")]
    CountryCode,
    #[error("countryCode does not agree with target")]
    CountryCodeMismatch,
    #[error("target is a sandbox number: it needs a sandbox key")]
    MagicInLive,
}

/// How much a phone number must be worth: at send it is checked against the numbering plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A number that the plan assigns; magic numbers only where `magic` allows them.
    Valid { magic: bool },
    /// Anything that has a canonical form.
    Canonical,
}

impl Target {
    /// Reads a target for `channel`; `country` is a region or calling code for numbers in national form.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn parse(
        channel: Channel,
        text: &str,
        country: Option<&str>,
        strictness: Strictness,
    ) -> Result<Self, BadTarget> {
        match channel {
            Channel::Email => Self::email(text),
            Channel::Sms | Channel::Whatsapp => Self::phone(text, country, strictness),
        }
    }

    /// Reads a target whose channel is not named: it is an address when it has an `@`.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn guess(text: &str, country: Option<&str>) -> Result<Self, BadTarget> {
        let channel = if text.contains('@') { Channel::Email } else { Channel::Sms };
        Self::parse(channel, text, country, Strictness::Canonical)
    }

    fn email(text: &str) -> Result<Self, BadTarget> {
        let text = text.trim();
        if text.len() > LONGEST_EMAIL || !EmailAddress::is_valid(text) || text.contains('<') {
            return Err(BadTarget::Email);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(BadTarget::Email)?;
        let domain = idna::domain_to_ascii(domain).map_err(|_| BadTarget::Email)?;
        let local: String = local.nfc().collect::<String>().to_lowercase();
        Ok(Self { delivered: text.to_owned(), canonical: format!("{local}@{domain}"), country: None, is_phone: false })
    }

    fn phone(text: &str, country: Option<&str>, strictness: Strictness) -> Result<Self, BadTarget> {
        let text = text.trim();
        if text.len() > LONGEST_PHONE || text.is_empty() {
            return Err(BadTarget::Phone);
        }
        let country = country.map(Country::parse).transpose()?;
        if let Some(magic) = magic_phone(text) {
            return match strictness {
                Strictness::Valid { magic: false } => Err(BadTarget::MagicInLive),
                _ => Ok(magic),
            };
        }
        let international = text.starts_with('+') || text.starts_with('\u{ff0b}');
        if !international && country.is_none() {
            return Err(BadTarget::CountryCodeMissing);
        }
        let region = country.as_ref().map(|country| country.region);
        let number = PhoneNumber::parse(text, region).map_err(|_| BadTarget::Phone)?;
        if country.is_some_and(|country| !country.agrees(&number)) {
            return Err(BadTarget::CountryCodeMismatch);
        }
        // Which of the regions of a calling code it belongs to takes long to find out, so it is asked once.
        let region = number.get_region_code();
        let is_valid = || region.is_some_and(|region| number.is_valid_for_region(region));
        if matches!(strictness, Strictness::Valid { .. }) && !is_valid() {
            return Err(BadTarget::Phone);
        }
        let e164 = number.format_as(PhoneNumberFormat::E164).into_owned();
        let region = region.filter(|region| *region != Region::World);
        let country = region.map_or_else(|| "ZZ".to_owned(), |region| region.to_string());
        Ok(Self { canonical: e164.clone(), delivered: e164, country: Some(country), is_phone: true })
    }

    /// What was delivered to before, read back from the store.
    #[must_use]
    pub fn from_stored(delivered: String, country: Option<String>) -> Self {
        let is_phone = delivered.starts_with('+');
        Self { canonical: delivered.clone(), delivered, country, is_phone }
    }

    /// The form that limits and look-ups use.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The form that providers get: E.164, or the address as it was written.
    #[must_use]
    pub fn delivered(&self) -> &str {
        &self.delivered
    }

    /// ISO 3166 region of a phone, `ZZ` where its number has none.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.country.as_deref()
    }

    #[must_use]
    pub const fn is_phone(&self) -> bool {
        self.is_phone
    }

    /// One of the sandbox's magic targets: they are free of the per-target limits.
    #[must_use]
    pub fn is_magic(&self) -> bool {
        self.canonical.ends_with(MAGIC_DOMAIN) || magic_phone(&self.canonical).is_some()
    }
}

fn magic_phone(text: &str) -> Option<Target> {
    let tail = text.strip_prefix(MAGIC_PREFIX)?;
    let is_magic = tail.len() == 2 && tail.bytes().all(|byte| byte.is_ascii_digit());
    is_magic.then(|| Target {
        delivered: text.to_owned(),
        canonical: text.to_owned(),
        country: Some("ZZ".to_owned()),
        is_phone: true,
    })
}

/// `+1`, `1` or `US`.
#[derive(Debug, Clone, Copy)]
struct Country {
    region: Region,
    /// Whether the region itself was named, and not only a calling code that several regions may share.
    named: bool,
}

impl Country {
    fn parse(text: &str) -> Result<Self, BadTarget> {
        let text = text.trim();
        if is_region(text) {
            let region = Region::from_code(text).map_err(|_| BadTarget::CountryCode)?;
            return Ok(Self { region, named: true });
        }
        let digits = text.strip_prefix('+').unwrap_or(text);
        let calling_code = digits.parse::<u16>().map_err(|_| BadTarget::CountryCode)?;
        let region = PHONE_NUMBER_UTIL.get_region_for_country_code(i32::from(calling_code));
        region.map(|region| Self { region, named: false }).ok_or(BadTarget::CountryCode)
    }

    fn agrees(self, number: &PhoneNumber) -> bool {
        let same_code = PHONE_NUMBER_UTIL.get_country_code_for_region(self.region) == Some(number.country_code);
        let same_region = || number.get_region_code().is_none_or(|region| region == self.region);
        same_code && (!self.named || same_region())
    }
}

/// Whether the text names an ISO 3166 region that has a numbering plan.
#[must_use]
pub fn is_region(text: &str) -> bool {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code
        && Region::from_code(text).is_ok_and(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some())
}

/// Shows who it may be and not who it is: `+12***67`, `a***@example.com`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_phone {
            let end = self.canonical.len();
            let (head, tail) = (self.canonical.get(..3).unwrap_or("+"), self.canonical.get(end.saturating_sub(2)..));
            write!(f, "{head}***{}", tail.unwrap_or(""))
        } else {
            let (local, domain) = self.canonical.rsplit_once('@').unwrap_or(("", ""));
            write!(f, "{}***@{domain}", local.chars().next().unwrap_or('*'))
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEND: Strictness = Strictness::Valid { magic: false };

    #[track_caller]
    fn phone(text: &str, country: Option<&str>, expected: Result<&str, BadTarget>) {
        let target = Target::parse(Channel::Sms, text, country, SEND);
        assert_eq!(target.as_ref().map(Target::canonical).map_err(|bad| *bad), expected, "{text}");
    }

    #[test]
    fn phones_become_e164() {
        phone("+1 (415) 555-2671", None, Ok("+14155552671"));
        phone("4155552671", Some("+1"), Ok("+14155552671"));
        phone("4155552671", Some("US"), Ok("+14155552671"));
        phone("09123456789", Some("IR"), Ok("+989123456789"));
        phone("+14155552671", Some("1"), Ok("+14155552671"));
        phone("4155552671", None, Err(BadTarget::CountryCodeMissing));
        phone("+14155552671", Some("DE"), Err(BadTarget::CountryCodeMismatch));
        phone("+14155552671", Some("CA"), Err(BadTarget::CountryCodeMismatch));
        phone("4155552671", Some("Mars"), Err(BadTarget::CountryCode));
        phone("+1415", None, Err(BadTarget::Phone));
        phone("+99900000001", None, Err(BadTarget::Phone));
        phone("+9990000001", None, Err(BadTarget::MagicInLive));
        phone("", None, Err(BadTarget::Phone));
    }

    #[test]
    fn addresses_are_canonical_for_limits_and_kept_for_delivery() {
        let target = Target::parse(Channel::Email, "Jürgen.M@BÜCHER.example", None, SEND).expect("address");
        assert_eq!(target.canonical(), "jürgen.m@xn--bcher-kva.example");
        assert_eq!(target.delivered(), "Jürgen.M@BÜCHER.example");
        for bad in ["", "a", "a@", "@b.example", "a b@c.example", "Ann <a@b.example>"] {
            assert!(Target::parse(Channel::Email, bad, None, SEND).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_do_not_show_themselves() {
        for text in ["+14155552671", "somebody@example.com"] {
            let target = Target::guess(text, None).expect("target");
            let shown = format!("{target} {target:?}");
            assert!(shown.contains("***"), "{shown}");
            assert!(!shown.contains("415555") && !shown.contains("omebody"), "{shown}");
        }
    }

    #[test]
    fn magic_targets_are_known() {
        let magic = Strictness::Valid { magic: true };
        assert!(Target::parse(Channel::Sms, "+9990000001", None, magic).expect("magic").is_magic());
        assert!(Target::parse(Channel::Email, "slow@sandbox.otpd", None, magic).expect("magic").is_magic());
        assert!(!Target::parse(Channel::Email, "slow@example.com", None, magic).expect("address").is_magic());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}", country in proptest::option::of("\\PC{0,6}")) {
            for channel in Channel::ALL {
                let _ = Target::parse(channel, &text, country.as_deref(), SEND);
                let _ = Target::guess(&text, country.as_deref());
            }
        }

        #[test]
        fn canonical_forms_are_their_own_canonical_form(national in "[2-9][0-9]{9}") {
            if let Ok(target) = Target::parse(Channel::Sms, &national, Some("US"), SEND) {
                let again = Target::guess(target.canonical(), None).expect("canonical");
                prop_assert_eq!(again.canonical(), target.canonical());
            }
        }
    }
}
