//! The pure functions that every request or message runs, one at a time: `hot NAME TIMES`. Counted under callgrind, where
//! the difference between many times and one is what they cost; bench/instructions.toml has what that may be.

mod domain;
mod words;

use std::process::ExitCode;

/// A hot function on data that are made once, so that only it is repeated.
type Repeat = Box<dyn FnMut()>;
type Hot = (&'static str, fn() -> Repeat);

/// Every function by its name.
const ALL: [Hot; 8] = [
    ("accept_batch_of_64", domain::accept),
    ("guess_batch_of_64", domain::guess),
    ("claim_batch_of_64", domain::claim),
    ("finish_batch_of_64", domain::finish),
    ("codes_1000", domain::codes),
    ("phone", domain::phone),
    ("route", words::route),
    ("words", words::words),
];

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a test, and for whoever wonders")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        for (name, _) in ALL {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    let chosen = arguments.first().and_then(|name| ALL.iter().find(|(known, _)| known == name));
    let (Some((_, make)), Some(times)) = (chosen, arguments.get(1).and_then(|times| times.parse::<u32>().ok())) else {
        eprintln!("hot NAME TIMES; without arguments the names are listed");
        return ExitCode::FAILURE;
    };
    let mut repeat = make();
    for _ in 0..times {
        repeat();
    }
    ExitCode::SUCCESS
}
