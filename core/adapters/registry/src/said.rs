//! What a registry says where a schema is to be registered.

/// What a registry says of a schema that may be registered for the values of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is there; as what, for a person.
    There(String),
    /// The topic has none yet.
    New,
    /// It goes with those that are there.
    Compatible,
    /// It does not; why, in the registry's words.
    Incompatible(Vec<String>),
    /// The registry judges only what is registered; by which rule.
    Unjudged(String),
}

/// What became of a schema that was to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is there; as what, for a person.
    As(String),
    /// It does not go with those that are there; why.
    Incompatible(String),
}
