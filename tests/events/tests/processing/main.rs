//! What processing promises, a sentence a test; over the models in memory, with ports that fail on demand.

mod failures;
mod identity;
mod letters;
mod once;
mod shown;
mod tenants;
mod undecided;
