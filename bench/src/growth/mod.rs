//! What the program does when its tables have grown: filling them, and looking at it then.

mod bloat;
mod copy;
mod curves;
mod day;
pub(crate) mod load;
mod made;
mod plans;
mod proxy;
mod retention;
mod slow;
mod spread;
mod tables;

pub(crate) use self::bloat::Bloat;
pub(crate) use self::curves::Curves;
pub(crate) use self::load::Load;
pub(crate) use self::plans::Plans;
pub(crate) use self::retention::Retention;
