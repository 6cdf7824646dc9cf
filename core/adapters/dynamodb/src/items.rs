//! What the ledger's items look like. Pure; the module above shows an example of each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use lyceum_core::ports::ledger::{
    AggregateId, Content, Home, HomeKey, HomeKeys, KeyId, KeyStatus, LedgerError, MAX_ITEM_BYTES, StoredAggregate,
    StoredKey,
};
use lyceum_core::record::Position;

/// The newest schema of items that this program reads; it reads the ones before, too. A change that a predecessor would
/// misread needs the next number, and an item says the lowest one by which it can be read, so that what has nothing new
/// in it stays readable for a predecessor.
pub const SCHEMA_VERSION: u32 = 3;

/// Everything is written out.
pub(super) const PLAIN: u32 = 1;

/// State or recording may be deflated.
const DEFLATED: u32 = 2;

/// An aggregate lists the keys of its events, and may have no state.
const HOME_KEYS: u32 = 3;

/// What is longer is deflated where that makes it shorter: with names and the other attributes it would not fit into the
/// first kilobyte, and each further one is paid with every write.
const DEFLATE_ABOVE_BYTES: usize = 700;

/// Over how many partition keys the aggregates of one tenant and kind are spread. Fixed: another number would not find
/// what is stored.
pub const LIST_SHARDS: u8 = 16;

/// The attribute that DynamoDB's time to live looks at: seconds since 1970-01-01T00:00:00Z.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// Source: DynamoDB Developer Guide, "Quotas": 2,048 bytes of partition key; three parts of this size fit.
const MAX_PART_BYTES: usize = 512;

/// Source: DynamoDB Developer Guide, "Quotas": 1,024 bytes of sort key, one of which marks what follows.
const MAX_SORT_ID_BYTES: usize = 1_023;

/// What a sort key of 1,024 bytes has left for the id of a home, behind an epoch and a kind.
const MAX_HOME_ID_BYTES: usize = 490;

pub(super) type Item = HashMap<String, AttributeValue>;

/// An item's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ItemKey {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl ItemKey {
    pub(super) fn of_aggregate(id: &AggregateId) -> Self {
        let shard = Sha256::digest(id.id.as_bytes())[0] % LIST_SHARDS;
        Self { pk: shard_pk(&id.tenant, &id.kind, shard), sk: sort_id(&id.id, MAX_SORT_ID_BYTES) }
    }

    pub(super) fn of_key(id: &KeyId) -> Self {
        Self::of_event(id, "k".to_owned())
    }

    pub(super) fn of_attempts(id: &KeyId, epoch: u32) -> Self {
        Self::of_event(id, format!("a/{epoch}"))
    }

    pub(super) fn of_lease(id: &KeyId) -> Self {
        Self::of_event(id, "l".to_owned())
    }

    /// All that is kept of one event lies together, whatever its homes.
    fn of_event(id: &KeyId, mut sk: String) -> Self {
        let pk = format!("K/{}/{}/{}", part(&id.tenant), part(&id.subscriber), id.event_id);
        if let Some(Home { kind, id }) = &id.home {
            let _ = write!(sk, "/{}/{}", part(kind), sort_id(id, MAX_HOME_ID_BYTES));
        }
        Self { pk, sk }
    }

    /// Nothing is ever stored here.
    pub(super) fn of_ping() -> Self {
        Self { pk: "ping".to_owned(), sk: "ping".to_owned() }
    }

    pub(super) fn of_item(item: &Item) -> Option<Self> {
        let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Some(Self { pk: text("pk")?, sk: text("sk")? })
    }

    pub(super) fn into_attributes(self) -> Item {
        Item::from([text("pk", self.pk), text("sk", self.sk)])
    }
}

/// The partition key of one shard of a kind's aggregates.
pub(super) fn shard_pk(tenant: &str, kind: &str, shard: u8) -> String {
    format!("A/{}/{}/{shard:x}", part(tenant), part(kind))
}

/// One part of a partition key, so written that it holds no `/` and that no two texts look the same.
fn part(text: &str) -> Cow<'_, str> {
    let escaped: Cow<'_, str> = match text.contains(['%', '/']) || text.starts_with('~') {
        false => text.into(),
        true => {
            let escaped = text.replace('%', "%25").replace('/', "%2F");
            match escaped.strip_prefix('~') {
                Some(rest) => format!("%7E{rest}").into(),
                None => escaped.into(),
            }
        }
    };
    if escaped.len() > MAX_PART_BYTES { digest(text).into() } else { escaped }
}

/// An aggregate's id in a sort key: never empty, never longer than so many bytes and one.
fn sort_id(id: &str, most: usize) -> String {
    if id.len() > most { digest(id) } else { format!("={id}") }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold("~".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn text(name: &str, value: impl Into<String>) -> (String, AttributeValue) {
    (name.to_owned(), AttributeValue::S(value.into()))
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Puts bytes into an item: as text where they are text, so that a person can read them, and deflated where they are long.
fn insert_opaque(item: &mut Item, attribute: Opaque, bytes: &[u8]) {
    let deflated = (bytes.len() > DEFLATE_ABOVE_BYTES).then(|| deflate(bytes)).flatten();
    let (name, value) = match deflated {
        Some(deflated) => {
            item.insert("s".to_owned(), number(DEFLATED));
            (attribute.deflated, AttributeValue::B(Blob::new(deflated)))
        }
        None => (attribute.plain, opaque(bytes)),
    };
    item.insert(name.to_owned(), value);
}

fn opaque(bytes: &[u8]) -> AttributeValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => AttributeValue::S(text.to_owned()),
        Err(_) => AttributeValue::B(Blob::new(bytes)),
    }
}

fn read_opaque(value: &AttributeValue) -> Option<Bytes> {
    match value {
        AttributeValue::S(text) => Some(text.clone().into()),
        AttributeValue::B(blob) => Some(Bytes::copy_from_slice(blob.as_ref())),
        _ => None,
    }
}

/// The names of an attribute that is opaque here.
#[derive(Clone, Copy)]
struct Opaque {
    plain: &'static str,
    deflated: &'static str,
}

const STATE: Opaque = Opaque { plain: "d", deflated: "dz" };
const RECORDING: Opaque = Opaque { plain: "r", deflated: "rz" };

/// Deflated, where that is shorter.
fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail; if it did, the bytes would stay as they are.
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish()).ok()?;
    (deflated.len() < bytes.len()).then_some(deflated)
}

/// Inflated; `None` where it is damaged, or longer than anything that the ledger takes.
fn inflate(deflated: &[u8]) -> Option<Bytes> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(deflated).take(MAX_ITEM_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= MAX_ITEM_BYTES).then(|| bytes.into())
}

/// The item of an aggregate.
pub(super) fn write_aggregate(id: &AggregateId, version: u64, content: &Content) -> Item {
    let key = ItemKey::of_aggregate(id);
    let hashed = key.sk.starts_with('~');
    let mut item = key.into_attributes();
    item.insert("s".to_owned(), number(PLAIN));
    item.insert("v".to_owned(), number(version));
    if let Some(state) = &content.state {
        insert_opaque(&mut item, STATE, state);
    }
    if content.keys != HomeKeys::default() || content.state.is_none() {
        item.insert("s".to_owned(), number(HOME_KEYS));
        item.insert("k".to_owned(), AttributeValue::L(content.keys.here.iter().map(write_home_key).collect()));
        item.insert("ka".to_owned(), AttributeValue::Bool(content.keys.apart));
    }
    if hashed {
        item.extend([text("i", id.id.as_str())]);
    }
    item
}

/// A key within the item of its home: a list, since names would be paid with each.
fn write_home_key(HomeKey { event_id, key }: &HomeKey) -> AttributeValue {
    let identity = [event_id.as_bytes().as_slice(), &key.content_hash].concat();
    AttributeValue::L(vec![
        AttributeValue::B(Blob::new(identity)),
        number(key.epoch),
        AttributeValue::S(key.source.to_string()),
        opaque(&key.recording),
    ])
}

fn read_home_key(value: &AttributeValue) -> Option<HomeKey> {
    let [identity, epoch, source, recording] = value.as_l().ok()?.as_slice() else { return None };
    let (event_id, content_hash) = identity.as_b().ok()?.as_ref().split_first_chunk::<16>()?;
    let key = StoredKey {
        status: KeyStatus::Applied,
        epoch: epoch.as_n().ok()?.parse().ok()?,
        content_hash: content_hash.try_into().ok()?,
        source: source.as_s().ok()?.parse().ok()?,
        recording: read_opaque(recording)?,
    };
    Some(HomeKey { event_id: Uuid::from_bytes(*event_id), key })
}

/// The item of a key.
pub(super) fn write_key(id: &KeyId, key: &StoredKey, expires_at: i64) -> Item {
    let mut item = ItemKey::of_key(id).into_attributes();
    item.extend([
        ("s".to_owned(), number(PLAIN)),
        text("st", status_name(key.status)),
        ("e".to_owned(), number(key.epoch)),
        ("h".to_owned(), AttributeValue::B(Blob::new(key.content_hash))),
        text("p", key.source.to_string()),
        (EXPIRES_AT.to_owned(), number(expires_at)),
    ]);
    insert_opaque(&mut item, RECORDING, &key.recording);
    item
}

pub(super) fn status_name(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Applied => "applied",
        KeyStatus::Dead => "dead",
    }
}

/// Reads the item of an aggregate.
pub(super) fn read_aggregate(item: Item) -> Result<StoredAggregate, LedgerError> {
    let mut reader = Reader::new(item)?;
    let keys = reader.home_keys()?;
    // What was written before aggregates had keys has its state, and all of its keys apart.
    let state = if keys.is_some() && !has_state(&reader.item) { None } else { Some(reader.opaque(STATE)?) };
    let content = Content { state, keys: keys.unwrap_or_default() };
    Ok(StoredAggregate { version: reader.number("v")?, content })
}

/// Whether the item of an aggregate has a state.
pub(super) fn has_state(item: &Item) -> bool {
    item.contains_key(STATE.plain) || item.contains_key(STATE.deflated)
}

/// Reads the id that an aggregate's item is about.
pub(super) fn read_aggregate_id(tenant: &str, kind: &str, item: &Item) -> Result<AggregateId, LedgerError> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok());
    let id = match text("sk").and_then(|sk| sk.strip_prefix('=')) {
        Some(id) => id,
        None => text("i").ok_or_else(|| damaged(item, "i"))?,
    };
    Ok(AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() })
}

/// Reads the item of a key.
pub(super) fn read_key(item: Item) -> Result<StoredKey, LedgerError> {
    let mut reader = Reader::new(item)?;
    Ok(StoredKey {
        status: match reader.text("st")?.as_str() {
            "applied" => KeyStatus::Applied,
            "dead" => KeyStatus::Dead,
            _ => return Err(damaged(&reader.item, "st")),
        },
        epoch: reader.number("e")?,
        content_hash: reader.bytes("h")?,
        source: reader.text("p")?.parse::<Position>().map_err(|_| damaged(&reader.item, "p"))?,
        recording: reader.opaque(RECORDING)?,
    })
}

/// Takes an item apart, and names it where that fails.
struct Reader {
    item: Item,
}

impl Reader {
    fn new(item: Item) -> Result<Self, LedgerError> {
        let reader = Self { item };
        match reader.number::<u32>("s")? {
            PLAIN..=SCHEMA_VERSION => Ok(reader),
            version => Err(LedgerError::Refused(format!(
                "item {} has schema {version}, and this program reads schemas up to {SCHEMA_VERSION}: \
                 run the version of Lyceum that wrote it, or a later one",
                name(&reader.item)
            ))),
        }
    }

    fn number<T: FromStr>(&self, attribute: &str) -> Result<T, LedgerError> {
        let number = self.item.get(attribute).and_then(|value| value.as_n().ok());
        number.and_then(|text| text.parse().ok()).ok_or_else(|| damaged(&self.item, attribute))
    }

    fn text(&mut self, attribute: &str) -> Result<String, LedgerError> {
        match self.item.remove(attribute) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(damaged(&self.item, attribute)),
        }
    }

    fn bytes<const N: usize>(&self, attribute: &str) -> Result<[u8; N], LedgerError> {
        let blob = self.item.get(attribute).and_then(|value| value.as_b().ok());
        blob.and_then(|blob| blob.as_ref().try_into().ok()).ok_or_else(|| damaged(&self.item, attribute))
    }

    fn opaque(&mut self, attribute: Opaque) -> Result<Bytes, LedgerError> {
        if let Some(AttributeValue::B(deflated)) = self.item.get(attribute.deflated) {
            return inflate(deflated.as_ref()).ok_or_else(|| damaged(&self.item, attribute.deflated));
        }
        match self.item.remove(attribute.plain) {
            Some(AttributeValue::S(text)) => Ok(text.into()),
            Some(AttributeValue::B(blob)) => Ok(blob.into_inner().into()),
            _ => Err(damaged(&self.item, attribute.plain)),
        }
    }

    fn home_keys(&self) -> Result<Option<HomeKeys>, LedgerError> {
        let Some(keys) = self.item.get("k") else { return Ok(None) };
        let here = keys.as_l().ok().and_then(|keys| keys.iter().map(read_home_key).collect::<Option<Vec<_>>>());
        let apart = self.item.get("ka").and_then(|apart| apart.as_bool().ok());
        Ok(Some(HomeKeys {
            here: here.ok_or_else(|| damaged(&self.item, "k"))?,
            apart: *apart.ok_or_else(|| damaged(&self.item, "ka"))?,
        }))
    }
}

fn name(item: &Item) -> String {
    match ItemKey::of_item(item) {
        Some(key) => format!("{} {}", key.pk, key.sk),
        None => "without a key".to_owned(),
    }
}

fn damaged(item: &Item, attribute: &str) -> LedgerError {
    LedgerError::Refused(format!(
        "item {} has no attribute {attribute} as Lyceum writes it: \
         something else wrote to this table; restore the item, or give Lyceum a table of its own",
        name(item)
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn aggregate(tenant: &str, kind: &str, id: &str) -> AggregateId {
        AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() }
    }

    fn stored_key() -> (KeyId, StoredKey) {
        let id = KeyId::of("acme", "training", Uuid::from_u128(1));
        let key = StoredKey {
            status: KeyStatus::Dead,
            epoch: 3,
            content_hash: [7; 32],
            source: Position::new("charter.training", 2, 40),
            recording: Bytes::from_static(b"\xff\x00not text"),
        };
        (id, key)
    }

    #[test]
    fn the_items_look_as_the_documentation_says() {
        let item = write_aggregate(&aggregate("acme", "program", "program-1"), 7, &Content::of("{}"));
        assert_eq!(ItemKey::of_item(&item), Some(ItemKey { pk: "A/acme/program/3".into(), sk: "=program-1".into() }));
        let (id, _) = stored_key();
        let pk = "K/acme/training/00000000-0000-0000-0000-000000000001".to_owned();
        assert_eq!(ItemKey::of_key(&id), ItemKey { pk: pk.clone(), sk: "k".into() });
        assert_eq!(ItemKey::of_attempts(&id, 0), ItemKey { pk: pk.clone(), sk: "a/0".into() });
        let id = KeyId::at(&aggregate("acme", "program", "program-1"), "training", id.event_id);
        assert_eq!(ItemKey::of_key(&id), ItemKey { pk: pk.clone(), sk: "k/program/=program-1".into() });
        assert_eq!(ItemKey::of_attempts(&id, 2), ItemKey { pk, sk: "a/2/program/=program-1".into() });
    }

    #[test]
    fn items_are_read_back_as_they_were_written() {
        let (id, key) = stored_key();
        assert_eq!(read_key(write_key(&id, &key, 99)), Ok(key));
        let id = aggregate("acme", "program", &"i".repeat(2_000));
        let content = Content::of("{\"ä\":1}");
        let item = write_aggregate(&id, 7, &content);
        assert_eq!(read_aggregate_id("acme", "program", &item), Ok(id));
        assert_eq!(read_aggregate(item), Ok(StoredAggregate { version: 7, content }));
    }

    #[test]
    fn a_long_state_is_deflated_and_says_so_by_its_schema() {
        let id = aggregate("acme", "program", "p1");
        let answers: Vec<String> =
            (0..40).map(|n| format!(r#"{{"question":"q{n}","response":"{}"}}"#, n % 5)).collect();
        let long = format!("[{}]", answers.join(","));
        let item = write_aggregate(&id, 1, &Content::of(long.clone()));
        let deflated = item["dz"].as_b().unwrap().as_ref().len();
        assert!(deflated * 3 < long.len(), "{deflated} of {}", long.len());
        assert_eq!((&item["s"], item.get("d")), (&number(DEFLATED), None));
        assert_eq!(read_aggregate(item).unwrap().content.state.unwrap(), long);
        // What has nothing new in it is what a release before this one wrote, and reads.
        let short = write_aggregate(&id, 1, &Content::of("{}"));
        assert_eq!((&short["s"], short.get("dz")), (&number(PLAIN), None));
        let (id, key) = stored_key();
        assert_eq!(write_key(&id, &key, 99)["s"], number(PLAIN));
    }

    #[test]
    fn what_does_not_inflate_is_refused_by_name() {
        let bomb = deflate(&vec![b'0'; MAX_ITEM_BYTES + 1]).unwrap();
        for damage in [b"\xff\xff\xff".to_vec(), bomb] {
            let mut item = write_aggregate(&aggregate("acme", "program", "p1"), 1, &Content::of(vec![b'x'; 2_000]));
            item.insert("dz".into(), AttributeValue::B(Blob::new(damage)));
            let error = read_aggregate(item).unwrap_err().to_string();
            assert!(error.contains("=p1") && error.contains("no attribute dz "), "{error}");
        }
    }

    #[test]
    fn an_item_of_a_newer_schema_is_refused_by_name() {
        let mut item = write_aggregate(&aggregate("acme", "program", "p1"), 1, &Content::of("{}"));
        item.insert("s".into(), number(SCHEMA_VERSION + 1));
        let error = read_aggregate(item).unwrap_err().to_string();
        for part in ["A/acme/program/", "=p1", "schema 4", "or a later one"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_item_that_something_else_wrote_is_refused_by_name_and_attribute() {
        let (id, key) = stored_key();
        for attribute in ["s", "st", "e", "h", "p", "r"] {
            for value in [None, Some(AttributeValue::Bool(true))] {
                let mut item = write_key(&id, &key, 99);
                match value {
                    None => item.remove(attribute),
                    Some(value) => item.insert(attribute.into(), value),
                };
                let error = read_key(item).unwrap_err().to_string();
                assert!(error.contains(&format!("no attribute {attribute} ")) && error.contains("K/acme/"), "{error}");
            }
        }
    }

    #[test]
    fn an_aggregate_that_tells_of_keys_says_so_by_its_schema_and_reads_back() {
        let id = aggregate("acme", "program", "p1");
        let (_, key) = stored_key();
        let home = |n: u128, recording: &'static [u8]| HomeKey {
            event_id: Uuid::from_u128(n),
            key: StoredKey { status: KeyStatus::Applied, recording: Bytes::from_static(recording), ..key.clone() },
        };
        for here in [vec![], vec![home(1, b"{}"), home(2, b"\xff")]] {
            for (state, apart) in [(None, true), (Some(Bytes::from_static(b"{}")), false)] {
                let content = Content { state, keys: HomeKeys { here: here.clone(), apart } };
                let item = write_aggregate(&id, 3, &content);
                assert_eq!(item["s"], number(HOME_KEYS));
                assert_eq!(has_state(&item), content.state.is_some());
                assert_eq!(read_aggregate(item), Ok(StoredAggregate { version: 3, content }));
            }
        }
    }

    #[test]
    fn what_a_release_before_keys_at_home_wrote_has_all_of_them_apart() {
        let item = write_aggregate(&aggregate("acme", "program", "p1"), 1, &Content::of("{}"));
        assert_eq!((item.get("k"), &item["s"]), (None, &number(PLAIN)));
        assert_eq!(read_aggregate(item).unwrap().content.keys, HomeKeys { here: vec![], apart: true });
    }

    #[test]
    fn damaged_keys_at_home_are_refused_by_name_and_attribute() {
        let content = Content { state: None, keys: HomeKeys { here: vec![], apart: true } };
        let list = |of| AttributeValue::L(vec![AttributeValue::L(of)]);
        for (attribute, damage) in [
            ("k", Some(AttributeValue::Bool(true))),
            ("k", Some(list(vec![]))),
            ("k", Some(list(vec![AttributeValue::Bool(true); 4]))),
            ("ka", Some(number(1))),
            ("ka", None),
        ] {
            let mut item = write_aggregate(&aggregate("acme", "program", "p1"), 1, &content);
            match damage {
                None => item.remove(attribute),
                Some(damage) => item.insert(attribute.into(), damage),
            };
            let error = read_aggregate(item).unwrap_err().to_string();
            assert!(error.contains(&format!("no attribute {attribute} ")) && error.contains("=p1"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_its_bytes_and_length_a_state_and_a_recording_come_back(
            unit in prop::collection::vec(any::<u8>(), 0..40),
            times in 0..60usize,
        ) {
            let bytes = Bytes::from(unit.repeat(times));
            let content = Content::of(bytes.clone());
            let item = write_aggregate(&aggregate("acme", "program", "p1"), 7, &content);
            prop_assert_eq!(read_aggregate(item), Ok(StoredAggregate { version: 7, content }));
            let (id, key) = stored_key();
            let key = StoredKey { recording: bytes, ..key };
            prop_assert_eq!(read_key(write_key(&id, &key, 99)), Ok(key));
        }

        #[test]
        fn no_two_names_share_an_item(
            left in prop::array::uniform3("[a/%~=#2F7Eé]{0,4}"),
            right in prop::array::uniform3("[a/%~=#2F7Eé]{0,4}"),
        ) {
            let [left, right] = [left, right].map(|[tenant, kind, id]| AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() });
            prop_assert_eq!(ItemKey::of_aggregate(&left) == ItemKey::of_aggregate(&right), left == right);
            let apart = [&left, &right].map(|id| KeyId::of(id.tenant.clone(), id.kind.clone(), Uuid::nil()));
            let at_home = [&left, &right].map(|id| KeyId::at(id, "training", Uuid::nil()));
            for [left, right] in [&apart, &at_home] {
                prop_assert_eq!(ItemKey::of_key(left) == ItemKey::of_key(right), left == right);
            }
            for at_home in &at_home {
                let of_kinds = [ItemKey::of_key(at_home), ItemKey::of_attempts(at_home, 0), ItemKey::of_attempts(at_home, 1)];
                prop_assert!(of_kinds.iter().collect::<HashSet<_>>().len() == 3);
            }
        }

        #[test]
        fn keys_stay_within_dynamodbs_limits(tenant in ".{0,900}", kind in "[/%~]{0,900}", id in ".{0,1100}") {
            let id = AggregateId { tenant: tenant.into(), kind: kind.into(), id: id.into() };
            let attempts = ItemKey::of_attempts(&KeyId::at(&id, id.kind.clone(), Uuid::nil()), u32::MAX);
            for key in [ItemKey::of_aggregate(&id), attempts] {
                prop_assert!((1..=2_048).contains(&key.pk.len()) && (1..=1_024).contains(&key.sk.len()));
            }
        }
    }
}
