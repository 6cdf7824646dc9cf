//! A second index beside the live one.
//!
//! | name | is |
//! |---|---|
//! | `<alias>` | the alias of the live index |
//! | `<alias>-v1`, `<alias>-v1-<n>` | the first index, and the one of the number n |
//! | `<alias>-vnext-<n>` | the alias of the index n while it is filled: by it whoever stores knows of it, and stores there |
//!
//! An index is swapped in by one call that moves both aliases, which the engines do at once or not at all, and only where both are there
//! (Elasticsearch from 7.11 on, OpenSearch from 2.12 on): so of a swap and of somebody who abandons the index one comes to nothing.
//! Whoever stores by the second alias then finds that it is gone. A bulk may go to a node that knows of less than the one that was asked
//! which index is live; each of its documents says which index took it, and where that is not the one that was looked at, it is undecided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Elasticsearch;
use super::failure::EngineError;
use super::index::{Aliased, SCHEMA_VERSION, expect_version, find_aliases, new_index, send};
use lyceum_core::ports::statements::reindex::SETTLED_AFTER;
use lyceum_core::ports::statements::{Current, Indices, Next, StatementsError};

/// What is written to a collection of Amazon OpenSearch Serverless is found by others up to so much later.
const SHOWN_AFTER: Duration = Duration::from_secs(90);

#[derive(Deserialize)]
struct Acknowledged {
    acknowledged: bool,
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
        let found = find_aliases(&self.requests, &format!("{alias},{alias}-v*")).await?;
        let live = self.live_of(&found)?;
        let names = found.keys().filter_map(|name| Some((self.number_of(name)?, name.clone()))).collect();
        Ok(All { live, next: self.next_of(&found), names })
    }

    /// The live one's number and name.
    fn live_of(&self, found: &BTreeMap<String, Aliased>) -> Result<(u32, String), StatementsError> {
        let alias = self.alias();
        let mut live = found.iter().filter(|(_, index)| index.aliases.contains_key(alias)).map(|(name, _)| name);
        let (Some(name), None) = (live.next(), live.next()) else {
            return Err(self.requests.at(StatementsError::Refused(format!(
                "the alias {alias} leads to no index or to several ones: leave one in it, of which another one can take the place"
            ))));
        };
        Ok((self.number_of(name).unwrap_or(0), name.clone()))
    }

    /// The number of the one that is filled; of two, which nobody makes, of the older one.
    fn next_of(&self, found: &BTreeMap<String, Aliased>) -> Option<u32> {
        let numbers = found.iter().filter_map(|(name, index)| {
            let number = self.number_of(name)?;
            index.aliases.contains_key(&self.next_alias(number)).then_some(number)
        });
        numbers.min()
    }

    /// Adds and removes aliases, all at once; `false`, and nothing is done, where one that is to be removed is not there.
    async fn move_aliases(&self, actions: Value) -> Result<bool, StatementsError> {
        let body = json!({ "actions": actions });
        let answer = send(&self.requests, Method::POST, "/_aliases", Some(&body)).await?;
        if answer.status == 404 || (answer.status == 400 && EngineError::of_body(&answer.body).lacks_alias()) {
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

    pub(super) async fn find_current(&self) -> Result<Current, StatementsError> {
        let alias = self.alias();
        let found = find_aliases(&self.requests, &format!("{alias},{alias}-vnext-*")).await?;
        let (live, name) = self.live_of(&found)?;
        self.requests.expect_index(name);
        let next = self.next_of(&found).map(|number| Next { number, documents: self.client_of(number) });
        Ok(Current { live, next })
    }

    /// The client of an index that is filled.
    fn client_of(&self, number: u32) -> Arc<Self> {
        let mut known = self.next.lock();
        match &*known {
            Some((of, client)) if *of == number => client.clone(),
            _ => {
                let requests = self.requests.of_alias(self.next_alias(number), &self.settings);
                requests.expect_index(self.name_of(number));
                let requests = Arc::new(requests);
                let (settings, same) = (self.settings.clone(), self.same);
                let client = Arc::new(Self { requests, settings, same, next: Arc::default() });
                *known = Some((number, client.clone()));
                client
            }
        }
    }

    pub(super) async fn create_next_index(&self, above: u32) -> Result<u32, StatementsError> {
        let All { next, names, .. } = self.all().await?;
        if let Some(number) = next {
            return Ok(number);
        }
        expect_version(&self.requests).await?;
        let number = names.keys().max().copied().unwrap_or(0).max(above) + 1;
        let name = self.name_of(number);
        let mut body = new_index(&self.requests, &self.settings).await?;
        body["aliases"] = json!({self.next_alias(number): {"is_write_index": true}});
        let created = send(&self.requests, Method::PUT, &format!("/{name}"), Some(&body)).await?;
        if created.status == 400 && EngineError::of_body(&created.body).is("resource_already_exists_exception") {
            // Another process was first.
            return self.all().await?.next.ok_or_else(|| {
                let why = format!("the index {name} is there already, and is filled by nobody: try again");
                self.requests.at(StatementsError::Unavailable(why))
            });
        }
        if !self.requests.read::<Acknowledged>(&created)?.acknowledged {
            // Whoever asks one of the others would not know of it for longer than anybody waits.
            let why = format!("not all nodes of the cluster know of the index {name} yet: try again");
            return Err(self.requests.at(StatementsError::Unavailable(why)));
        }
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
                {"remove": {"index": before, "alias": alias, "must_exist": true}},
                {"add": {"index": name, "alias": alias, "is_write_index": true}},
                {"remove": {"index": name, "alias": self.next_alias(number), "must_exist": true}},
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
            let answer = send(&self.requests, Method::DELETE, &format!("/{name}"), None).await?;
            if answer.status != 404 {
                self.requests.read::<IgnoredAny>(&answer)?;
                tracing::info!(index = name, "an index that nobody uses was deleted");
            }
        }
        Ok(old)
    }
}
