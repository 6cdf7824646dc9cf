//! Event family: every other valid xAPI statement.
