//! What the program can do where real services run, a file a capability.

mod doctor;
mod real_services;
mod replay_load;
mod replay_s3;
mod rotation;
mod secrets;
mod stalls;

use lyceum_services::Suite;

fn main() {
    let mut suite = Suite::default();
    doctor::add(&mut suite);
    real_services::add(&mut suite);
    replay_load::add(&mut suite);
    replay_s3::add(&mut suite);
    rotation::add(&mut suite);
    secrets::add(&mut suite);
    stalls::add(&mut suite);
    suite.run()
}
