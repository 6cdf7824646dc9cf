//! The failures of production: each by itself, and the whole way with what producers get wrong; and every sample by the functions' own
//! binaries.

mod container;
mod every_sample;
mod functions;
mod matrix;
mod whole_pipeline;

use lyceum_services::Suite;

fn main() {
    // Most rows wait most of the time.
    let mut suite = Suite::default().at_once(4);
    container::add(&mut suite);
    every_sample::add(&mut suite);
    matrix::add(&mut suite);
    whole_pipeline::add(&mut suite);
    suite.run()
}
