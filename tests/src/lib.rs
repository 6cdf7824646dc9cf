//! What the capability tests share.
