//! The statement validator as the rest of the system sees it.

mod editing;
mod limits;
mod mistakes;
mod properties;
mod rules;
mod samples;
