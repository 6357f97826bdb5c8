//! How a command ends: 0 well, 1 failed, 2 wrong usage, 78 wrong configuration.

use std::fmt::Display;
use std::process::ExitCode;

use common::config::Problems;
use common::store::StoreError;

/// For the operator at the terminal: one clear line each.
#[derive(Debug)]
pub(crate) enum Failure {
    Failed(String),
    Usage(String),
    Config(Vec<String>),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn failed(what: impl Display) -> Self {
        Self::Failed(what.to_string())
    }

    /// Says it on stderr and gives the exit code.
    #[expect(clippy::print_stderr, reason = "the last words of a command are for its user, not for the log")]
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Failed(problem) => {
                eprintln!("otpd: {problem}");
                ExitCode::from(1)
            }
            Self::Usage(problem) => {
                eprintln!("otpd: {problem}");
                ExitCode::from(2)
            }
            Self::Config(problems) => {
                for problem in problems {
                    eprintln!("otpd: {problem}");
                }
                ExitCode::from(78)
            }
        }
    }
}

impl From<Problems> for Failure {
    fn from(Problems(problems): Problems) -> Self {
        Self::Config(problems)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

/// Tells the user at the terminal something beside what was asked for.
#[expect(clippy::print_stderr, reason = "it is for a command's user, not for the log")]
pub(crate) fn hint(text: impl Display) {
    eprintln!("otpd: {text}");
}

/// Writes what was asked for to stdout. A closed pipe is not an error: whoever reads has seen enough. Anything else ends
/// the program, since what is lost may be a key that is shown once.
#[expect(clippy::print_stderr, reason = "there is no other place left to say it")]
pub(crate) fn say(text: impl Display) {
    use std::io::{ErrorKind, Write};
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    if let Err(error) = written.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    {
        eprintln!("otpd: cannot write to stdout: {error}");
        std::process::exit(1);
    }
}
