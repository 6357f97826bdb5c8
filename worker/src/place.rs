//! Where a message goes, as far as a provider may fare differently there.

use common::otp::channel::Channel;

/// A channel and a country; of an address the country is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub channel: Channel,
    pub country: String,
}

impl Place {
    #[must_use]
    pub fn new(channel: Channel, country: &str) -> Self {
        Self { channel, country: country.to_owned() }
    }
}
