//! Settings as an environment of a test's says them.

use lyceum_core::environment::{Reading, WrongEnvironment};

/// What these variables say, and no other.
///
/// # Errors
/// All that is wrong with them.
pub fn read<T>(variables: &[(&str, &str)], read: impl FnOnce(&mut Reading<'_>) -> T) -> Result<T, WrongEnvironment> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let mut reading = Reading::new(&variable);
    let settings = read(&mut reading);
    reading.finish(settings)
}
