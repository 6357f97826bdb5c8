//! Processes that die in the middle of a burst: nothing accepted is lost, nothing is sent twice but what was in flight.
