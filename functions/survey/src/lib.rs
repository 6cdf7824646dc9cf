//! Event family: survey responses.
