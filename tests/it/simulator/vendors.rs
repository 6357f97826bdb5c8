//! Each vendor that is played, through the real adapter: a code delivered, its receipt, and all that it may refuse.

use serde_json::json;

use super::rig::{Rehearsal, attempts};

const ALWAYS: [(&str, &str); 3] =
    [("401", "misconfigured_credentials"), ("throttled", "throttled"), ("unavailable", "unavailable")];

/// What is played, and how otpd is set wrongly.
struct Vendor {
    name: &'static str,
    channel: &'static str,
    /// A setting that is its credentials, and the words that it refuses others with.
    credentials: (&'static str, &'static str),
    /// What else it may answer, and the causes.
    answers: &'static [(&'static str, &'static str)],
}

impl Vendor {
    /// A target of this channel that no other message of a test has had, and that asks for nothing.
    fn target(&self, n: usize) -> String {
        match (self.channel, self.name) {
            ("email", _) => format!("ann{n}@example.com"),
            (_, "playmobile" | "eskiz") => format!("+9989012345{n:02}"),
            _ => format!("+141555526{n:02}"),
        }
    }

    async fn rehearse(&self) {
        self.delivers_and_refuses().await;
        self.refuses_other_credentials().await;
    }

    async fn delivers_and_refuses(&self) {
        let rig = Rehearsal::start(&[self.name], &[]).await;
        let target = self.target(0);
        let id = rig.send(self.channel, &target).await;
        let dispatch = rig.dispatch_in(&id, "delivered").await;
        assert_eq!(attempts(&dispatch), [format!("{} delivered", self.name)], "{dispatch:#}");
        let code = rig.code_at(self.name).await;
        assert_eq!(rig.client.verify(&target, &code).await.body["valid"], true);
        let shown = rig.vendors.shown(self.name).await;
        assert_eq!((&shown["taken"], &shown["receiptsRefused"]), (&json!(1), &json!(0)), "{shown:#}");

        for (n, (answer, cause)) in ALWAYS.iter().chain(self.answers).enumerate() {
            rig.vendors.order(self.name, &json!({"answer": answer})).await;
            let id = rig.send(self.channel, &self.target(n + 1)).await;
            let dispatch = rig.after_attempts(&id, 1).await;
            let first = attempts(&dispatch).remove(0);
            assert_eq!(first, format!("{} {cause}", self.name), "{answer}: {dispatch:#}");
            // The breaker lets one through again.
            rig.advance(61);
        }
        rig.vendors.order(self.name, &json!({"answer": "ok", "receipts": "none"})).await;
        let id = rig.send(self.channel, &self.target(20)).await;
        assert_eq!(attempts(&rig.dispatch_in(&id, "sent").await), [format!("{} sent", self.name)]);
    }

    async fn refuses_other_credentials(&self) {
        let (setting, words) = self.credentials;
        let variable = format!("OTPD_PROVIDERS__{}__{}", self.name.to_uppercase(), setting.to_uppercase());
        let rig = Rehearsal::start(&[self.name], &[(&variable, "wrong-credentials-0")]).await;
        let id = rig.send(self.channel, &self.target(0)).await;
        let dispatch = rig.after_attempts(&id, 1).await;
        let attempt = &dispatch["attempts"][0];
        assert_eq!(attempt["cause"], "misconfigured_credentials", "{dispatch:#}");
        assert!(attempt["detail"].as_str().expect("words").contains(words), "{dispatch:#}");
        assert_eq!(rig.vendors.count(self.name, "taken").await, 0);
    }
}

const BALANCE: (&str, &str) = ("balance", "misconfigured_balance");
const IP: (&str, &str) = ("ip", "misconfigured_ip_blocked");
const SENDER: (&str, &str) = ("sender", "misconfigured_sender");
const REJECTED: (&str, &str) = ("rejected", "rejected");
const USUAL: &[(&str, &str)] = &[BALANCE, SENDER, REJECTED];
const ALL: &[(&str, &str)] = &[BALANCE, IP, SENDER, REJECTED];

/// `vendors!(test: name by channel, credentials => words, answers)`.
macro_rules! vendors {
    ($($test:ident: $name:literal by $channel:literal, $setting:literal => $words:literal, $answers:expr;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                let credentials = ($setting, $words);
                Vendor { name: $name, channel: $channel, credentials, answers: $answers }.rehearse().await;
            }
        )+
    };
}

vendors! {
    africastalking: "africastalking" by "sms", "api_key" => "401: The supplied authentication is invalid", USUAL;
    eskiz: "eskiz" by "sms", "password" => "Invalid credentials", USUAL;
    infobip: "infobip" by "sms", "api_key" => "401 E401", ALL;
    infobip_whatsapp: "infobip" by "whatsapp", "api_key" => "401 UNAUTHORIZED", ALL;
    mailgun: "mailgun" by "email", "api_key" => "Forbidden", ALL;
    meta: "meta" by "whatsapp", "access_token" => "401 190", USUAL;
    playmobile: "playmobile" by "sms", "password" => "401: Unauthorized", &[IP, SENDER];
    postmark: "postmark" by "email", "server_token" => "401 10", ALL;
    resend: "resend" by "email", "api_key" => "403: invalid_api_key", USUAL;
    sendgrid: "sendgrid" by "email", "api_key" => "authorization grant is invalid", ALL;
    ses: "ses" by "email", "secret_access_key" => "SignatureDoesNotMatch", USUAL;
    telnyx: "telnyx" by "sms", "api_key" => "401 10009", USUAL;
    twilio: "twilio" by "sms", "auth_token" => "401 20003: Authenticate", USUAL;
    twilio_whatsapp: "twilio" by "whatsapp", "auth_token" => "401 20003: Authenticate", USUAL;
    vonage: "vonage" by "sms", "api_secret" => "You did not provide correct credentials", USUAL;
    vonage_whatsapp: "vonage" by "whatsapp", "api_secret" => "You did not provide correct credentials", USUAL;
}

#[tokio::test]
async fn templates_of_whatsapp_have_the_code_where_it_belongs() {
    let content = format!("HX{}", "0c".repeat(16));
    for (vendor, setting, value) in [
        ("twilio", "OTPD_PROVIDERS__TWILIO__WHATSAPP_CONTENT_SID", content.as_str()),
        ("infobip", "OTPD_PROVIDERS__INFOBIP__WHATSAPP_TEMPLATE", "login_code"),
        ("vonage", "OTPD_PROVIDERS__VONAGE__WHATSAPP_TEMPLATE", "login_code"),
    ] {
        let rig = Rehearsal::start(&[vendor], &[(setting, value)]).await;
        let target = "+14155552671";
        let id = rig.send("whatsapp", target).await;
        assert_eq!(attempts(&rig.dispatch_in(&id, "delivered").await), [format!("{vendor} delivered")]);
        let code = rig.code_at(vendor).await;
        assert_eq!(rig.client.verify(target, &code).await.body["valid"], true);
    }
}
