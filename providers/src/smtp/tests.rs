//! SMTP: what a letter looks like, what replies mean, and what a broken dialogue means, against a scripted server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use common::otp::target::Target;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{closed_port, email, email_to, tools};

fn smtp(settings: &Value) -> Smtp {
    let mut settings = Settings::new("smtp", settings);
    let from = settings.parsed("from", "").expect("from");
    let server = server(&mut settings).expect("server");
    assert!(settings.finish().is_empty());
    Smtp { name: "smtp".to_owned(), server, from, clock: tools().clock }
}

/// Patient with a server that gets on.
fn local(port: u16) -> Smtp {
    waiting(port, 10)
}

fn waiting(port: u16, seconds: u8) -> Smtp {
    smtp(&json!({"host": "127.0.0.1", "port": port, "from": "Shop <otp@shop.example>", "timeout": seconds}))
}

fn letter(message: &Message) -> String {
    let letter = local(25).letter(message).expect("letter");
    let text = String::from_utf8(letter.mail.formatted()).expect("text").replace('\r', "");
    let date = text.lines().find(|line| line.starts_with("Date: ")).expect("a date").to_owned();
    text.replace(&date, "Date: (now)")
}

#[test]
fn a_letter_has_both_parts_and_our_message_id() {
    insta::assert_snapshot!(letter(&email()), @r#"
    From: Shop <otp@shop.example>
    To: Ann@example.com
    Subject: Your code for shop
    Message-ID: <01980283.4d40.7000.8000.00000000002a.1.1@shop.example>
    Date: (now)
    Auto-Submitted: auto-generated
    MIME-Version: 1.0
    Content-Type: multipart/alternative;
     boundary="01980283.4d40.7000.8000.00000000002a.1.1"

    --01980283.4d40.7000.8000.00000000002a.1.1
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: 7bit

    Your code is 482913
    --01980283.4d40.7000.8000.00000000002a.1.1
    Content-Type: text/html; charset=utf-8
    Content-Transfer-Encoding: 7bit

    <p>Your code is <b>482913</b></p>
    --01980283.4d40.7000.8000.00000000002a.1.1--
    "#);
}

#[test]
fn nothing_in_a_message_adds_a_header() {
    let mut message = email_to("a@bücher.example");
    message.content.html = None;
    message.content.subject = Some("Kód\r\nBcc: all@evil.example".to_owned());
    message.project_name = "x\r\nBcc: all@evil.example".to_owned();
    let first = letter(&message);
    message.content.subject = None;
    for text in [first, letter(&message)] {
        let (head, _) = text.split_once("\n\n").expect("a head");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("To: a@xn--bcher-kva.example"), "{head}");
    }
    message.target = Target::from_stored("a@b.example>\r\nRCPT TO:<all@evil.example".to_owned(), None);
    assert!(local(25).letter(&message).is_err());
}

#[track_caller]
fn check(stage: Stage, code: u16, words: &str, expected: &Cause) {
    assert_eq!(&refusal(stage, code, words), expected, "{stage:?} {code} {words}");
}

#[test]
fn replies_have_their_causes() {
    use Misconfiguration::{Credentials, Endpoint, IpBlocked, Sender};
    use Stage::{Connect, Content, Data, Login, Recipient, Starttls};
    let misconfigured = Cause::Misconfigured;
    check(Login, 535, "5.7.8 Authentication credentials invalid", &misconfigured(Credentials));
    check(Login, 534, "5.7.9 Application-specific password required", &misconfigured(Credentials));
    check(Login, 504, "5.5.4 Unrecognized authentication type", &misconfigured(Credentials));
    check(Login, 454, "4.7.0 Temporary authentication failure", &Cause::Unavailable);
    check(Stage::Sender, 530, "5.7.0 Must issue a STARTTLS command first", &misconfigured(Endpoint));
    check(Login, 538, "5.7.11 Encryption required", &misconfigured(Endpoint));
    check(Starttls, 502, "5.5.1 Not implemented", &misconfigured(Endpoint));
    check(Connect, 554, "5.7.1 Your address is listed", &misconfigured(IpBlocked));
    check(Connect, 421, "4.3.2 Shutting down", &Cause::Unavailable);
    check(Stage::Sender, 553, "5.7.1 Not owned by user", &misconfigured(Sender));
    check(Stage::Sender, 550, "5.1.8 Sender's domain not found", &misconfigured(Sender));
    check(Recipient, 550, "5.1.1 No such user", &Cause::Rejected);
    check(Recipient, 550, "5.1.10 Null MX", &Cause::Rejected);
    check(Recipient, 550, "no such user", &Cause::Rejected);
    check(Recipient, 551, "5.1.6 Mailbox has moved", &Cause::Rejected);
    check(Recipient, 553, "5.1.3 Bad address", &Cause::Rejected);
    check(Recipient, 501, "5.1.3 Bad address", &Cause::Rejected);
    check(Recipient, 552, "5.2.2 Mailbox full", &Cause::Rejected);
    check(Recipient, 550, "5.7.1 Relaying denied", &misconfigured(Sender));
    check(Recipient, 550, "5.1.8 Bad sender", &misconfigured(Sender));
    check(Recipient, 450, "4.7.1 Greylisted", &Cause::Throttled { retry_after: None });
    check(Recipient, 451, "4.7.1 Too many messages", &Cause::Throttled { retry_after: None });
    check(Recipient, 421, "4.7.0 Too many messages", &Cause::Throttled { retry_after: None });
    check(Recipient, 450, "4.2.1 Mailbox busy", &Cause::Unavailable);
    check(Data, 452, "4.3.1 Out of space", &Cause::Unavailable);
    check(Content, 554, "5.7.1 Looks like spam", &misconfigured(Sender));
    check(Content, 554, "Transaction failed", &misconfigured(Sender));
    check(Data, 503, "5.5.1 Bad sequence", &misconfigured(Endpoint));
}

#[test]
fn the_url_and_the_port_say_how_to_protect() {
    let with = |mut settings: Value| {
        settings["from"] = "otp@shop.example".into();
        let smtp = smtp(&settings);
        let tls = match smtp.server.tls {
            Tls::Implicit(_) => "implicit",
            Tls::Starttls(_) => "starttls",
            Tls::Plain => "plain",
        };
        (smtp.server.host, smtp.server.port, tls, smtp.server.login.map(|login| login.0))
    };
    let server = |host: &str, port, tls, login: Option<&str>| (host.to_owned(), port, tls, login.map(str::to_owned));
    let url = json!({"url": "smtps://ann%40shop.example:p%2Fw@mx.shop.example"});
    assert_eq!(with(url), server("mx.shop.example", 465, "implicit", Some("ann@shop.example")));
    assert_eq!(with(json!({"url": "smtp://mx.shop.example"})), server("mx.shop.example", 587, "starttls", None));
    assert_eq!(
        with(json!({"url": "smtp://mx.shop.example:2525?tls=plain"})),
        server("mx.shop.example", 2525, "plain", None)
    );
    assert_eq!(with(json!({"url": "smtp://localhost:1025"})), server("localhost", 1025, "plain", None));
    assert_eq!(with(json!({"host": "mx.shop.example", "port": 465})), server("mx.shop.example", 465, "implicit", None));
    let both = json!({"url": "smtp://mx.shop.example", "host": "other.example", "tls": "implicit"});
    assert_eq!(with(both), server("other.example", 465, "implicit", None));
}

#[test]
fn secrets_do_not_show() {
    let settings = json!({"url": "smtps://ann:hunter2@mx.shop.example", "from": "otp@shop.example"});
    assert!(!format!("{:?}", smtp(&settings)).contains("hunter2"));
}

/// What the scripted server does after its greeting.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    Fine,
    SilentFromTheStart,
    SilentAfterTheMessage,
    HangsUpAfterTheMessage,
    RefusesTheRecipient,
}

/// Serves connection after connection; answers the port and how many there were.
fn scripted(script: Script) -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let port = listener.local_addr().expect("address").port();
    let served = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&served);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::spawn(move || serve(&stream.expect("stream"), script));
        }
    });
    (port, served)
}

fn serve(mut stream: &TcpStream, script: Script) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut say = |reply: &str| stream.write_all(format!("{reply}\r\n").as_bytes()).is_ok();
    if script == Script::SilentFromTheStart {
        lines.by_ref().for_each(drop);
    }
    say("220 ready");
    while let Some(line) = lines.next() {
        let reply = match line.split(' ').next().unwrap_or("") {
            "EHLO" => "250 server",
            "RCPT" if script == Script::RefusesTheRecipient => "550 5.1.1 <ann@example.com> has no 482913",
            "DATA" => {
                say("354 go on");
                lines.by_ref().take_while(|line| line != ".").for_each(drop);
                match script {
                    Script::SilentAfterTheMessage => lines.by_ref().for_each(drop),
                    Script::HangsUpAfterTheMessage => return,
                    _ => {}
                }
                "250 2.0.0 queued"
            }
            _ => "250 2.0.0 fine",
        };
        say(reply);
    }
}

async fn sent_to(script: Script, seconds: u8) -> Result<Handed, Cause> {
    waiting(scripted(script).0, seconds).send(&email()).await.map_err(|failure| failure.cause)
}

#[tokio::test]
async fn a_silence_means_what_had_left_before_it() {
    assert_eq!(sent_to(Script::SilentFromTheStart, 1).await, Err(Cause::Unavailable));
    assert_eq!(sent_to(Script::SilentAfterTheMessage, 4).await, Err(Cause::Ambiguous));
    assert_eq!(sent_to(Script::HangsUpAfterTheMessage, 10).await, Err(Cause::Ambiguous));
    let (_closed, port) = closed_port();
    assert_eq!(local(port).send(&email()).await.expect_err("closed").cause, Cause::Unavailable);
}

#[tokio::test]
async fn a_refused_recipient_is_not_quoted() {
    let failed = local(scripted(Script::RefusesTheRecipient).0).send(&email()).await.expect_err("refused");
    assert_eq!(failed, Failure { cause: Cause::Rejected, detail: "550 5.1.1 <***> has no ***".to_owned() });
}

#[tokio::test]
async fn connections_are_used_again_and_broken_ones_are_not() {
    let (port, served) = scripted(Script::Fine);
    let smtp = local(port);
    for _ in 0..3 {
        let handed = smtp.send(&email()).await.expect("accepted");
        assert!(handed.message_id.expect("an id").ends_with("@shop.example"));
    }
    assert_eq!(served.load(std::sync::atomic::Ordering::SeqCst), 1);

    let (port, served) = scripted(Script::SilentAfterTheMessage);
    let smtp = waiting(port, 4);
    for _ in 0..2 {
        assert_eq!(smtp.send(&email()).await.expect_err("silent").cause, Cause::Ambiguous);
    }
    assert_eq!(served.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_check_sends_nothing_and_tells_what_is_wrong() {
    let fine = local(scripted(Script::Fine).0).check().await;
    assert_eq!(fine, Check { reachable: Some(true), ..Check::default() });
    let silent = waiting(scripted(Script::SilentFromTheStart).0, 1).check().await;
    assert_eq!((silent.reachable, silent.credentials, &silent.problem), (Some(false), None, &None));
    assert!(matches!(silent.trouble, Some((Cause::Unavailable, _))), "{silent:?}");
    let port = scripted(Script::Fine).0;
    let settings = json!({"host": "127.0.0.1", "port": port, "from": "a@b.example", "username": "u", "password": "p"});
    let unfit = smtp(&settings).check().await;
    assert_eq!(unfit.problem.expect("no AUTH").0, Misconfiguration::Endpoint);
}

proptest! {
    #[test]
    fn no_reply_makes_it_panic(code in 0_u16..1000, words in "\\PC{0,60}", number in "[0-9.]{0,12}") {
        for stage in [Stage::Connect, Stage::Login, Stage::Sender, Stage::Recipient, Stage::Content] {
            let _ = (refusal(stage, code, &words), refusal(stage, code, &number));
        }
    }
}
