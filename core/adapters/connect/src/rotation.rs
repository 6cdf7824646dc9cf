//! What an adapter is made of, with what secrets hold now.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_around::lazily::{Fixed, Settings};
use lyceum_core::environment::{Reading, WrongEnvironment};
use lyceum_secrets::{Environment, Reason, Secrets};
use parking_lot::Mutex;

/// Reads settings from the environment with what secrets hold.
type Read<S> = dyn Fn(&Environment) -> Result<S, WrongEnvironment> + Send + Sync;

/// Settings that are read anew whenever the secrets hold something else.
struct WithSecrets<S> {
    secrets: Arc<Secrets>,
    read: Box<Read<S>>,
    last: Mutex<(Arc<Environment>, Arc<S>)>,
}

/// The settings, which change with the secrets where there are any. What is `given` of a variable, where one is, was said elsewhere
/// than in the environment.
pub(crate) fn settings_with<S: PartialEq + Send + Sync + 'static>(
    secrets: Option<&Arc<Secrets>>,
    first: S,
    given: Option<(&'static str, String)>,
    read: impl Fn(&mut Reading<'_>) -> S + Send + Sync + 'static,
) -> Box<dyn Settings<S>> {
    let Some(secrets) = secrets else { return Box::new(Fixed(Arc::new(first))) };
    let read = move |environment: &Environment| {
        let given = |of: &str| given.as_ref().filter(|(name, _)| *name == of).map(|(_, value)| value.clone());
        let variable = |of: &str| given(of).or_else(|| environment.variable(of));
        let mut reading = Reading::new(&variable);
        let settings = read(&mut reading);
        reading.finish(settings)
    };
    let last = Mutex::new((secrets.environment(), Arc::new(first)));
    Box::new(WithSecrets { secrets: secrets.clone(), read: Box::new(read), last })
}

impl<S: PartialEq> WithSecrets<S> {
    fn look(&self) -> Arc<S> {
        let environment = self.secrets.environment();
        let mut last = self.last.lock();
        if !Arc::ptr_eq(&last.0, &environment) {
            match (self.read)(&environment) {
                Ok(settings) if settings != *last.1 => last.1 = Arc::new(settings),
                Ok(_) => {}
                Err(wrong) => {
                    tracing::error!(%wrong, "what the secrets hold now cannot be used; what they held before is");
                }
            }
            last.0 = environment;
        }
        last.1.clone()
    }
}

#[async_trait]
impl<S: PartialEq + Send + Sync> Settings<S> for WithSecrets<S> {
    async fn current(&self) -> Arc<S> {
        self.secrets.renew(Reason::Age).await;
        self.look()
    }

    async fn have_others(&self, refused: &Arc<S>) -> bool {
        if Arc::ptr_eq(&self.look(), refused) {
            self.secrets.renew(Reason::Refused).await;
        }
        !Arc::ptr_eq(&self.look(), refused)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::Result;
    use lyceum_elasticsearch::{ElasticsearchSettings, SearchCredentials};
    use lyceum_kafka::settings::{KafkaSettings, Sasl};
    use lyceum_secrets::ReadSecrets;
    use lyceum_spans::SpansSettings;

    use super::*;

    /// What the one secret holds.
    #[derive(Clone, Default)]
    struct Vault(Arc<Mutex<String>>);

    #[async_trait]
    impl ReadSecrets for Vault {
        async fn read(&self, _: &str) -> Result<String> {
            Ok(self.0.lock().clone())
        }
    }

    impl Vault {
        async fn of(variable: &'static str, held: &str) -> (Self, Arc<Secrets>) {
            let vault = Self::default();
            *vault.0.lock() = held.to_owned();
            let named = vec![(variable, "arn".to_owned())];
            let secrets = Secrets::of(named, Box::new(vault.clone()), Duration::from_secs(3_600)).await.unwrap();
            (vault, Arc::new(secrets))
        }
    }

    fn store(secrets: &Arc<Secrets>) -> Box<dyn Settings<ElasticsearchSettings>> {
        let first = ElasticsearchSettings::at("http://127.0.0.1:1");
        settings_with(
            Some(secrets),
            first,
            Some(("ELASTICSEARCH_URL", "http://127.0.0.1:1".to_owned())),
            ElasticsearchSettings::read,
        )
    }

    #[tokio::test]
    async fn a_refusal_brings_the_credentials_that_the_secret_holds_now() {
        let (vault, secrets) = Vault::of("ELASTICSEARCH_SECRET_ARN", r#"{"api_key": "one"}"#).await;
        let settings = store(&secrets);
        let first = settings.current().await;
        assert!(Arc::ptr_eq(&first, &settings.current().await));
        *vault.0.lock() = r#"{"api_key": "two"}"#.to_owned();
        assert!(settings.have_others(&first).await);
        let second = settings.current().await;
        assert_eq!(second.credentials, SearchCredentials::ApiKey("two".to_owned()));
        assert_eq!(second.url, first.url);
        // Whoever was refused with the first as well is not read for again.
        assert!(settings.have_others(&first).await && !settings.have_others(&second).await);
    }

    #[tokio::test]
    async fn what_cannot_be_used_leaves_what_was_used() {
        let (vault, secrets) = Vault::of("ELASTICSEARCH_SECRET_ARN", r#"{"api_key": "one"}"#).await;
        let settings = store(&secrets);
        let first = settings.current().await;
        *vault.0.lock() = r#"{"username": "without its password"}"#.to_owned();
        assert!(!settings.have_others(&first).await);
        assert!(Arc::ptr_eq(&first, &settings.current().await));
    }

    #[tokio::test]
    async fn brokers_that_a_command_line_names_stay_when_the_secret_changes() {
        let text = |password: &str| format!(r#"{{"username": "lyceum", "password": "{password}"}}"#);
        let (vault, secrets) = Vault::of("KAFKA_SASL_SECRET_ARN", &text("one")).await;
        let named = KafkaSettings::plaintext("given:9092");
        let brokers = ("KAFKA_BOOTSTRAP_SERVERS", "given:9092".to_owned());
        let read = |reading: &mut Reading<'_>| KafkaSettings::read(reading).unwrap();
        let settings = settings_with(Some(&secrets), named, Some(brokers), read);
        let first = settings.current().await;
        *vault.0.lock() = text("two");
        assert!(settings.have_others(&first).await);
        let now = settings.current().await;
        assert_eq!(now.bootstrap_servers, "given:9092");
        let Some(Sasl::Password { password, .. }) = &now.sasl else { panic!("{now:?}") };
        assert_eq!(password.reveal(), "two");
    }

    #[tokio::test]
    async fn a_collector_is_shown_what_its_secret_holds_now() {
        let (vault, secrets) = Vault::of("OTEL_EXPORTER_OTLP_SECRET_ARN", r#"{"headers": "api-key=one"}"#).await;
        let environment = secrets.environment();
        let variable = |name: &str| match name {
            "OTEL_TRACES_EXPORTER" => Some("otlp".to_owned()),
            _ => environment.variable(name),
        };
        let spans = SpansSettings::read(&mut Reading::new(&variable));
        let shown = crate::shown_to_collector(spans.as_ref(), Some(&secrets)).unwrap();
        let first = shown.current().await;
        assert_eq!(*first, [("api-key".to_owned(), "one".to_owned())]);
        *vault.0.lock() = r#"{"headers": "api-key=two%21,team=learning"}"#.to_owned();
        assert!(shown.have_others(&first).await);
        let now = shown.current().await;
        let [(_, key), (_, team)] = &now[..] else { panic!("{now:?}") };
        assert_eq!([key.as_str(), team], ["two!", "learning"]);
        assert!(crate::shown_to_collector(spans.as_ref(), None).is_none(), "what no secret holds does not change");
    }
}
