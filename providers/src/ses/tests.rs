//! SES against a stub: what is sent and signed, what its answers mean, and what its events say.

use proptest::prelude::*;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{
    ATTEMPT as ATTEMPT_ID, RETRY_AFTER, assert_ill, email, receipt, received_json, reply, tools, with,
};

const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:otp";

fn settings(extra: Value) -> Value {
    let settings = json!({
        "access_key_id": "AKIDEXAMPLE", "secret_access_key": "hunter2", "region": "eu-west-1", "from": "otp@shop.example",
    });
    with(settings, extra)
}

fn provider(extra: Value) -> Arc<dyn Provider> {
    configure(Settings::new("ses", &settings(extra)), &tools()).expect("settings")
}

async fn answering(status: u16, body: Value) -> (MockServer, String) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&server).await;
    let url = server.uri();
    (server, url)
}

#[tokio::test]
async fn an_email_is_one_json_body() {
    let (server, url) = answering(200, json!({"MessageId": "0100-1"})).await;
    let provider = provider(json!({"base_url": url, "configuration_set": "otp", "session_token": "borrowed"}));
    let handed = provider.send(&email()).await;
    assert_eq!(handed, Ok(Handed { message_id: Some("0100-1".to_owned()), delivered: false }));
    let request = server.received_requests().await.expect("requests").remove(0);
    let authorization = request.headers["authorization"].to_str().expect("text");
    let (head, rest) = authorization.split_once("Credential=AKIDEXAMPLE/").expect("a credential");
    let (_day, rest) = rest.split_at(8);
    let (scope, signature) = rest.split_once("Signature=").expect("a signature");
    let names = "content-type;host;x-amz-date;x-amz-security-token";
    assert_eq!(
        (head, scope),
        ("AWS4-HMAC-SHA256 ", format!("/eu-west-1/ses/aws4_request, SignedHeaders={names}, ").as_str())
    );
    assert_eq!(request.headers["x-amz-security-token"], "borrowed");
    let shown = received_json(&server).await.replace(authorization, "(signed)");
    assert!(signature.len() == 64 && !shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown, @r#"
    POST /v2/email/outbound-emails
    content-type: application/json
    authorization: (signed)
    accept: */*
    user-agent: otpd/0.1.0

    {
      "ConfigurationSetName": "otp",
      "Content": {
        "Simple": {
          "Body": {
            "Html": {
              "Charset": "UTF-8",
              "Data": "<p>Your code is <b>482913</b></p>"
            },
            "Text": {
              "Charset": "UTF-8",
              "Data": "Your code is 482913"
            }
          },
          "Headers": [
            {
              "Name": "Auto-Submitted",
              "Value": "auto-generated"
            }
          ],
          "Subject": {
            "Charset": "UTF-8",
            "Data": "Your code for shop"
          }
        }
      },
      "Destination": {
        "ToAddresses": [
          "Ann@example.com"
        ]
      },
      "EmailTags": [
        {
          "Name": "otpd_attempt",
          "Value": "01980283-4d40-7000-8000-00000000002a_1_1"
        }
      ],
      "FromEmailAddress": "otp@shop.example"
    }
    "#);
}

/// What is signed is what goes out: the signature is made again of the request as it arrived.
#[tokio::test]
async fn the_signature_covers_the_request_as_it_arrives() {
    let (server, url) = answering(200, json!({"MessageId": "0100-1"})).await;
    assert!(provider(json!({"base_url": url})).send(&email()).await.is_ok());
    let request = server.received_requests().await.expect("requests").remove(0);
    let header = |name: &str| request.headers[name].to_str().expect("text");
    let host = Url::parse(&format!("http://{}{}", header("host"), request.url.path())).expect("a URL");
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SecretString::from("hunter2"),
        session_token: None,
        region: "eu-west-1".to_owned(),
        service: "ses",
    };
    let date = header("x-amz-date");
    let rfc3339 =
        format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..8], &date[9..11], &date[11..13], &date[13..15]);
    let at = common::otp::time::Timestamp::parse_rfc3339(&rfc3339).expect("a date");
    let unsigned = Unsigned { method: "POST", url: &host, content_type: header("content-type"), body: &request.body };
    assert_eq!(signer.sign(unsigned, at).authorization, header("authorization"));
}

#[test]
fn a_senders_name_is_encoded_where_it_must_be() {
    let shown = |from: &str| encoded(&from.parse().expect("a mailbox"));
    assert_eq!(shown("Shop <otp@shop.example>"), "Shop <otp@shop.example>");
    assert_eq!(shown("Café <otp@shop.example>"), "=?UTF-8?B?Q2Fmw6k=?= <otp@shop.example>");
    let long = shown(&format!("{} <otp@shop.example>", "é".repeat(40)));
    assert!(long.split(' ').all(|word| word.len() <= 75) && long.matches("=?UTF-8?B?").count() == 2, "{long}");
}

#[track_caller]
fn check(status: u16, name: &str, said: &str, expected: &Cause) {
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", name.parse().expect("a header"));
    let failed = read(&reply(status, &json!({"message": said})), &headers).expect_err("a failure");
    assert_eq!(&failed.0, expected, "{status} {name} {said}");
    let by_body = reply(status, &json!({"__type": format!("com.amazonaws.sesv2#{name}"), "Message": said}));
    assert_eq!(&read(&by_body, &HeaderMap::new()).expect_err("a failure").0, expected, "{status} {name} {said}");
}

#[test]
fn every_known_error_has_its_cause() {
    use Misconfiguration::{Balance, Credentials, Endpoint, Sender};
    let misconfigured = Cause::Misconfigured;
    let throttled = Cause::Throttled { retry_after: Some(RETRY_AFTER) };
    for name in [
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ] {
        check(403, name, "", &misconfigured(Credentials));
    }
    check(400, "AccountSuspendedException", "", &misconfigured(Credentials));
    check(403, "anything", "", &misconfigured(Credentials));
    check(429, "TooManyRequestsException", "Daily message quota exceeded.", &misconfigured(Balance));
    check(400, "LimitExceededException", "Sending quota exceeded", &misconfigured(Balance));
    check(429, "TooManyRequestsException", "Maximum sending rate exceeded.", &throttled);
    check(400, "LimitExceededException", "", &throttled);
    check(400, "ThrottlingException", "Rate exceeded", &throttled);
    check(429, "anything", "", &throttled);
    check(500, "InternalFailure", "", &Cause::Unavailable);
    check(400, "InternalServiceErrorException", "", &Cause::Unavailable);
    check(503, "ServiceUnavailable", "", &Cause::Unavailable);
    check(502, "anything", "", &Cause::Unavailable);
    check(400, "MessageRejected", "Email address is not verified.", &misconfigured(Sender));
    check(400, "MailFromDomainNotVerifiedException", "", &misconfigured(Sender));
    check(400, "SendingPausedException", "", &misconfigured(Sender));
    check(404, "NotFoundException", "Configuration set <otp> does not exist.", &misconfigured(Sender));
    for said in ["Illegal address", "Missing final '@domain'", "Local address contains control or whitespace"] {
        check(400, "BadRequestException", said, &Cause::Rejected);
    }
    for said in ["Domain contains dot-dot", "Domain starts with dot", "Domain ends with dot"] {
        check(400, "BadRequestException", said, &Cause::Rejected);
    }
    check(400, "BadRequestException", "Body is missing", &misconfigured(Endpoint));
    check(404, "UnknownOperationException", "", &misconfigured(Endpoint));
    check(302, "anything", "", &misconfigured(Endpoint));
    assert_eq!(read(&reply(200, "<html>"), &HeaderMap::new()).expect_err("no message").0, misconfigured(Endpoint));
    let cut = Reply { whole: false, ..reply(200, "{\"Mess") };
    assert_eq!(read(&cut, &HeaderMap::new()), Ok(Handed::default()));
    let colon = "MessageRejected:http://internal.amazon.com/coral/com.amazonaws.sesv2/";
    let headers =
        HeaderMap::from_iter([("x-amzn-errortype".parse().expect("a name"), colon.parse().expect("a value"))]);
    assert_eq!(read(&reply(400, "{}"), &headers).expect_err("a failure").0, misconfigured(Sender));
}

#[tokio::test]
async fn words_quote_nothing() {
    let said = json!({"__type": "BadRequestException", "message": "Illegal address ann@example.com for 482913"});
    let (_server, url) = answering(400, said).await;
    let failed = provider(json!({"base_url": url})).send(&email()).await;
    let detail = "400 BadRequestException: Illegal address *** for ***".to_owned();
    assert_eq!(failed, Err(Failure { cause: Cause::Rejected, detail }));
}

async fn checked(status: u16, body: Value) -> Check {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_json(body);
    Mock::given(method("GET")).and(path("/v2/email/account")).respond_with(answer).mount(&server).await;
    provider(json!({"base_url": server.uri()})).check().await
}

#[tokio::test]
async fn a_check_tells_keys_quota_and_the_accounts_state_apart() {
    use Misconfiguration::{Balance, Credentials, Sender};
    let account = |extra: Value| {
        let quota = json!({"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 7.0});
        let account = json!({"SendingEnabled": true, "ProductionAccessEnabled": true, "EnforcementStatus": "HEALTHY", "SendQuota": quota});
        with(account, extra)
    };
    let fine = checked(200, account(json!({}))).await;
    assert_eq!(
        (fine.credentials, fine.balance.as_deref(), fine.sender.as_deref(), &fine.problem),
        (Some(true), Some("193 of 200 left in 24 h"), Some("production"), &None)
    );
    for (state, expected) in [
        (json!({"EnforcementStatus": "SHUTDOWN"}), Credentials),
        (json!({"SendingEnabled": false}), Sender),
        (json!({"ProductionAccessEnabled": false}), Sender),
        (json!({"SendQuota": {"Max24HourSend": 200.0, "SentLast24Hours": 200.0}}), Balance),
    ] {
        let check = checked(200, account(state.clone())).await;
        assert_eq!(check.problem.expect("problem").0, expected, "{state}");
    }
    let endless = json!({"SendQuota": {"Max24HourSend": -1.0, "SentLast24Hours": 200.0}});
    let endless = checked(200, account(endless)).await;
    assert_eq!((endless.problem, endless.balance), (None, None));
    let refused = json!({"__type": "UnrecognizedClientException", "message": "The security token is invalid."});
    assert_eq!(checked(403, refused).await.credentials, Some(false));
    assert_ill(checked(503, json!({})).await);
    assert_eq!(provider(json!({"base_url": "http://127.0.0.1:9"})).check().await.reachable, Some(false));
}

fn said(event: Value) -> Option<ReceiptEvent> {
    serde_json::from_value::<Event>(event).expect("an event").receipt()
}

#[test]
fn events_become_receipts() {
    use ReceiptStatus::{Delivered, Sent, Undelivered};
    for (kind, expected) in [
        ("Send", Some(Sent)),
        ("DeliveryDelay", Some(Sent)),
        ("Delivery", Some(Delivered)),
        ("Open", Some(Delivered)),
        ("Click", Some(Delivered)),
        ("Complaint", Some(Delivered)),
        ("Bounce", Some(Undelivered)),
        ("Reject", Some(Undelivered)),
        ("Rendering Failure", Some(Undelivered)),
        ("Subscription", None),
    ] {
        for field in ["eventType", "notificationType"] {
            let event = said(json!({field: kind, "mail": {"messageId": "0100-1"}}));
            assert_eq!(event.map(|event| event.status), expected, "{kind}");
        }
    }
    let recipients = json!([{"emailAddress": "ann@example.com", "diagnosticCode": "smtp; 550 ann@example.com 482913"}]);
    let bounce = json!({"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": recipients});
    let tags = json!({"ses:from-domain": ["shop.example"], "otpd_attempt": [ATTEMPT_ID.replace(':', "_")]});
    let event = json!({"eventType": "Bounce", "mail": {"messageId": "0100-1", "tags": tags}, "bounce": bounce});
    let expected = ReceiptEvent {
        message_id: "0100-1".to_owned(),
        attempt: ATTEMPT_ID.parse().ok(),
        status: Undelivered,
        detail: Some("Permanent General: smtp; 550 *** ***".to_owned()),
    };
    assert_eq!(said(event), Some(expected));
}

/// What is signed and by whom is tested where SNS is read.
#[tokio::test]
async fn receipts_need_a_topic_and_the_secret_where_one_is_set() {
    let request = receipt("https://otp.example.com/receipts/ses", &[], b"{}");
    let without_topic = provider(json!({}));
    assert_eq!(without_topic.receipts(&request), Err(BadReceipt::NotSupported));
    assert!(!without_topic.has_receipts());
    assert_eq!(provider(json!({"topic_arn": ARN})).receipts(&request), Err(BadReceipt::Malformed));
    let with_secret = provider(json!({"topic_arn": ARN, "receipt_secret": "0123456789abcdef"}));
    assert_eq!(with_secret.receipts(&request), Err(BadReceipt::Forged));
    let known = ReceiptRequest { secret: Some("0123456789abcdef"), ..request };
    assert_eq!(with_secret.receipts(&known), Err(BadReceipt::Malformed));
}

#[test]
fn settings_are_checked_and_secrets_do_not_show() {
    assert!(!format!("{:?}", provider(json!({}))).contains("hunter2"));
    let settings = json!({"region": "eu-west-1.evil.example/", "topic_arn": "otp"});
    let problems = configure(Settings::new("ses", &settings), &tools()).expect_err("problems").join("\n");
    insta::assert_snapshot!(problems, @"
    providers.ses.access_key_id: set it and secret_access_key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) to a key that may send
    providers.ses.region: set it (AWS_REGION) to the region of SES, as eu-west-1
    providers.ses.from: set it (SES_FROM) to the address that messages come from
    providers.ses.topic_arn: must be the ARN of an SNS topic: arn:aws:sns:eu-west-1:123456789012:name
    ");
}

proptest! {
    #[test]
    fn no_answer_and_no_event_makes_it_panic(text in "\\PC{0,60}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = (read(&reply(400, &text), &HeaderMap::new()), serde_json::from_slice::<Event>(&body).map(Event::receipt));
        let mail = json!({"messageId": text, "tags": {"otpd_attempt": [text]}});
        let bounce = json!({"bounceType": text, "bouncedRecipients": [{"diagnosticCode": text}]});
        let _ = said(json!({"eventType": "Bounce", "mail": mail, "bounce": bounce}));
    }
}
