//! What reading Avro promises, whatever the bytes: [`check`] takes any and asserts all of it. A property test of this crate and the
//! fuzz target beside it call it with bytes of their own; apache-avro, which shares no code with the format, is what it is held
//! against, and [`written`] writes by it.

mod any;
mod choices;
mod events;
mod schemas;
pub mod written;

use choices::Choices;

/// Asserts what reading promises: of values of made-up schemas, and of events of the families behind every framing. Both are chosen by
/// the bytes, and so is what is changed of them; one part of all bytes is given to the families as it is.
///
/// # Panics
/// Where a promise is broken.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices::of(bytes);
    match choices.below(4) {
        0 => events::check_any(&mut choices),
        1 => events::check_written(&mut choices),
        _ => schemas::check(&mut choices),
    }
}
