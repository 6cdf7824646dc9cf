//! Names and values as bytes: numbers as they are, texts with their lengths before them. Nobody else ever reads them.

use bytes::Bytes;
use lyceum_core::ports::ledger::{Content, HomeKey, HomeKeys, KeyStatus, StoredAggregate, StoredKey};
use lyceum_core::record::Position;
use uuid::Uuid;

/// Texts one after the other, so that no two lists of them are the same bytes and a shorter list is the beginning of a longer one.
pub(super) fn name<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut name = Writer::default();
    parts.into_iter().for_each(|part| name.bytes(part));
    name.0
}

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend(bytes);
    }

    pub(super) fn position(&mut self, at: &Position) {
        self.bytes(at.topic.as_bytes());
        self.fixed(at.partition.to_le_bytes());
        self.fixed(at.offset.to_le_bytes());
    }

    fn key(&mut self, key: &StoredKey) {
        self.fixed([u8::from(key.status == KeyStatus::Dead)]);
        self.fixed(key.epoch.to_le_bytes());
        self.fixed(key.content_hash);
        self.position(&key.source);
        self.bytes(&key.recording);
    }
}

/// Reads what a [`Writer`] wrote; `None` where it was another one.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_le_bytes(self.fixed()?);
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn position(&mut self) -> Option<Position> {
        let topic = std::str::from_utf8(self.bytes()?).ok()?;
        let (partition, offset) = (i32::from_le_bytes(self.fixed()?), i64::from_le_bytes(self.fixed()?));
        Some(Position::new(topic, partition, offset))
    }

    fn key(&mut self) -> Option<StoredKey> {
        let [is_dead] = self.fixed()?;
        Some(StoredKey {
            status: if is_dead == 1 { KeyStatus::Dead } else { KeyStatus::Applied },
            epoch: u32::from_le_bytes(self.fixed()?),
            content_hash: self.fixed()?,
            source: self.position()?,
            recording: Bytes::copy_from_slice(self.bytes()?),
        })
    }
}

pub(super) fn write_key(key: &StoredKey) -> Vec<u8> {
    let mut out = Writer::default();
    out.key(key);
    out.0
}

pub(super) fn read_key(bytes: &[u8]) -> Option<StoredKey> {
    Reader(bytes).key()
}

pub(super) fn write_aggregate(version: u64, content: &Content) -> Vec<u8> {
    let Content { state, keys } = content;
    let mut out = Writer::default();
    out.fixed(version.to_le_bytes());
    out.fixed([u8::from(state.is_some()), u8::from(keys.apart)]);
    out.bytes(state.as_deref().unwrap_or_default());
    out.fixed((keys.here.len() as u64).to_le_bytes());
    for HomeKey { event_id, key } in &keys.here {
        out.fixed(event_id.as_u128().to_le_bytes());
        out.key(key);
    }
    out.0
}

pub(super) fn read_aggregate(bytes: &[u8]) -> Option<StoredAggregate> {
    let mut read = Reader(bytes);
    let version = u64::from_le_bytes(read.fixed()?);
    let [has_state, apart] = read.fixed()?;
    let state = Bytes::copy_from_slice(read.bytes()?);
    let mut here = Vec::new();
    for _ in 0..u64::from_le_bytes(read.fixed()?) {
        let event_id = Uuid::from_u128(u128::from_le_bytes(read.fixed()?));
        here.push(HomeKey { event_id, key: read.key()? });
    }
    let keys = HomeKeys { here, apart: apart == 1 };
    Some(StoredAggregate { version, content: Content { state: (has_state == 1).then_some(state), keys } })
}
