//! The content generator, as the environment says.

use std::sync::Arc;

use lyceum_around::system_clock::SystemClock;
pub use lyceum_content_generator::{GENERATOR_VARIABLES, GeneratorSettings};
use lyceum_content_generator::{Messages, Offline};
use lyceum_core::ports::generator::ContentGenerator;
use lyceum_secrets::Secrets;

use crate::rotation::settings_with;

/// Who writes content; nothing is called yet.
///
/// # Errors
/// Where there is no TLS.
pub fn connect(settings: &GeneratorSettings, secrets: Option<&Arc<Secrets>>) -> anyhow::Result<Arc<ContentGenerator>> {
    let first = match settings {
        GeneratorSettings::Offline => return Ok(Arc::new(Offline)),
        GeneratorSettings::Messages(of) => of.clone(),
    };
    let (given, before) = (("CONTENT_GENERATOR_URL", first.url.clone()), first.clone());
    let settings = settings_with(secrets, first, Some(given), move |reading| match GeneratorSettings::read(reading) {
        GeneratorSettings::Messages(of) => of,
        // A key that is gone is used until it is refused.
        GeneratorSettings::Offline => before.clone(),
    });
    let generator = Messages::new(settings, Arc::new(SystemClock)).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(generator))
}
