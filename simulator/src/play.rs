//! One request to a vendor, from its coming to its answer. What a vendor says and how is its own file's.

use std::sync::Arc;
use std::sync::PoisonError;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::json;
use tokio::time::sleep;

use crate::behaviour::{Fate, Refusal, Says};
use crate::magic::Doing;
use crate::post;
use crate::state::{Count, Played, Shared};
use crate::vendors::{Message, Read};
use crate::wire::{Answer, Asked};

const LARGEST: usize = 1 << 20;

pub(crate) async fn play(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
    let played = match shared.find(&name) {
        Ok(played) => played,
        Err(refused) => return Answer::json(404, &json!({"error": refused.to_string()})).into_response(),
    };
    played.count(Count::Requests);
    // A vendor that never answers must not hold up the end of the program.
    let answer = shared.parts.stop.run_until_cancelled(answer(&shared, played, &path, request)).await;
    let answer = answer.unwrap_or_else(|| Answer::text(503, "the simulator stops"));
    if answer.status >= 400 {
        played.count(Count::Refused);
    }
    answer.into_response()
}

async fn answer(shared: &Arc<Shared>, played: &Played, path: &str, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else { return Answer::text(413, "too large") };
    let behaviour = played.behaviour();
    let below = path.trim_start_matches('/').split_once('/').map_or("/", |(name, _)| &path[name.len() + 1..]);
    let asked = Asked {
        method: parts.method.as_str(),
        whole_path: path,
        path: below,
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
        standing: behaviour.standing(),
        now: shared.parts.clock.now(),
    };
    sleep(behaviour.latency).await;
    match behaviour.answer {
        Says::Never => return std::future::pending().await,
        Says::Status(status) => return bare(status),
        // Who is down or busy, or whose door is shut, reads nothing.
        Says::No(refusal @ (Refusal::Unavailable | Refusal::Throttled | Refusal::Ip)) => {
            if let Some(answer) = played.vendor.refuse(refusal, &asked) {
                return answer;
            }
        }
        Says::Yes | Says::No(_) | Says::Mute => {}
    }
    let message = match played.vendor.read(&asked) {
        Ok(Read::Message(message)) => message,
        Ok(Read::Other(answer)) | Err(answer) => return answer,
    };
    let doing = doing(shared, played, &message);
    sleep(doing.after).await;
    match doing.answer {
        Says::No(refusal) => match played.vendor.refuse(refusal, &asked) {
            Some(answer) => answer,
            // It does not say so at once: the message is taken, and its receipt tells.
            None => take(shared, played, message, Fate::Failed),
        },
        Says::Status(status) => bare(status),
        Says::Never => std::future::pending().await,
        Says::Yes => take(shared, played, message, doing.fate),
        Says::Mute => {
            let _ = take(shared, played, message, doing.fate);
            std::future::pending().await
        }
    }
}

/// What is done about a message: what the vendor was ordered to, else what its target asks for, else what chance says.
fn doing(shared: &Shared, played: &Played, message: &Message) -> Doing {
    let behaviour = played.behaviour();
    let mut counted = shared.counted.lock().unwrap_or_else(PoisonError::into_inner);
    let asked_for = counted.doing(&message.to, behaviour.receipts);
    let is_bad_luck = rand::random::<f64>() * 100.0 < behaviour.errors;
    let answer = match (behaviour.answer, asked_for.answer) {
        (Says::Yes, Says::Yes) if is_bad_luck => Says::No(Refusal::Unavailable),
        (Says::Yes, answer) | (answer, _) => answer,
    };
    Doing { answer, ..asked_for }
}

/// As a proxy before the vendor answers.
fn bare(status: u16) -> Answer {
    Answer::html(status, &format!("<html><body><h1>{status}</h1></body></html>"))
}

fn take(shared: &Arc<Shared>, played: &Played, message: Message, fate: Fate) -> Answer {
    played.count(Count::Taken);
    played.keep(&message);
    let answer = played.vendor.taken(&message);
    post::tell(shared, played.vendor.name(), message, fate);
    answer
}
