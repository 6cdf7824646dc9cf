//! Runs events through the real functions over the models in memory: [`world`] is everything a function touches,
//! [`faults`] lets parts of it fail, [`short`] answers too little, [`samples`] finds the files of `events/`, [`probe`] is a family that fails on demand.

pub mod faults;
pub mod probe;
pub mod samples;
pub mod short;
pub mod statements;
pub mod world;
