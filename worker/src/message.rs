//! The words of a message: templates by channel and locale, filled with the project's name, the code and its minutes.

use std::time::Duration;

use common::otp::channel::Channel;
use common::otp::code::Code;
use minijinja::{Environment, context};
use providers::Content;

/// The locales there are words for; the first one serves everybody else.
pub const LOCALES: [&str; 5] = ["en", "de", "es", "fr", "ru"];

const TEMPLATES: [(&str, &str); 20] = [
    ("en/message.txt", include_str!("templates/en/message.txt")),
    ("en/subject.txt", include_str!("templates/en/subject.txt")),
    ("en/email.txt", include_str!("templates/en/email.txt")),
    ("en/email.html", include_str!("templates/en/email.html")),
    ("de/message.txt", include_str!("templates/de/message.txt")),
    ("de/subject.txt", include_str!("templates/de/subject.txt")),
    ("de/email.txt", include_str!("templates/de/email.txt")),
    ("de/email.html", include_str!("templates/de/email.html")),
    ("es/message.txt", include_str!("templates/es/message.txt")),
    ("es/subject.txt", include_str!("templates/es/subject.txt")),
    ("es/email.txt", include_str!("templates/es/email.txt")),
    ("es/email.html", include_str!("templates/es/email.html")),
    ("fr/message.txt", include_str!("templates/fr/message.txt")),
    ("fr/subject.txt", include_str!("templates/fr/subject.txt")),
    ("fr/email.txt", include_str!("templates/fr/email.txt")),
    ("fr/email.html", include_str!("templates/fr/email.html")),
    ("ru/message.txt", include_str!("templates/ru/message.txt")),
    ("ru/subject.txt", include_str!("templates/ru/subject.txt")),
    ("ru/email.txt", include_str!("templates/ru/email.txt")),
    ("ru/email.html", include_str!("templates/ru/email.html")),
];

/// What a template is filled with.
#[derive(Debug)]
pub struct Filling<'a> {
    pub project: &'a str,
    pub code: &'a Code,
    /// How long the code still lives; shown as whole minutes, at least one.
    pub remaining: Duration,
    /// The host that WebOTP binds the code to.
    pub host: Option<&'a str>,
    pub locale: &'a str,
}

#[derive(Debug)]
pub struct Templates(Environment<'static>);

impl Templates {
    /// Compiles the built-in templates.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        for (name, source) in TEMPLATES {
            environment.add_template(name, source.trim_end())?;
        }
        Ok(Self(environment))
    }

    /// The words for one channel.
    ///
    /// # Errors
    /// When a template cannot be filled.
    pub fn render(&self, channel: Channel, filling: &Filling<'_>) -> Result<Content, minijinja::Error> {
        let locale = best_locale(filling.locale);
        let words = context! {
            project => filling.project,
            code => filling.code.reveal(),
            minutes => filling.remaining.as_secs().div_ceil(60).max(1),
        };
        let fill = |name: &str| self.0.get_template(&format!("{locale}/{name}"))?.render(&words);
        if channel == Channel::Email {
            let (subject, html) = (Some(one_line(&fill("subject.txt")?)), Some(fill("email.html")?));
            return Ok(Content { text: fill("email.txt")?, subject, html });
        }
        let mut text = fill("message.txt")?;
        if let Some(host) = filling.host.filter(|_| channel == Channel::Sms) {
            // https://wicg.github.io/sms-one-time-codes: the last line, and nothing after the code.
            text = format!("{text}\n\n@{host} #{}", filling.code.reveal());
        }
        Ok(Content { text, subject: None, html: None })
    }
}

/// RFC 4647 lookup: the tag is shortened from its end until there are words for it.
fn best_locale(tag: &str) -> &'static str {
    let mut tag = tag.to_ascii_lowercase().replace('_', "-");
    loop {
        if let Some(locale) = LOCALES.into_iter().find(|locale| *locale == tag) {
            return locale;
        }
        match tag.rfind('-') {
            Some(end) => tag.truncate(end),
            None => return LOCALES[0],
        }
    }
}

/// A subject is a header: it has no second line, whatever the project is called.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(channel: Channel, locale: &str, project: &str, host: Option<&str>) -> Content {
        let code = Code::parse("012345").expect("code");
        let filling = Filling { project, code: &code, remaining: Duration::from_secs(281), host, locale };
        Templates::new().expect("templates").render(channel, &filling).expect("words")
    }

    #[test]
    fn every_locale_has_words_for_every_channel() {
        for locale in LOCALES {
            for channel in Channel::ALL {
                let content = render(channel, locale, "Acme", None);
                for text in [Some(content.text), content.html].into_iter().flatten() {
                    assert!(text.contains("012345") && text.contains("Acme") && text.contains('5'), "{text}");
                }
                assert_eq!(content.subject.is_some(), channel == Channel::Email);
            }
        }
    }

    #[test]
    fn locales_are_looked_up_from_the_special_to_the_general() {
        assert_eq!(best_locale("de-AT"), "de");
        assert_eq!(best_locale("ru_RU"), "ru");
        assert_eq!(best_locale("tlh"), "en");
        assert_eq!(best_locale(""), "en");
    }

    #[test]
    fn web_otp_is_the_last_line_of_an_sms_and_of_nothing_else() {
        let text = render(Channel::Sms, "en", "Acme", Some("acme.example")).text;
        assert!(text.ends_with("\n\n@acme.example #012345"), "{text}");
        assert!(!render(Channel::Whatsapp, "en", "Acme", Some("acme.example")).text.contains('@'));
    }

    #[test]
    fn a_project_name_cannot_break_out() {
        let content = render(Channel::Email, "en", "<b>A</b>\r\nBcc: x@y.example", None);
        assert!(!content.html.expect("html").contains("<b>A"));
        assert!(!content.subject.expect("subject").contains('\n'));
    }

    #[test]
    fn an_english_sms_fits_one_segment() {
        let text = render(Channel::Sms, "en", "Acme Incorporated", Some("login.acme.example")).text;
        assert!(text.is_ascii() && text.len() <= 160, "{} characters: {text}", text.len());
    }
}
