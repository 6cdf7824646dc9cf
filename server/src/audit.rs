//! What a process answers of the audit log: entries with what became of them, and a receipt for one event.

use std::collections::HashMap;
use std::sync::Arc;

use lyceum_core::audit::entry::{Entry, Kind, Letter, Wanted};
use lyceum_core::audit::hash::Hash;
use lyceum_core::audit::proof::Inclusion;
use lyceum_core::catalog::Catalog;
use lyceum_core::envelope::EVENT_ID_HEADER;
use lyceum_core::generations::marker::Generations;
use lyceum_core::ports::ledger::{AggregateId, KeyId, KeyStatus, StoredAggregate, StoredKey};
use lyceum_core::ports::statements::{StatementDocument, Statements};
use lyceum_core::process::audit::{AuditError, AuditLog, Found, Proofs};
use lyceum_core::process::look_into;
use lyceum_core::record::{Header, Position, Record, header_text};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::questions::Keys;

/// So many letters of the entries of one page are told.
const LETTERS: usize = 1_000;
/// So many follow-ups of one event are proved.
const FOLLOW_UPS: usize = 32;

/// An entry, and what became of the record that it is about.
#[derive(Clone, Debug, Serialize)]
pub struct ShownEntry {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry<'static>,
    /// Its letters, where it is no letter itself: why its record could not be applied, each time that it was tried.
    pub dead_letters: Vec<ShownLetter>,
}

/// A letter of an entry.
#[derive(Clone, Debug, Serialize)]
pub struct ShownLetter {
    /// Where it stands.
    pub position: Position,
    /// Why.
    pub error: &'static str,
}

/// A page of entries, the newest first.
#[derive(Clone, Debug, Serialize)]
pub struct ShownEntries {
    /// As many as were asked for.
    pub entries: Vec<ShownEntry>,
    /// How many there are in all.
    pub total: u64,
    /// Hand it back for more.
    pub next: Option<String>,
}

/// Answers about the audit log.
#[derive(Clone)]
pub struct Audit {
    /// The log.
    pub log: AuditLog,
    /// Where the documents of events are.
    pub statements: Arc<dyn Statements>,
    /// Where states and keys are, of the generation that is live.
    pub generations: Arc<Generations>,
    /// Tells what an event is about.
    pub keys: Arc<dyn Keys>,
    /// Tells whose subscription an event is.
    pub catalog: Arc<Catalog>,
}

/// A receipt: what is known of one event, with what shows that it is in the audit log. `docs/verify_proof.py` checks one without
/// anything else.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// The form of what follows.
    pub lyceum_proof: u32,
    /// The event.
    pub event: OfEvent,
    /// It is in the audit log.
    pub audit: Inclusion,
    /// The letters that it became, each in the audit log.
    pub dead_letters: Vec<Inclusion>,
    /// What is stored of it.
    pub document: Option<OfDocument>,
    /// The idempotency key by which it is applied once.
    pub key: Option<OfKey>,
    /// The aggregates that it concerns, as they are now.
    pub states: Vec<OfState>,
    /// What followed from it, each in the audit log where it is there by now.
    pub follow_ups: Vec<OfFollowUp>,
}

/// The event of a receipt.
#[derive(Debug, Serialize)]
pub struct OfEvent {
    id: Option<Uuid>,
    event_type: String,
    tenant: SmolStr,
    correlation_id: Option<SmolStr>,
    position: Position,
}

/// The document of a receipt.
#[derive(Debug, Serialize)]
pub struct OfDocument {
    id: Uuid,
    /// Of its bytes, which stand in the record's value.
    sha256: Hash,
    bytes: u64,
    stored_ms: i64,
    source: Position,
}

/// The key of a receipt.
#[derive(Debug, Serialize)]
pub struct OfKey {
    subscription: &'static str,
    status: KeyStatus,
    epoch: u32,
    content_sha256: Hash,
    source: Position,
}

/// A state of a receipt.
#[derive(Debug, Serialize)]
pub struct OfState {
    kind: SmolStr,
    id: SmolStr,
    version: u64,
    state: Value,
}

/// A follow-up of a receipt.
#[derive(Debug, Serialize)]
pub struct OfFollowUp {
    topic: String,
    id: Option<Uuid>,
    audit: Option<Inclusion>,
}

impl Audit {
    /// Entries that are wanted, with their letters.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn search(&self, wanted: Wanted, limit: usize, after: Option<&str>) -> Result<ShownEntries, AuditError> {
        let tenant = wanted.tenant.clone();
        let Found { entries, total, next } = self.log.search(wanted, limit, after).await?;
        let entries: Vec<Entry<'static>> = entries.into_iter().map(|(_, entry)| entry).collect();
        let is_no_letter = |entry: &&Entry<'_>| entry.kind != Kind::DeadLetter;
        let positions: Vec<Position> =
            entries.iter().filter(is_no_letter).map(|entry| entry.position.clone()).collect();
        let mut letters: HashMap<Position, Vec<ShownLetter>> = HashMap::new();
        if !positions.is_empty() {
            let wanted = Wanted { tenant, kinds: vec![Kind::DeadLetter], positions, ..Wanted::default() };
            for (_, letter) in self.log.search(wanted, LETTERS, None).await?.entries {
                let Some(Letter { source, error }) = letter.letter else { continue };
                let shown = ShownLetter { position: letter.position, error: error.name() };
                letters.entry(source).or_default().push(shown);
            }
        }
        let show = |entry: Entry<'static>| {
            let dead_letters = letters.remove(&entry.position).unwrap_or_default();
            ShownEntry { entry, dead_letters }
        };
        Ok(ShownEntries { entries: entries.into_iter().map(show).collect(), total, next })
    }

    /// A receipt for an event, by its id or its record's position; `None` where there is no such entry, or it is not in its log yet.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn prove(&self, tenant: Option<String>, sought: &Named) -> Result<Option<Receipt>, AuditError> {
        let mut wanted =
            Wanted { tenant, kinds: vec![Kind::Event, Kind::Invalid, Kind::Tombstone], ..Wanted::default() };
        match sought {
            Named::Event(id) => wanted.event_id = Some(*id),
            Named::Position(position) => wanted.positions = vec![position.clone()],
        }
        // The newest first, and the first delivery is the one that counted.
        let Some((document, entry)) = self.log.search(wanted, LETTERS, None).await?.entries.pop() else {
            return Ok(None);
        };
        let mut proofs = self.log.proofs(&entry.log.tenant).await?;
        let Some(audit) = proofs.prove(&document, &entry).await? else { return Ok(None) };
        let (key, states) = self.key_and_states(&entry).await?;
        let stored = match entry.event_id {
            Some(id) => self.statements.get(&entry.log.tenant, id).await?.map(|stored| stored.document),
            None => None,
        };
        let follow_ups = key
            .as_ref()
            .and_then(|(_, key)| look_into(&key.recording))
            .map_or_else(Vec::new, |emits| emits.publications);
        let mut proved = Vec::new();
        if key.as_ref().is_some_and(|(_, key)| key.status == KeyStatus::Applied) {
            for publication in follow_ups.into_iter().take(FOLLOW_UPS) {
                let id = event_id(&publication.record.headers, publication.record.value.as_deref());
                let audit = match id {
                    Some(id) => self.inclusion_of(&mut proofs, &entry.log.tenant, id, &publication.topic).await?,
                    None => None,
                };
                proved.push(OfFollowUp { topic: publication.topic, id, audit });
            }
        }
        Ok(Some(Receipt {
            lyceum_proof: 1,
            event: OfEvent {
                id: entry.event_id,
                event_type: entry.event_type.to_string(),
                tenant: entry.log.tenant.clone(),
                correlation_id: entry.correlation_id.clone(),
                position: entry.position.clone(),
            },
            audit,
            dead_letters: self.letters_of(&mut proofs, &entry).await?,
            document: stored.map(|StatementDocument { id, raw, stored_ms, source, .. }| OfDocument {
                id,
                sha256: Hash::of(&[&raw]),
                bytes: raw.len() as u64,
                stored_ms,
                source,
            }),
            key: key.map(|(subscription, key)| OfKey {
                subscription,
                status: key.status,
                epoch: key.epoch,
                content_sha256: Hash(key.content_hash),
                source: key.source,
            }),
            states,
            follow_ups: proved,
        }))
    }

    async fn letters_of(&self, proofs: &mut Proofs<'_>, entry: &Entry<'_>) -> Result<Vec<Inclusion>, AuditError> {
        let wanted = Wanted {
            tenant: Some(entry.log.tenant.to_string()),
            kinds: vec![Kind::DeadLetter],
            positions: vec![entry.position.clone()],
            ..Wanted::default()
        };
        let mut letters = Vec::new();
        for (document, letter) in self.log.search(wanted, FOLLOW_UPS, None).await?.entries {
            letters.extend(proofs.prove(&document, &letter).await?);
        }
        Ok(letters)
    }

    async fn inclusion_of(
        &self,
        proofs: &mut Proofs<'_>,
        tenant: &SmolStr,
        id: Uuid,
        topic: &str,
    ) -> Result<Option<Inclusion>, AuditError> {
        let wanted = Wanted { tenant: Some(tenant.to_string()), event_id: Some(id), ..Wanted::default() };
        let found = self.log.search(wanted, FOLLOW_UPS, None).await?.entries;
        match found.into_iter().rev().find(|(_, entry)| entry.log.topic == topic) {
            Some((document, entry)) => proofs.prove(&document, &entry).await,
            None => Ok(None),
        }
    }

    /// The key of the topic's owner, and the aggregates that the event concerns.
    async fn key_and_states(
        &self,
        entry: &Entry<'_>,
    ) -> Result<(Option<(&'static str, StoredKey)>, Vec<OfState>), AuditError> {
        let (Some(id), Some(family)) = (entry.event_id, self.catalog.family_of_topic(&entry.log.topic)) else {
            return Ok((None, Vec::new()));
        };
        let about = self.keys.about(&record_of(entry));
        let tenant = &entry.log.tenant;
        let aggregates: Vec<AggregateId> = about
            .aggregates
            .into_iter()
            .map(|of| AggregateId { tenant: tenant.clone(), kind: of.kind.into(), id: of.id })
            .collect();
        let apart = KeyId::of(tenant.clone(), family.name, id);
        let names: Vec<KeyId> =
            aggregates.first().map(|home| KeyId::at(home, family.name, id)).into_iter().chain([apart]).collect();
        let live = self.generations.live(family.name).await?;
        let loaded = live.load(&aggregates, &names).await?;
        let home = loaded.aggregates.first().and_then(Option::as_ref);
        let at_home = home.and_then(|home| home.content.keys.here.iter().find(|key| key.event_id == id));
        let key = at_home.map(|home| home.key.clone()).or_else(|| loaded.keys.into_iter().flatten().next());
        let states = aggregates.iter().zip(loaded.aggregates).filter_map(|(of, stored)| {
            let StoredAggregate { version, content } = stored?;
            let state = serde_json::from_slice(content.state.as_deref()?).ok()?;
            Some(OfState { kind: of.kind.clone(), id: of.id.clone(), version, state })
        });
        let states = states.collect();
        Ok((key.map(|key| (family.name, key)), states))
    }
}

/// What somebody wants a receipt of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// An event.
    Event(Uuid),
    /// A record.
    Position(Position),
}

impl Named {
    /// Reads an event id or a position.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        text.parse().ok().map(Self::Event).or_else(|| text.parse().ok().map(Self::Position))
    }
}

/// The record of an entry, as far as the entry has it.
pub fn record_of(entry: &Entry<'_>) -> Record {
    let bytes = |data: Option<&lyceum_core::audit::entry::Data<'_>>| {
        data.and_then(|data| data.bytes()).map(bytes::Bytes::copy_from_slice)
    };
    let headers = entry.headers.iter();
    Record {
        position: entry.position.clone(),
        timestamp_ms: entry.timestamp_ms,
        key: bytes(entry.key.as_ref()),
        value: bytes(entry.value.as_ref()),
        headers: headers.map(|(name, value)| Header { name: name.to_string(), value: bytes(value.as_ref()) }).collect(),
    }
}

/// The id of what was published: by its header, or as an envelope of a module has it.
fn event_id(headers: &[Header], value: Option<&[u8]>) -> Option<Uuid> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: Uuid,
    }
    let header = header_text(headers, EVENT_ID_HEADER).and_then(|id| id.parse().ok());
    header.or_else(|| serde_json::from_slice::<Id>(value?).ok().map(|of| of.id))
}
