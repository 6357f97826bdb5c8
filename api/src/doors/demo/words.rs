//! What the demo door says to people: nothing of it is for programs.

use common::otp::guess::Reason;

use crate::error::ApiError;

/// What a refusal means to whoever sits before the page.
pub(super) fn about(error: &ApiError) -> String {
    let seconds = error.retry_after.map(|wait| u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX));
    let wait = seconds.map_or_else(|| "a moment".to_owned(), |seconds| spell(seconds.max(1)));
    match error.code {
        "cooldown" => format!("A code was sent a moment ago. You can ask for another one in {wait}."),
        "too_many_attempts" => format!("There were too many wrong codes. You can ask for another one in {wait}."),
        "too_many_sends" | "target_limited" | "ip_limited" | "rate_limited" | "guesses_limited" => {
            format!("That was too often. Try again in {wait}.")
        }
        "no_provider" => "No codes can be sent this way at present.".to_owned(),
        "unavailable" => format!("That is not possible at the moment. Try again in {wait}."),
        "insufficient_tokens" => "No code was sent: this project has no tokens left.".to_owned(),
        _ => error.message.clone(),
    }
}

/// What a wrong code means, by the attempts that are left.
pub(super) fn about_wrong(left: i16) -> String {
    match left {
        ..=0 => about_refusal(Reason::TooMany).to_owned(),
        1 => "That code is wrong. 1 attempt left.".to_owned(),
        left => format!("That code is wrong. {left} attempts left."),
    }
}

/// Why a code was not even compared.
pub(super) const fn about_refusal(reason: Reason) -> &'static str {
    match reason {
        Reason::Expired => "That code has expired. Ask for another one.",
        Reason::Used => "That code has been used already. Ask for another one.",
        Reason::TooMany => {
            "That was one wrong code too many: no attempts left. Ask for another code when this one has expired."
        }
        Reason::Canceled | Reason::NotFound => "There is no code to compare that with. Ask for another one.",
    }
}

/// A time as people say it, rounded up.
pub(super) fn spell(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        ..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_do() {
        for (seconds, words) in [(1, "1 second"), (30, "30 seconds"), (299, "5 minutes"), (7201, "3 hours")] {
            assert_eq!(spell(seconds), words);
        }
    }
}
