//! The registry of event families: a line a family.
