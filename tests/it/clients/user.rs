//! A user's program in another language, against both ways to run.

use serde_json::Value;

use super::python;
use crate::both_ways;
use crate::harness::Client;

both_ways!(a_python_program_sends_reads_and_verifies);

async fn a_python_program_sends_reads_and_verifies(client: Client) {
    let output = python("user.py").args([&client.urls[0], &client.project.id, &client.key]).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["recordId"], told["verified"]);
    let record = client.record(told["recordId"].as_str().expect("an id")).await;
    assert_eq!((&record["state"], &record["target"]), (&"verified".into(), &"Zoë+shop@example.com".into()));
}
