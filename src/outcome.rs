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

/// Writes what was asked for to stdout; a closed pipe is not an error.
pub(crate) fn say(text: impl Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
