//! A registry, whichever it is.

use async_trait::async_trait;
use lyceum_aws::sign::Signer;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};

use crate::confluent::Confluent;
use crate::glue::Glue;
use crate::said::{Look, Registered};
use crate::settings::{Place, RegistrySettings};

/// A registry; nothing is kept of what it says.
pub struct Registry(Kind);

enum Kind {
    Confluent(Confluent),
    Glue(Box<Glue>),
}

impl Registry {
    /// The registry that the settings name. Nothing is called yet.
    ///
    /// # Errors
    /// Where the certificates of the settings cannot be used.
    pub fn connect(settings: &RegistrySettings) -> Result<Self, SchemasError> {
        Ok(Self(match &settings.place {
            Place::Confluent { url, credentials } => Kind::Confluent(Confluent::connect(settings, url, credentials)?),
            Place::Glue { region, name, endpoint, .. } => {
                Kind::Glue(Box::new(Glue::new(region, name, endpoint.as_deref(), settings.timeout)))
            }
        }))
    }

    /// The same, where its requests are signed by this one.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        match self.0 {
            Kind::Glue(glue) => Self(Kind::Glue(Box::new(glue.signed_by(signer)))),
            Kind::Confluent(_) => self,
        }
    }

    /// The name under which it keeps the schemas of a topic's values.
    pub fn subject(&self, topic: &str) -> String {
        match &self.0 {
            Kind::Confluent(_) => Confluent::subject(topic),
            Kind::Glue(_) => topic.to_owned(),
        }
    }

    /// What it says of this schema for the values of this topic; changes nothing.
    ///
    /// # Errors
    /// See [`SchemasError`].
    pub async fn look(&self, topic: &str, schema: &str) -> Result<Look, SchemasError> {
        match &self.0 {
            Kind::Confluent(of) => of.look(topic, schema).await,
            Kind::Glue(of) => of.look(topic, schema).await,
        }
    }

    /// Registers this schema for the values of this topic; one that is there stays as it is.
    ///
    /// # Errors
    /// See [`SchemasError`].
    pub async fn register(&self, topic: &str, schema: &str) -> Result<Registered, SchemasError> {
        match &self.0 {
            Kind::Confluent(of) => of.register(topic, schema).await,
            Kind::Glue(of) => of.register(topic, schema).await,
        }
    }
}

#[async_trait]
impl FindSchema for Registry {
    async fn find(&self, schema: &SchemaRef) -> Result<Option<String>, SchemasError> {
        match &self.0 {
            Kind::Confluent(of) => of.find(schema).await,
            Kind::Glue(of) => of.find(schema).await,
        }
    }

    async fn ping(&self) -> Result<(), SchemasError> {
        match &self.0 {
            Kind::Confluent(of) => of.ping().await,
            Kind::Glue(of) => of.ping().await,
        }
    }
}
