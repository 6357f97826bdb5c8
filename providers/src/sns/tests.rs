//! SNS: which posts are believed, where certificates come from, and what a subscription is answered.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use proptest::prelude::*;
use serde_json::{Value, json};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::with;

const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:otp";
const CERTIFICATE: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem";
const NOW: Timestamp = Timestamp::from_ms(1_752_402_600_000);

const OLD_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA6YTAJUK/g0bvhZN0BwjL9r/0lEp2RWLazOVSaIE7yuPU1Ghate/GSpWA\
    +GuCHePv3tIKgeRYbsA30t3U6UD7MLDcjeTpsBOC5PxA7FugV82rnKHKLXy7eqML3w54iZeR5aLrJUXPoPEoGRphOlcI6sKY1scA\
    Isftv6D0Me5iAEbIyj+I2IaahQzM9tX+EfFK3m8fuS4d5pY+YaNxvOV33KdEoY7BReVuDTV5tQbT+UEVfVaaZ0LWOkElxgIui6UG\
    h9V5Pwi8h9DEdSUgFPLUmvWvQ5+o55NN5916roOSnAbXDcJF7j5KDxfYhDuQkxDPP/ysyUdn8JmL2aVQr9PcLQIDAQAB";
const OLD_SIGNATURE: &str = "c9th8VDDmHqHt2W/PUgyoImf4OwJadhVv4CE32GTaGk08etek2Gz0thCbYG5uklJT18K6hIt/Cu1ea51V+m+L9kkYdqXeX/6JKBa\
    puz3slTabUJL81T/TB9QihIIlgzJPSWm7casNBDLywNiyYzzc4fbryWRbWauQuExXcLevC5E0179IYwwRtDfNcjg3CvOX7gzQQ+L\
    tA3hlAB+ZekjahwOxb0rQVR5gi2s5D2rSfu20R8sheWNCnzCMMmkOzKh8wHrAU0cuS/aAUoP0oD9dB09hS3b4oIToNSul8PmpSy5\
    WRo0mJn0csM33SIJTb90Lcj1tdq1SWvVBLk/rTaGvg==";

/// A topic whose host is this machine, where nothing answers: no test calls Amazon.
fn topic() -> Topic {
    let nowhere = "127.0.0.1:9".parse().expect("an address");
    let http = Client::builder().no_proxy().resolve("sns.eu-west-1.amazonaws.com", nowhere).build().expect("a client");
    Topic::new(ARN, http, TaskTracker::new()).expect("a topic")
}

struct Amazon {
    pair: KeyPair,
    topic: Topic,
}

impl Amazon {
    /// One whose certificate has been fetched.
    fn known() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let topic = topic();
        let key = pair.public_key().as_der().expect("a key").as_ref().to_vec();
        topic.certificates.lock().expect("lock").keys.insert(CERTIFICATE.to_owned(), Arc::new(key));
        Self { pair, topic }
    }

    /// The post with its signature, then altered.
    fn read(&self, post: Value, altered: Value) -> Result<Option<String>, BadReceipt> {
        let mut post = post;
        let unsigned: Posted = serde_json::from_value(post.clone()).expect("a post");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = unsigned.signed();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a signature");
        post["Signature"] = BASE64_STANDARD.encode(signature).into();
        self.topic.read(with(post, altered).to_string().as_bytes(), NOW)
    }
}

fn post(kind: &str) -> Value {
    json!({
        "Type": kind, "MessageId": "m1", "TopicArn": ARN, "Message": "{}", "Timestamp": NOW.rfc3339(),
        "SignatureVersion": "2", "Signature": "", "SigningCertURL": CERTIFICATE, "UnsubscribeURL": "https://a.example/",
    })
}

#[tokio::test]
async fn what_the_topic_published_is_read() {
    let amazon = Amazon::known();
    assert_eq!(amazon.read(post("Notification"), json!({})), Ok(Some("{}".to_owned())));
    assert_eq!(amazon.read(post("UnsubscribeConfirmation"), json!({})), Ok(None));
}

/// Signed by OpenSSL with a key that is not kept.
#[tokio::test]
async fn a_signature_of_version_1_is_of_sha1() {
    let topic = topic();
    let key = BASE64_STANDARD.decode(OLD_KEY).expect("base64");
    topic.certificates.lock().expect("lock").keys.insert(CERTIFICATE.to_owned(), Arc::new(key));
    let signed = json!({"SignatureVersion": "1", "Subject": "Amazon SES", "Signature": OLD_SIGNATURE});
    let read = |post: Value| topic.read(post.to_string().as_bytes(), NOW);
    let mut old = with(post("Notification"), signed);
    assert_eq!(read(old.clone()), Ok(Some("{}".to_owned())));
    old["SignatureVersion"] = "2".into();
    assert_eq!(read(old), Err(BadReceipt::Forged));
}

#[test]
fn what_is_signed_is_in_order() {
    let mut asking = post("SubscriptionConfirmation");
    (asking["Token"], asking["SubscribeURL"], asking["Subject"]) = ("t".into(), "u".into(), "not signed".into());
    let asking: Posted = serde_json::from_value(asking).expect("a post");
    let at = NOW.rfc3339();
    let expected = format!(
        "Message\n{{}}\nMessageId\nm1\nSubscribeURL\nu\nTimestamp\n{at}\nToken\nt\nTopicArn\n{ARN}\nType\n\
         SubscriptionConfirmation\n"
    );
    assert_eq!(asking.signed(), expected);
}

#[tokio::test]
async fn what_is_altered_old_or_of_another_topic_is_forged() {
    let amazon = Amazon::known();
    let at = |ms: i64| json!({"Timestamp": Timestamp::from_ms(NOW.as_ms() + ms).rfc3339()});
    for altered in [
        json!({"Message": "{\"a\":1}"}),
        json!({"Subject": "new"}),
        json!({"SignatureVersion": "1"}),
        json!({"SignatureVersion": "3"}),
        json!({"Signature": "AAAA"}),
        json!({"Signature": "!"}),
        json!({"TopicArn": "arn:aws:sns:eu-west-1:123456789012:other"}),
        at(1),
    ] {
        assert_eq!(amazon.read(post("Notification"), altered.clone()), Err(BadReceipt::Forged), "{altered}");
    }
    for ms in [-3_600_001, 3_600_001] {
        let old = with(post("Notification"), at(ms));
        assert_eq!(amazon.read(old, json!({})), Err(BadReceipt::Forged), "{ms}");
    }
    let late = with(post("Notification"), at(-3_599_000));
    assert!(amazon.read(late, json!({})).is_ok());
    for unsigned in ["SignatureVersion", "Signature", "SigningCertURL"] {
        let mut post = post("Notification");
        post.as_object_mut().expect("a post").remove(unsigned);
        assert_eq!(amazon.topic.read(post.to_string().as_bytes(), NOW), Err(BadReceipt::Forged), "no {unsigned}");
    }
    for bad in ["", "{}", "[]", "{\"Type\":\"Notification\"}"] {
        assert_eq!(amazon.topic.read(bad.as_bytes(), NOW), Err(BadReceipt::Malformed), "{bad}");
    }
}

#[tokio::test]
async fn certificates_are_the_topics_own_regions() {
    let topic = topic();
    let read = |url: &str| {
        let mut post = post("Notification");
        post["SigningCertURL"] = url.into();
        topic.read(post.to_string().as_bytes(), NOW)
    };
    for url in [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0a1b.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0a1b.pem",
        "https://evil@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish&x=.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem/../x",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem",
        "https://127.0.0.1/SimpleNotificationService-0a1b.pem",
        "",
    ] {
        assert_eq!(read(url), Err(BadReceipt::Forged), "{url}");
    }
    assert!(topic.certificates.lock().expect("lock").fetching.is_empty());
    assert_eq!((read(CERTIFICATE), read(CERTIFICATE)), (Err(BadReceipt::NotYet), Err(BadReceipt::NotYet)));
    assert_eq!(topic.tasks.len(), 1);
    for n in 0..9 {
        assert_eq!(read(&CERTIFICATE.replace("0a1b", &n.to_string())), Err(BadReceipt::NotYet));
    }
    assert_eq!(topic.tasks.len(), MOST_FETCHES);
    topic.tasks.close();
    topic.tasks.wait().await;
    assert!(topic.certificates.lock().expect("lock").fetching.is_empty());
}

#[tokio::test]
async fn a_subscription_is_confirmed_at_the_topics_own_host_alone() {
    let amazon = Amazon::known();
    let asking = |url: &str| {
        let mut post = post("SubscriptionConfirmation");
        (post["Token"], post["SubscribeURL"]) = ("t".into(), url.into());
        post
    };
    let good = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=t";
    for url in ["https://evil.example/", "http://sns.eu-west-1.amazonaws.com/", "http://127.0.0.1/", ""] {
        assert_eq!(amazon.read(asking(url), json!({})), Err(BadReceipt::Forged), "{url}");
    }
    assert_eq!(amazon.read(asking(good), json!({"Token": "u"})), Err(BadReceipt::Forged));
    assert_eq!(amazon.topic.tasks.len(), 0);
    assert_eq!(amazon.read(asking(good), json!({})), Ok(None));
    assert_eq!(amazon.topic.tasks.len(), 1);
}

/// A tag of DER, its length and what is in it.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("a short one").to_be_bytes();
    let length = match (high, low) {
        (0, 0..=127) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}

/// A certificate of nobody, by nobody, for this key.
fn certificate(pair: &KeyPair) -> String {
    let rsa_sha256 = der(0x30, &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 0x05, 0]);
    let (version, serial) = ([0xa0, 3, 2, 1, 2], [2, 1, 1]);
    let validity = der(0x30, &[der(0x17, b"250101000000Z"), der(0x17, b"350101000000Z")].concat());
    let key = pair.public_key().as_der().expect("a key");
    let nobody = [0x30, 0];
    let parts = [&version, serial.as_slice(), &rsa_sha256, &nobody, &validity, &nobody, key.as_ref()];
    let to_sign = der(0x30, &parts.concat());
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &to_sign, &mut signature).expect("a signature");
    let signature = der(0x03, &[&[0], signature.as_slice()].concat());
    let whole = der(0x30, &[to_sign, rsa_sha256, signature].concat());
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(whole))
}

#[tokio::test]
async fn a_fetched_certificate_is_kept_and_other_answers_are_not() {
    let amazon = Amazon::known();
    let server = MockServer::start().await;
    let good = ResponseTemplate::new(200).set_body_string(certificate(&amazon.pair));
    Mock::given(path("/good.pem")).respond_with(good).mount(&server).await;
    let page = ResponseTemplate::new(200).set_body_string("<html>");
    Mock::given(path("/page.pem")).respond_with(page).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(&server).await;
    let certificates = Arc::<Mutex<Certificates>>::default();
    for name in ["good", "page", "gone"] {
        let address = Url::parse(&format!("{}/{name}.pem", server.uri())).expect("a URL");
        certificates.lock().expect("lock").fetching.insert(name.to_owned());
        fetch(crate::http::client().expect("a client"), address, name.to_owned(), Arc::clone(&certificates)).await;
    }
    let certificates = certificates.lock().expect("lock");
    assert_eq!(certificates.keys.keys().collect::<Vec<_>>(), ["good"]);
    assert!(certificates.fetching.is_empty());
    assert_eq!(certificates.keys["good"], amazon.topic.certificates.lock().expect("lock").keys[CERTIFICATE]);
}

#[test]
fn a_topic_has_a_whole_name() {
    let host = |arn: &str| Topic::new(arn, Client::new(), TaskTracker::new()).map(|topic| topic.base.to_string());
    assert_eq!(host(ARN).as_deref(), Some("https://sns.eu-west-1.amazonaws.com/"));
    assert_eq!(host("arn:aws-cn:sns:cn-north-1:1:otp").as_deref(), Some("https://sns.cn-north-1.amazonaws.com.cn/"));
    for bad in ["", "otp", "arn:aws:sqs:eu-west-1:1:otp", "arn:aws:sns:evil.example/:1:otp", "arn:aws:sns::1:otp"] {
        assert_eq!(host(bad), None, "{bad}");
    }
}

#[test]
fn another_sns_is_below_its_own_address_alone() {
    let topic = topic().at(Url::parse("http://127.0.0.1:8085/ses/sns").expect("a URL"));
    let certificate = "http://127.0.0.1:8085/ses/sns/SimpleNotificationService-0a1b.pem";
    assert!(topic.ours(certificate).is_some());
    let file = "SimpleNotificationService-0a1b.pem";
    for other in ["http://127.0.0.1:8085/ses/", "http://127.0.0.1:8086/ses/sns/", "https://127.0.0.1:8085/ses/sns/"] {
        assert!(topic.ours(&format!("{other}{file}")).is_none(), "{other}");
    }
    assert!(topic.ours(CERTIFICATE).is_none());
}

#[test]
fn no_post_and_no_certificate_makes_it_panic() {
    let topic = Topic::new(ARN, Client::new(), TaskTracker::new()).expect("a topic");
    let body = proptest::collection::vec(proptest::num::u8::ANY, 0..200);
    proptest!(|(text in "\\PC{0,80}", body in body)| {
        let mut post = post("Notification");
        (post["SigningCertURL"], post["Timestamp"]) = (text.as_str().into(), text.as_str().into());
        let _ = (topic.read(&body, NOW), topic.read(post.to_string().as_bytes(), NOW));
        let _ = (public_key(&body), public_key(text.as_bytes()), is_certificate(&text));
    });
}
