//! Why a measurement could not be made, in words: nobody takes it apart.

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome<T = ()> = Result<T, Failure>;
