//! The log against the stores: whether what is kept of a record is what its subscription should have made of it. Pure; who reads the
//! log and the stores is `lyceum-server`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::ports::statements::StatementDocument;
use crate::ports::statements::semantics::StatementEquality;
use crate::process::{Held, HeldEvent, HeldKey};
use crate::record::Position;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The record was settled, and no key says that anybody decided about its event.
    MissingKey,
    /// The event was applied, and its document is not in the store.
    MissingDocument,
    /// The record is dead, and no letter says so.
    MissingLetter,
    /// The event's key is that of another content, and no letter says so.
    DifferingKey,
    /// The document under the event's id is not what the record makes.
    DifferingDocument,
    /// A document says that it is of a record which is not on the log, or is another event.
    ExtraDocument,
}

impl What {
    /// Every difference.
    pub const ALL: [Self; 6] = [
        Self::MissingKey,
        Self::MissingDocument,
        Self::MissingLetter,
        Self::DifferingKey,
        Self::DifferingDocument,
        Self::ExtraDocument,
    ];

    /// Whether processing the record once more makes what is not there: of a key of another content its letter. What is there is never
    /// overwritten.
    pub fn is_made_by_processing(self) -> bool {
        match self {
            Self::MissingKey | Self::MissingDocument | Self::MissingLetter | Self::DifferingKey => true,
            Self::DifferingDocument | Self::ExtraDocument => false,
        }
    }

    /// What a person does about it.
    pub fn to_do(self) -> &'static str {
        match self {
            Self::MissingKey | Self::MissingDocument | Self::MissingLetter => {
                "have the records processed once more: `lyceum reconcile --repair`"
            }
            Self::DifferingKey => {
                "have the letters made that say so: `lyceum reconcile --repair`; then look at both events of each"
            }
            Self::DifferingDocument => {
                "look at each: no processing overwrites a document. Where its bytes are the record's and only type, family or time are not, \
                 `lyceum rebuild documents` makes these anew. Else take what is wrong out of the store by its id (or restore a snapshot of \
                 the store), and `lyceum reconcile --repair` stores the record's own"
            }
            Self::ExtraDocument => {
                "look at each: no record makes it, and none takes it away. Take it out of the store by its id, or restore the records that \
                 it says it is of"
            }
        }
    }

    /// For a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingKey => "missing key",
            Self::MissingDocument => "missing document",
            Self::MissingLetter => "missing letter",
            Self::DifferingKey => "differing key",
            Self::DifferingDocument => "differing document",
            Self::ExtraDocument => "extra document",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs.
    pub what: What,
    /// Whose effect it is.
    pub subscription: String,
    /// The record; of an extra document the one that it says it is of.
    pub position: Position,
    /// Whose event it is, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<SmolStr>,
    /// The event, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// For a person.
    pub why: String,
}

/// How a record stands with one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing to keep of it.
    Nothing,
    /// All that should be there is.
    Kept,
    /// It is accounted for by its dead letter.
    Letter,
    /// It cannot be told, and why.
    Untold(String),
    /// Something differs, and why.
    Differs(What, String),
}

/// What is known beside the record.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    /// What is stored under the event's id.
    pub document: Option<&'k StatementDocument>,
    /// Whether a letter of that id is there; `None` where that cannot be told.
    pub has_letter: &'k dyn Fn(Uuid) -> Option<bool>,
    /// Whether the record is older than keys are kept.
    pub is_older_than_keys: bool,
    /// By which two statements of one id are the same.
    pub same: StatementEquality,
}

/// Judges a record that is settled.
pub fn judge(held: &Held, at: &Position, known: Known<'_>) -> Verdict {
    match held {
        Held::Nothing => Verdict::Nothing,
        Held::Unread(why) => Verdict::Untold(why.clone()),
        Held::Letter(id) => letter(*id, known, What::MissingLetter, || "the record can be no event".to_owned()),
        Held::Event(event) => judge_event(event, at, known),
    }
}

fn letter(id: Uuid, known: Known<'_>, what: What, why: impl FnOnce() -> String) -> Verdict {
    match (known.has_letter)(id) {
        Some(true) => Verdict::Letter,
        Some(false) => Verdict::Differs(what, format!("{}, and there is no letter {id}", why())),
        None => Verdict::Untold(format!("{}; not all letters are indexed, so that its own may be there", why())),
    }
}

fn judge_event(event: &HeldEvent, at: &Position, known: Known<'_>) -> Verdict {
    match &event.key {
        HeldKey::Missing if known.is_older_than_keys => {
            Verdict::Untold("its key is older than keys are kept".to_owned())
        }
        HeldKey::Missing => {
            let why = "the record was settled, and no key says how its event ended";
            Verdict::Differs(What::MissingKey, why.to_owned())
        }
        HeldKey::Unread(why) => Verdict::Untold(why.clone()),
        HeldKey::OtherContent { first } => letter(event.letter, known, What::DifferingKey, || {
            format!("the key of event {} is of another content, of {first}", event.event_id)
        }),
        HeldKey::Dead { letter: None } => Verdict::Untold("its key's recording names no letter".to_owned()),
        HeldKey::Dead { letter: Some(id) } => {
            letter(*id, known, What::MissingLetter, || format!("event {} is dead", event.event_id))
        }
        HeldKey::NotKept | HeldKey::Applied => match (&event.document, known.document) {
            (None, _) if event.key == HeldKey::Applied => Verdict::Kept,
            (None, _) => Verdict::Nothing,
            (Some(made), Some(found)) => judge_document(event, made, found, at, known),
            (Some(made), None) => {
                let why = format!("there is no document {} of tenant {}", made.id, made.tenant);
                // What a store refused for good has a letter instead.
                match (known.has_letter)(event.letter) {
                    Some(true) => Verdict::Letter,
                    Some(false) | None => Verdict::Differs(What::MissingDocument, why),
                }
            }
        },
    }
}

fn judge_document(
    event: &HeldEvent,
    made: &StatementDocument,
    found: &StatementDocument,
    at: &Position,
    known: Known<'_>,
) -> Verdict {
    let differs = |why: String| Verdict::Differs(What::DifferingDocument, why);
    if found.source == made.source && made.source == *at {
        // The very record that it was stored of: byte for byte.
        let other = [
            ("its bytes", found.raw != made.raw),
            ("its event type", found.fields.event_type != made.fields.event_type),
            ("its family", found.fields.family != made.fields.family),
            ("its time", found.fields.timestamp_ms != made.fields.timestamp_ms),
        ];
        let other: Vec<&str> = other.into_iter().filter(|(_, is_other)| *is_other).map(|(name, _)| name).collect();
        return match other.is_empty() {
            true => Verdict::Kept,
            false => differs(format!("document {} has other contents than the record: {}", made.id, other.join(", "))),
        };
    }
    if found.raw == made.raw || (known.same)(&found.raw, &made.raw) {
        return Verdict::Kept;
    }
    let why = || format!("document {} is of {} and says something else", made.id, found.source);
    match (known.has_letter)(event.letter) {
        Some(true) => Verdict::Letter,
        Some(false) => differs(format!("{}, and there is no letter {}", why(), event.letter)),
        None => Verdict::Untold(format!("{}; not all letters are indexed, so that its own may be there", why())),
    }
}

/// Whether a document that says that it is of a record is its event's; why not.
pub fn judge_source(document: &StatementDocument, held: Option<&Held>) -> Option<String> {
    match held {
        None => Some(format!("the log has no record at {}", document.source)),
        // Nobody can tell.
        Some(Held::Unread(_)) => None,
        Some(Held::Event(event)) if event.event_id == document.id && event.tenant == document.tenant => None,
        Some(Held::Event(event)) => {
            Some(format!("the record at {} is event {} of tenant {}", document.source, event.event_id, event.tenant))
        }
        Some(Held::Nothing | Held::Letter(_)) => {
            Some(format!("the record at {} is no event of {}", document.source, document.fields.family))
        }
    }
}

/// So many differences are listed; all of them are counted.
pub const MAX_LISTED: usize = 1_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Records that were read.
    pub records: u64,
    /// Of those, each with each subscription that reads it: what is all there.
    pub kept: u64,
    /// What is accounted for by a dead letter.
    pub letters: u64,
    /// What there is nothing to keep of.
    pub nothing: u64,
    /// What is not settled yet: its subscription is still to come to it.
    pub not_yet: u64,
    /// What cannot be told, and why, as often as that is so.
    pub untold: BTreeMap<String, u64>,
    /// Documents that were held against the log.
    pub documents: u64,
    /// How many differences of each kind there are.
    pub differences: BTreeMap<What, u64>,
    /// What a person does about each kind that there is.
    #[serde(default)]
    pub to_do: BTreeMap<What, String>,
    /// The first of them.
    pub listed: Vec<Difference>,
    /// How many were there no more once their records were processed again.
    pub repaired: u64,
    /// What the stores had dropped already: offsets of the range before the log's beginning, and the like.
    pub notes: Vec<String>,
    /// Whether all of the range was compared; otherwise `next` says where it goes on.
    pub is_complete: bool,
    /// What is left, as ranges of offsets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<crate::replay::OffsetsOf>,
}

/// So many different reasons are kept.
const MAX_REASONS: usize = 50;

impl Report {
    /// Counts one verdict; the difference, where it is one.
    pub fn count(&mut self, verdict: Verdict) -> Option<(What, String)> {
        match verdict {
            Verdict::Nothing => self.nothing += 1,
            Verdict::Kept => self.kept += 1,
            Verdict::Letter => self.letters += 1,
            Verdict::Untold(why) => {
                let is_new = !self.untold.contains_key(&why);
                let why = if is_new && self.untold.len() >= MAX_REASONS { "for other reasons".to_owned() } else { why };
                *self.untold.entry(why).or_default() += 1;
            }
            Verdict::Differs(what, why) => return Some((what, why)),
        }
        None
    }

    /// Adds a difference that stays.
    pub fn add(&mut self, difference: Difference) {
        *self.differences.entry(difference.what).or_default() += 1;
        self.to_do.entry(difference.what).or_insert_with(|| difference.what.to_do().to_owned());
        if self.listed.len() < MAX_LISTED {
            self.listed.push(difference);
        }
    }

    /// Adds the report of what was left of the same comparison, which says whether it is complete.
    pub fn go_on(&mut self, later: Self) {
        self.records += later.records;
        self.kept += later.kept;
        self.letters += later.letters;
        self.nothing += later.nothing;
        self.not_yet += later.not_yet;
        self.documents += later.documents;
        self.repaired += later.repaired;
        for (why, count) in later.untold {
            *self.untold.entry(why).or_default() += count;
        }
        for (what, count) in later.differences {
            *self.differences.entry(what).or_default() += count;
        }
        self.to_do.extend(later.to_do);
        let room = MAX_LISTED.saturating_sub(self.listed.len());
        self.listed.extend(later.listed.into_iter().take(room));
        for note in later.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        (self.is_complete, self.next) = (later.is_complete, later.next);
    }

    /// How many differences there are.
    pub fn total(&self) -> u64 {
        self.differences.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ports::statements::StatementFields;

    fn document(raw: &'static str, offset: i64) -> StatementDocument {
        StatementDocument {
            tenant: "acme".into(),
            id: Uuid::from_u128(1),
            raw: Bytes::from_static(raw.as_bytes()),
            stored_ms: 5,
            source: Position::new("t", 0, offset),
            correlation_id: "c".into(),
            fields: StatementFields::default(),
        }
    }

    fn event(key: HeldKey, document: Option<StatementDocument>) -> Held {
        Held::Event(Box::new(HeldEvent {
            tenant: "acme".into(),
            event_id: Uuid::from_u128(1),
            event_type: "a",
            key,
            document,
            letter: Uuid::from_u128(9),
        }))
    }

    /// The verdict on the record at offset 1, with this document stored and these letters there.
    fn judged(held: &Held, found: Option<&StatementDocument>, letters: &[u128]) -> Verdict {
        let has_letter = |id: Uuid| Some(letters.contains(&id.as_u128()));
        let same = |one: &[u8], other: &[u8]| one.eq_ignore_ascii_case(other);
        let known = Known { document: found, has_letter: &has_letter, is_older_than_keys: false, same };
        judge(held, &Position::new("t", 0, 1), known)
    }

    fn what(verdict: Verdict) -> Option<What> {
        if let Verdict::Differs(what, _) = verdict { Some(what) } else { None }
    }

    #[test]
    fn what_is_all_there_is_kept_and_what_there_is_nothing_of_is_nothing() {
        assert_eq!(judged(&Held::Nothing, None, &[]), Verdict::Nothing);
        for key in [HeldKey::NotKept, HeldKey::Applied] {
            let held = event(key, Some(document("x", 1)));
            assert_eq!(judged(&held, Some(&document("x", 1)), &[]), Verdict::Kept);
        }
        assert_eq!(judged(&event(HeldKey::Applied, None), None, &[]), Verdict::Kept);
    }

    #[test]
    fn what_is_not_there_is_missing_unless_a_letter_accounts_for_it() {
        for (held, missing, letter) in [
            (Held::Letter(Uuid::from_u128(7)), What::MissingLetter, 7),
            (event(HeldKey::Dead { letter: Some(Uuid::from_u128(8)) }, None), What::MissingLetter, 8),
            (event(HeldKey::OtherContent { first: Position::new("t", 0, 0) }, None), What::DifferingKey, 9),
            (event(HeldKey::NotKept, Some(document("x", 1))), What::MissingDocument, 9),
        ] {
            assert_eq!(what(judged(&held, None, &[])), Some(missing), "{held:?}");
            assert_eq!(judged(&held, None, &[letter]), Verdict::Letter, "{held:?}");
        }
        assert_eq!(what(judged(&event(HeldKey::Missing, None), None, &[])), Some(What::MissingKey));
    }

    #[test]
    fn a_document_of_the_record_itself_is_held_against_every_byte_and_one_of_another_against_what_it_says() {
        let held = event(HeldKey::NotKept, Some(document("x", 1)));
        assert_eq!(what(judged(&held, Some(&document("X", 1)), &[])), Some(What::DifferingDocument));
        assert_eq!(judged(&held, Some(&document("X", 0)), &[]), Verdict::Kept, "it came before, in another notation");
        assert_eq!(what(judged(&held, Some(&document("y", 0)), &[])), Some(What::DifferingDocument));
        assert_eq!(judged(&held, Some(&document("y", 0)), &[9]), Verdict::Letter, "a conflict has a letter");
    }

    #[test]
    fn a_key_that_is_older_than_keys_are_kept_is_not_missed() {
        let has_letter = |_| Some(false);
        let same = |one: &[u8], other: &[u8]| one == other;
        let known = Known { document: None, has_letter: &has_letter, is_older_than_keys: true, same };
        let verdict = judge(&event(HeldKey::Missing, None), &Position::new("t", 0, 1), known);
        assert!(matches!(verdict, Verdict::Untold(_)), "{verdict:?}");
    }

    #[test]
    fn a_document_is_extra_where_its_record_is_not_there_or_is_another_event() {
        let own = event(HeldKey::NotKept, None);
        assert_eq!(judge_source(&document("x", 1), Some(&own)), None);
        assert_eq!(judge_source(&document("x", 1), Some(&Held::Unread(String::new()))), None);
        assert!(judge_source(&document("x", 1), None).is_some_and(|why| why.contains("t/0/1")));
        let other = StatementDocument { id: Uuid::from_u128(2), ..document("x", 1) };
        for held in [&own, &Held::Nothing, &Held::Letter(Uuid::nil())] {
            assert!(judge_source(&other, Some(held)).is_some(), "{held:?}");
        }
    }
}
