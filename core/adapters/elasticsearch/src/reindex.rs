//! A second index beside the live one.
//!
//! | name | is |
//! |---|---|
//! | `<alias>` | the alias of the live index |
//! | `<alias>-v1`, `<alias>-v1-<n>` | the first index, and the one of the number n |
//! | `<alias>-vnext-<n>` | the alias of the index n while it is filled: by it whoever stores knows of it, and stores there |
//!
//! An index is swapped in by one call that moves both aliases, which the engines do at once or not at all. Whoever stores by the second
//! alias then finds that it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use elasticsearch::http::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Elasticsearch;
use super::failure::EngineError;
use super::index::{SCHEMA_VERSION, new_index, send};
use super::requests::Requests;
use lyceum_core::ports::statements::reindex::SETTLED_AFTER;
use lyceum_core::ports::statements::{Indices, Next, StatementsError};

/// What is written to a collection of Amazon OpenSearch Serverless is found by others up to so much later.
const SHOWN_AFTER: Duration = Duration::from_secs(90);

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    aliases: BTreeMap<String, IgnoredAny>,
}

/// The indices as they are.
struct All {
    live: (u32, String),
    next: Option<u32>,
    /// All that have a number, by it.
    names: BTreeMap<u32, String>,
}

impl Elasticsearch {
    fn alias(&self) -> &str {
        &self.requests.index
    }

    fn next_alias(&self, number: u32) -> String {
        format!("{}-vnext-{number}", self.alias())
    }

    fn name_of(&self, number: u32) -> String {
        match number {
            0 => format!("{}-v{SCHEMA_VERSION}", self.alias()),
            _ => format!("{}-v{SCHEMA_VERSION}-{number}", self.alias()),
        }
    }

    /// The number in a name of ours; what a person called otherwise has none.
    fn number_of(&self, name: &str) -> Option<u32> {
        let behind = name.strip_prefix(&self.name_of(0))?;
        if behind.is_empty() {
            return Some(0);
        }
        let number = behind.strip_prefix('-')?.parse().ok()?;
        (self.name_of(number) == name).then_some(number)
    }

    async fn all(&self) -> Result<All, StatementsError> {
        let alias = self.alias();
        let query = [("filter_path", "*.aliases"), ("ignore_unavailable", "true")];
        let found: BTreeMap<String, Found> =
            self.requests.ask(Method::Get, &format!("/{alias},{alias}-v*"), &query, None).await?;
        let mut live: Vec<&String> =
            found.iter().filter(|(_, index)| index.aliases.contains_key(alias)).map(|(name, _)| name).collect();
        let (Some(name), true) = (live.pop(), live.is_empty()) else {
            return Err(self.requests.at(StatementsError::Refused(format!(
                "the alias {alias} leads to no index or to several ones: leave one in it, of which another one can take the place"
            ))));
        };
        let numbered = found.keys().filter_map(|name| Some((self.number_of(name)?, name.clone())));
        let names: BTreeMap<u32, String> = numbered.collect();
        let is_next = |number: &u32| {
            let index = names.get(number).and_then(|name| found.get(name));
            index.is_some_and(|index| index.aliases.contains_key(&self.next_alias(*number)))
        };
        let next = names.keys().copied().find(is_next);
        Ok(All { live: (self.number_of(name).unwrap_or(0), name.clone()), next, names })
    }

    /// Adds and removes aliases, all at once.
    async fn move_aliases(&self, actions: Value) -> Result<bool, StatementsError> {
        let body = json!({ "actions": actions });
        let answer = send(&self.requests, Method::Post, "/_aliases", Some(&body)).await?;
        if answer.status == 404 && EngineError::of_body(&answer.body).is("aliases_not_found_exception") {
            return Ok(false);
        }
        self.requests.read::<IgnoredAny>(&answer)?;
        Ok(true)
    }

    pub(super) async fn find_indices(&self) -> Result<Indices, StatementsError> {
        let All { live: (live, _), next, names } = self.all().await?;
        let old = names.into_keys().filter(|number| *number != live && Some(*number) != next).collect();
        let shown_after = if self.requests.is_serverless { SHOWN_AFTER } else { Duration::ZERO };
        Ok(Indices { live, next, old, settled_after: SETTLED_AFTER + shown_after })
    }

    pub(super) async fn find_next(&self) -> Result<Option<Next>, StatementsError> {
        let path = format!("/{}-vnext-*", self.alias());
        let answer = send_query(&self.requests, &path, &[("filter_path", "*.aliases")]).await?;
        let Some(found) = answer else { return Ok(None) };
        let numbers = found.iter().filter_map(|(name, index)| {
            let number = self.number_of(name)?;
            index.aliases.contains_key(&self.next_alias(number)).then_some(number)
        });
        // Of two, which nobody makes, the older one is the one of the build.
        let Some(number) = numbers.min() else { return Ok(None) };
        let mut known = self.next.lock();
        let documents = match &*known {
            Some((of, documents)) if *of == number => documents.clone(),
            _ => {
                let requests = Arc::new(self.requests.of_alias(self.next_alias(number), &self.settings));
                let documents =
                    Arc::new(Self { requests, settings: self.settings.clone(), same: self.same, next: Arc::default() });
                *known = Some((number, documents.clone()));
                documents
            }
        };
        Ok(Some(Next { number, documents }))
    }

    pub(super) async fn create_next_index(&self) -> Result<u32, StatementsError> {
        let All { next, names, .. } = self.all().await?;
        if let Some(number) = next {
            return Ok(number);
        }
        let number = names.keys().max().map_or(0, |number| number + 1).max(1);
        let name = self.name_of(number);
        let mut body = new_index(&self.requests, &self.settings).await?;
        body["aliases"] = json!({self.next_alias(number): {"is_write_index": true}});
        let created = send(&self.requests, Method::Put, &format!("/{name}"), Some(&body)).await?;
        if created.status == 400 && EngineError::of_body(&created.body).is("resource_already_exists_exception") {
            // Another process was first.
            return self.all().await?.next.ok_or_else(|| {
                let why = format!("the index {name} is there already, and is filled by nobody: try again");
                self.requests.at(StatementsError::Unavailable(why))
            });
        }
        self.requests.read::<IgnoredAny>(&created)?;
        tracing::info!(
            index = name,
            shards = self.settings.shards,
            "an index was created that documents are put into anew"
        );
        Ok(number)
    }

    pub(super) async fn swap_in(&self, number: u32) -> Result<(), StatementsError> {
        let All { live: (live, before), next, .. } = self.all().await?;
        if live == number {
            return Ok(());
        }
        if next != Some(number) {
            let why = format!("the index {} is not filled any more, and is not swapped in", self.name_of(number));
            return Err(self.requests.at(StatementsError::Refused(why)));
        }
        let (alias, name) = (self.alias(), self.name_of(number));
        let moved = self
            .move_aliases(json!([
                {"remove": {"index": before, "alias": alias}},
                {"add": {"index": name, "alias": alias, "is_write_index": true}},
                {"remove": {"index": name, "alias": self.next_alias(number)}},
            ]))
            .await?;
        if !moved {
            let why = format!("the aliases of {alias} were changed by somebody else meanwhile: try again");
            return Err(self.requests.at(StatementsError::Unavailable(why)));
        }
        tracing::info!(index = name, before, "the index is live");
        Ok(())
    }

    pub(super) async fn take_away(&self, number: u32) -> Result<(), StatementsError> {
        if self.all().await?.next == Some(number) {
            let (index, alias) = (self.name_of(number), self.next_alias(number));
            // Where it is gone by now, somebody else took it away.
            self.move_aliases(json!([{"remove": {"index": index, "alias": alias}}])).await?;
        }
        Ok(())
    }

    pub(super) async fn drop_old_indices(&self) -> Result<BTreeSet<u32>, StatementsError> {
        let old = self.find_indices().await?.old;
        for number in &old {
            let name = self.name_of(*number);
            let answer = send(&self.requests, Method::Delete, &format!("/{name}"), None).await?;
            if answer.status != 404 {
                self.requests.read::<IgnoredAny>(&answer)?;
                tracing::info!(index = name, "an index that nobody uses was deleted");
            }
        }
        Ok(old)
    }
}

/// What is found there; nothing where nothing is.
async fn send_query(
    requests: &Requests,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Option<BTreeMap<String, Found>>, StatementsError> {
    let answer = requests.send(Method::Get, path, query, "application/json", None).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    requests.read(&answer).map(Some)
}
