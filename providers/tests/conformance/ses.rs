//! Amazon's published model of SES: the request's schema, its answer, and every error that it names.

use std::sync::Arc;

use providers::Provider;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::bodies::content_type;
use crate::rig::{answering, email, outcome, outgoing, provider};
use crate::specs::{Spec, file};

fn adapter(url: &str) -> Arc<dyn Provider> {
    let settings = json!({"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s", "region": "eu-west-1",
                          "from": "Bücherei <otp@example.com>", "configuration_set": "otp", "base_url": url});
    provider("ses", settings, None)
}

fn model() -> Option<Value> {
    file("aws_sesv2.botocore.json")
}

#[tokio::test]
async fn messages_are_as_modelled() {
    let Some(model) = model() else { return };
    let Some(spec) = Spec::load("aws_sesv2.SendEmail.request.schema.json") else { return };
    let request = outgoing(adapter, &email()).await;
    let line = &model["operations"]["SendEmail"]["http"];
    assert_eq!((request.method.as_str(), request.url.path()), (text(line, "method"), text(line, "requestUri")));
    assert_eq!(content_type(&request), "application/json");
    let body: Value = request.body_json().expect("JSON");
    assert_eq!(spec.problems(&spec.document, &body), Vec::<String>::new(), "{body:#}");
    assert_eq!(spec.unknown(&spec.document, &body), Vec::<String>::new(), "{body:#}");
    let name = text(&model["metadata"], "signingName");
    let authorization = request.headers["authorization"].to_str().expect("text");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(authorization.contains(&format!("/eu-west-1/{name}/aws4_request")), "{authorization}");
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[tokio::test]
async fn the_answer_and_every_error_is_understood() {
    let Some(model) = model() else { return };
    let operation = &model["operations"]["SendEmail"];
    let id =
        model["shapes"][text(&operation["output"], "shape")]["members"].as_object().expect("members").keys().next();
    assert_eq!(id.map(String::as_str), Some("MessageId"));
    let server = answering(ResponseTemplate::new(200).set_body_json(json!({"MessageId": "m-1"}))).await;
    assert_eq!(outcome(&*adapter(&server.uri()), &email()).await, "taken as m-1");
    let mut lines = Vec::new();
    for error in operation["errors"].as_array().expect("errors") {
        let shape = text(error, "shape");
        let status = model["shapes"][shape]["error"]["httpStatusCode"].as_u64().expect("a status");
        let answer = ResponseTemplate::new(u16::try_from(status).expect("a status"));
        let answer = answer.insert_header("x-amzn-errortype", shape).set_body_json(json!({"message": "No"}));
        let server = answering(answer).await;
        lines.push(format!("{status} {shape}: {}", outcome(&*adapter(&server.uri()), &email()).await));
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    429 TooManyRequestsException: throttled
    400 LimitExceededException: throttled
    400 AccountSuspendedException: misconfigured_credentials
    400 SendingPausedException: misconfigured_sender
    400 MessageRejected: misconfigured_sender
    400 MailFromDomainNotVerifiedException: misconfigured_sender
    404 NotFoundException: misconfigured_sender
    400 BadRequestException: misconfigured_endpoint
    ");
}
