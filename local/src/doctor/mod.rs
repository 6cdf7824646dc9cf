//! What is wrong with a deployment to AWS, and what to do about it: facts are collected ([`look`]), and judged ([`judge`]) by a
//! function that asks nobody.

mod ask;
pub mod facts;
pub mod judge;
pub mod look;
mod xml;

pub use look::{Look, NoStack};
