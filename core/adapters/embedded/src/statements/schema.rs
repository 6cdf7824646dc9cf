//! How a statement document becomes a tantivy document and back.

use std::borrow::Cow;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tantivy::error::DataCorruption;
use tantivy::schema::document::{
    DeserializeError, DocumentDeserialize, DocumentDeserializer, ValueDeserialize, ValueDeserializer, ValueVisitor,
};
use tantivy::schema::{
    BytesOptions, FAST, Field as IndexField, INDEXED, IndexRecordOption, NumericOptions, STORED, Schema,
    TextFieldIndexing, TextOptions,
};
use tantivy::{TantivyDocument, Term};
use uuid::Uuid;

use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::ports::statements::form::About;
use lyceum_core::ports::statements::semantics::{FIELDS, FILTERED, Field, FieldKind, FieldValue, index_term};

/// How an index is made; there is another one whenever a folder of today could not be read by the code of yesterday. A folder
/// keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Keys as they are, numbers indexed beside their columns, what is stored as bytes.
    First = 1,
    /// Digests of keys, numbers in columns alone, what is stored as text: less work for each statement.
    Second = 2,
    /// And texts that no filter names in columns alone.
    Third = 3,
}

impl Version {
    pub(super) const NEWEST: Self = Self::Third;

    /// `None` where this code does not know it.
    pub(super) fn of(number: u32) -> Option<Self> {
        [Self::First, Self::Second, Self::Third].into_iter().find(|version| *version as u32 == number)
    }
}

/// The name of the fast field with the first half of the id.
pub(super) const ID_HIGH: &str = "id_high";
/// The name of the fast field with the second half of the id.
pub(super) const ID_LOW: &str = "id_low";

/// The index's fields.
#[derive(Clone)]
pub(super) struct IndexSchema {
    pub(super) schema: Schema,
    version: Version,
    /// Id and tenant: looked up before a statement is taken, since tantivy knows no unique key.
    key: IndexField,
    id_high: IndexField,
    id_low: IndexField,
    /// The bytes as they were sent.
    raw: IndexField,
    /// The same where they are no text.
    raw_bytes: IndexField,
    /// Everything else of the document, as JSON.
    about: IndexField,
    /// One for each of [`FIELDS`], in that order.
    fields: Vec<IndexField>,
}

impl IndexSchema {
    pub(super) fn new(version: Version) -> Self {
        let mut builder = Schema::builder();
        let key = builder.add_bytes_field("key", BytesOptions::default().set_indexed());
        let id_high = builder.add_u64_field(ID_HIGH, FAST);
        let id_low = builder.add_u64_field(ID_LOW, FAST);
        let (raw, about, raw_bytes, numbers): (_, _, _, NumericOptions) = match version {
            Version::First => {
                let raw = builder.add_bytes_field("raw", STORED);
                (raw, builder.add_bytes_field("about", STORED), raw, (INDEXED | FAST).into())
            }
            // Bytes are written and read one at a time, texts are not.
            _ => {
                let (raw, about) = (builder.add_text_field("raw", STORED), builder.add_text_field("about", STORED));
                (raw, about, builder.add_bytes_field("raw_bytes", STORED), FAST.into())
            }
        };
        let whole = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let counted = TextOptions::default().set_fast("raw");
        let indexed = counted.clone().set_indexing_options(whole);
        let is_only_counted = |field: &Field| version >= Version::Third && !FILTERED.contains(&field.name);
        let add = |field: &Field| match field.kind {
            FieldKind::Text if is_only_counted(field) => builder.add_text_field(field.name, counted.clone()),
            FieldKind::Text => builder.add_text_field(field.name, indexed.clone()),
            FieldKind::Long => builder.add_i64_field(field.name, numbers.clone()),
            FieldKind::Double => builder.add_f64_field(field.name, numbers.clone()),
            FieldKind::Boolean => builder.add_bool_field(field.name, INDEXED | FAST),
        };
        let fields = FIELDS.iter().map(add).collect();
        Self { schema: builder.build(), version, key, id_high, id_low, raw, raw_bytes, about, fields }
    }

    pub(super) fn key_field(&self) -> IndexField {
        self.key
    }

    pub(super) fn key_term(&self, key: &Key) -> Term {
        Term::from_field_bytes(self.key, &self.indexed(key))
    }

    /// What stands for a key in the index: random bytes are what its dictionary keeps worst, and merges anew each time.
    fn indexed<'a>(&self, key: &'a Key) -> Cow<'a, [u8]> {
        match self.version {
            Version::First => Cow::Borrowed(&key.0),
            _ => Cow::Owned(Sha256::digest(&key.0)[..KEY_BYTES].to_vec()),
        }
    }

    /// The term of a text value.
    pub(super) fn text_term(&self, name: &str, value: &str) -> Term {
        Term::from_field_text(self.field(name), &index_term(value))
    }

    pub(super) fn field(&self, name: &str) -> IndexField {
        let at = FIELDS.iter().position(|field| field.name == name);
        self.fields[at.expect("the code names fields of the table only")]
    }

    pub(super) fn encode(&self, document: &StatementDocument) -> Result<TantivyDocument, serde_json::Error> {
        let mut encoded = TantivyDocument::new();
        let (high, low) = document.id.as_u64_pair();
        encoded.add_bytes(self.key, &self.indexed(&Key::of(document)));
        encoded.add_u64(self.id_high, high);
        encoded.add_u64(self.id_low, low);
        let about = serde_json::to_string(&About::of(document))?;
        match (self.version, std::str::from_utf8(&document.raw)) {
            (Version::First, _) | (_, Err(_)) => encoded.add_bytes(self.raw_bytes, &document.raw),
            (_, Ok(text)) => encoded.add_text(self.raw, text),
        }
        match self.version {
            Version::First => encoded.add_bytes(self.about, about.as_bytes()),
            _ => encoded.add_text(self.about, about),
        }
        for (field, &index_field) in FIELDS.iter().zip(&self.fields) {
            field.for_each_value(document, |value| match value {
                FieldValue::Text(text) => encoded.add_text(index_field, text),
                FieldValue::Long(number) => encoded.add_i64(index_field, number),
                FieldValue::Double(number) => encoded.add_f64(index_field, number),
                FieldValue::Boolean(truth) => encoded.add_bool(index_field, truth),
            });
        }
        Ok(encoded)
    }

    pub(super) fn decode(&self, encoded: Stored) -> tantivy::Result<StatementDocument> {
        let corrupt = |reason: &str| DataCorruption::comment_only(format!("a stored statement {reason}"));
        let (mut raw, mut about) = (None, None);
        for (field, bytes) in encoded.0 {
            if field == self.about {
                about = Some(bytes);
            } else if field == self.raw || field == self.raw_bytes {
                raw = Some(bytes);
            }
        }
        let (Some(raw), Some(about)) = (raw, about) else { return Err(corrupt("lacks its bytes").into()) };
        let about: About<'_> =
            serde_json::from_slice(&about).map_err(|error| corrupt(&format!("cannot be read: {error}")))?;
        Ok(about.with(Bytes::from(raw)))
    }
}

/// A document as it is stored: the bytes of its fields.
pub(super) struct Stored(Vec<(IndexField, Vec<u8>)>);

impl DocumentDeserialize for Stored {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut document: D) -> Result<Self, DeserializeError> {
        let mut fields = Vec::with_capacity(document.size_hint());
        while let Some((field, StoredValue(bytes))) = document.next_field()? {
            fields.push((field, bytes));
        }
        Ok(Self(fields))
    }
}

struct StoredValue(Vec<u8>);

impl ValueDeserialize for StoredValue {
    fn deserialize<'de, D: ValueDeserializer<'de>>(value: D) -> Result<Self, DeserializeError> {
        value.deserialize_any(StoredVisitor)
    }
}

struct StoredVisitor;

impl ValueVisitor for StoredVisitor {
    type Value = StoredValue;

    fn visit_string(&self, text: String) -> Result<StoredValue, DeserializeError> {
        Ok(StoredValue(text.into_bytes()))
    }

    fn visit_bytes(&self, bytes: Vec<u8>) -> Result<StoredValue, DeserializeError> {
        Ok(StoredValue(bytes))
    }
}

/// So many bytes of a key's digest are indexed. Once in three hundred thousand times two of ten million statements have the same
/// ones: a look-up tells them apart, and who voids one hides both.
const KEY_BYTES: usize = 8;

/// A statement's (tenant, id): 16 bytes of id, then the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<[u8]>);

impl Key {
    pub(super) fn new(tenant: &str, id: Uuid) -> Self {
        let tenant = index_term(tenant);
        Self([id.as_bytes(), tenant.as_bytes()].concat().into())
    }

    pub(super) fn of(document: &StatementDocument) -> Self {
        Self::new(&document.tenant, document.id)
    }

    /// The key of the statement that this one voids.
    pub(super) fn voided_by(document: &StatementDocument) -> Option<Self> {
        document.fields.voids.map(|target| Self::new(&document.tenant, target))
    }

    pub(super) fn is_of_tenant(&self, tenant: &str) -> bool {
        self.0[16..] == *index_term(tenant).as_bytes()
    }
}
