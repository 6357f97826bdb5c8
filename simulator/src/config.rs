//! The settings that point otpd at the simulator: a whole file of them, to be pasted or redirected into one.

use std::fmt::Write;

use crate::state::Shared;

pub(crate) fn toml(shared: &Shared) -> String {
    let (url, otpd) = (shared.parts.url.trim_end_matches('/'), shared.parts.receipts_to.trim_end_matches('/'));
    let mut text = format!(
        "# Fake vendors at {url}, for rehearsing: these credentials open nothing else. Put it into a file and say\n\
         # otpd dev --config FILE\n\n[server]\npublic_url = {}\n",
        quoted(otpd),
    );
    for played in shared.vendors() {
        let name = played.vendor.name();
        let _ = writeln!(text, "\n[providers.{name}]");
        for (field, value) in played.vendor.settings(&format!("{url}/{name}")) {
            let _ = writeln!(text, "{field} = {}", quoted(&value));
        }
        if let Some(secret) = played.vendor.receipt_secret() {
            let _ = writeln!(text, "receipt_secret = {}", quoted(secret));
        }
    }
    text
}

/// A basic string. Nothing here needs more than quotes escaped.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
