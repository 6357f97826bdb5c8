//! Servers that go away and come back: broker and store, cut off in the middle of work.
