//! What a deployment is found to be. Each part says why it could not be looked at, where it could not.

use std::collections::BTreeMap;

/// A part that was looked at, or why it was not.
pub type Seen<T> = Result<T, Unseen>;

/// Why a part says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It is not there.
    Missing,
    /// It could not be asked, or not from here.
    NotFromHere(String),
}

/// A deployment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its stack.
    pub stack: String,
    /// By logical id, which names the topic; a stack in a stack included.
    pub mappings: Vec<(String, Seen<MappingFacts>)>,
    /// By name.
    pub functions: Vec<(String, Seen<FunctionFacts>)>,
    /// By name.
    pub alarms: Vec<(String, Seen<AlarmFacts>)>,
    /// What alarms are sent to, by ARN: how many listen.
    pub listeners: BTreeMap<String, Seen<u64>>,
    /// By name; the state that DynamoDB tells.
    pub tables: BTreeMap<String, Seen<String>>,
    /// By ARN, with the variable that names it.
    pub secrets: BTreeMap<String, (String, Seen<SecretFacts>)>,
    /// What functions' roles need.
    pub rights: Vec<RightFacts>,
    /// Whether each topic is there.
    pub topics: BTreeMap<String, Seen<()>>,
    /// The statement store, by its URL and index: that it answers.
    pub stores: BTreeMap<String, Seen<()>>,
}

/// An event source mapping. See <https://docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingFacts {
    /// Its UUID.
    pub id: String,
    /// `Enabled`, `Disabled`, or on the way to one of them.
    pub state: String,
    /// Who brought it there.
    pub why: String,
    /// What became of the last poll.
    pub last_result: String,
    /// What it calls.
    pub function: String,
    /// What it reads.
    pub topics: Vec<String>,
    /// The cluster of MSK, where it is one.
    pub cluster: Option<String>,
}

/// A function and its alias `live`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionFacts {
    /// `Active`, or why it is not.
    pub state: String,
    /// What Lambda says of it.
    pub state_reason: String,
    /// `Successful`, or what became of the last change.
    pub last_update: String,
    /// What Lambda says of that.
    pub last_update_reason: String,
    /// The hash of the code that was deployed last.
    pub newest_code: String,
    /// The variables that were deployed last.
    pub newest_variables: BTreeMap<String, String>,
    /// What the alias `live` runs.
    pub live: Option<LiveFacts>,
}

/// What an alias runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveFacts {
    /// The version.
    pub version: String,
    /// Its code.
    pub code: String,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
    /// Other versions, with the share of invocations that go to them.
    pub others: Vec<(String, f64)>,
}

/// An alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFacts {
    /// `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why.
    pub reason: String,
    /// What it says to do.
    pub description: String,
    /// Whether it tells anybody at all.
    pub is_on: bool,
    /// Whom it tells when it rings.
    pub actions: Vec<String>,
}

/// A secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFacts {
    /// Whether it is to be deleted.
    pub is_going: bool,
}

/// Whether a role may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightFacts {
    /// Its function.
    pub function: String,
    /// `service:Action`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// `allowed`, `implicitDeny`, `explicitDeny`.
    pub decision: Seen<String>,
}
