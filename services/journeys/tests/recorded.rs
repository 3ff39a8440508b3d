//! Recorded days, as `expected.md` says.
