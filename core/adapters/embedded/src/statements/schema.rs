//! How a statement document becomes a tantivy document and back.

use std::borrow::Cow;
use std::ops::Range;
use std::{iter, slice};

use bytes::Bytes;
use bytestring::ByteString;
use sha2::{Digest as _, Sha256};
use tantivy::Term;
use tantivy::error::DataCorruption;
use tantivy::schema::document::{
    DeserializeError, Document, DocumentDeserialize, DocumentDeserializer, ReferenceValue, ReferenceValueLeaf, Value,
    ValueDeserialize, ValueDeserializer, ValueVisitor,
};
use tantivy::schema::{
    BytesOptions, FAST, Field as IndexField, INDEXED, IndexRecordOption, NumericOptions, STORED, Schema,
    TextFieldIndexing, TextOptions,
};
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
    /// Of logs: and those that one does name, but for [`COUNTED_OF_LOGS`], in no columns.
    Logs = 4,
}

/// The texts of a log by which entries are counted and found; by others they are only found.
const COUNTED_OF_LOGS: [&str; 2] = ["tenant", "verb"];

impl Version {
    /// The highest number.
    pub(super) const LAST: Self = Self::Logs;

    /// `None` where this code does not know it.
    pub(super) fn of(number: u32) -> Option<Self> {
        [Self::First, Self::Second, Self::Third, Self::Logs].into_iter().find(|version| *version as u32 == number)
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
        let indexed = counted.clone().set_indexing_options(whole.clone());
        let is_only_counted = |field: &Field| version >= Version::Third && !FILTERED.contains(&field.name);
        let found = TextOptions::default().set_indexing_options(whole);
        let is_only_found = |field: &Field| version == Version::Logs && !COUNTED_OF_LOGS.contains(&field.name);
        let add = |field: &Field| match field.kind {
            FieldKind::Text if is_only_counted(field) => builder.add_text_field(field.name, counted.clone()),
            FieldKind::Text if is_only_found(field) => builder.add_text_field(field.name, found.clone()),
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
        self.indexed_term(&self.indexed(key))
    }

    /// The term of a key, by what stands for it.
    pub(super) fn indexed_term(&self, indexed: &[u8]) -> Term {
        Term::from_field_bytes(self.key, indexed)
    }

    /// What stands for a key in the index: random bytes are what its dictionary keeps worst, and merges anew each time.
    pub(super) fn indexed<'a>(&self, key: &'a Key) -> Cow<'a, [u8]> {
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

    /// The document under its key, of which `indexed` is what stands for it.
    pub(super) fn encode(&self, document: &StatementDocument, indexed: &[u8]) -> Result<Encoded, serde_json::Error> {
        let about = serde_json::to_string(&About::of(document))?;
        let is_text = self.version > Version::First;
        let raw = ByteString::try_from(document.raw.clone()).ok().filter(|_| is_text).map(Long::Text);
        let mut encoded = Encoded {
            values: Vec::with_capacity(ENCODED_VALUES),
            texts: String::with_capacity(ENCODED_TEXT_BYTES),
            key: indexed.into(),
            raw: raw.unwrap_or_else(|| Long::Bytes(document.raw.clone())),
            about: if is_text { Long::Text(about.into()) } else { Long::Bytes(about.into()) },
        };
        let raw_field = if matches!(encoded.raw, Long::Text(_)) { self.raw } else { self.raw_bytes };
        let (high, low) = document.id.as_u64_pair();
        encoded.values.push((self.key, Part::Key));
        encoded.values.push((self.id_high, Part::Unsigned(high)));
        encoded.values.push((self.id_low, Part::Unsigned(low)));
        encoded.values.push((raw_field, Part::Raw));
        encoded.values.push((self.about, Part::About));
        for (field, &index_field) in FIELDS.iter().zip(&self.fields) {
            field.for_each_value(document, |value| {
                let part = match value {
                    FieldValue::Text(text) => {
                        let start = encoded.texts.len();
                        encoded.texts.push_str(&text);
                        Part::Text(start..encoded.texts.len())
                    }
                    FieldValue::Long(number) => Part::Long(number),
                    FieldValue::Double(number) => Part::Double(number),
                    FieldValue::Boolean(truth) => Part::Boolean(truth),
                };
                encoded.values.push((index_field, part));
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

/// So many values a document has room for before it grows.
const ENCODED_VALUES: usize = 24;
/// And so many bytes of text beside what it shares.
const ENCODED_TEXT_BYTES: usize = 512;

/// A document as it is indexed. What is long of it is shared with the statement document and not copied: tantivy's own kind of document
/// copies every value into one memory that grows.
#[derive(Debug)]
pub(super) struct Encoded {
    values: Vec<(IndexField, Part)>,
    /// The texts that it is searched and counted by, one behind the other.
    texts: String,
    key: Box<[u8]>,
    raw: Long,
    about: Long,
}

/// What is stored and not indexed.
#[derive(Debug)]
enum Long {
    Text(ByteString),
    Bytes(Bytes),
}

impl Long {
    fn leaf(&self) -> ReferenceValueLeaf<'_> {
        match self {
            Self::Text(text) => ReferenceValueLeaf::Str(text),
            Self::Bytes(bytes) => ReferenceValueLeaf::Bytes(bytes),
        }
    }
}

/// Where a value is.
#[derive(Debug)]
enum Part {
    Key,
    Raw,
    About,
    /// In [`Encoded::texts`].
    Text(Range<usize>),
    Unsigned(u64),
    Long(i64),
    Double(f64),
    Boolean(bool),
}

impl Document for Encoded {
    type Value<'a> = EncodedValue<'a>;
    type FieldsValuesIter<'a> = EncodedValues<'a>;

    fn iter_fields_and_values(&self) -> EncodedValues<'_> {
        EncodedValues { document: self, left: self.values.iter() }
    }
}

/// The values of a document, one after the other.
pub(super) struct EncodedValues<'a> {
    document: &'a Encoded,
    left: slice::Iter<'a, (IndexField, Part)>,
}

impl<'a> Iterator for EncodedValues<'a> {
    type Item = (IndexField, EncodedValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        use ReferenceValueLeaf as Leaf;
        let document = self.document;
        let (field, part) = self.left.next()?;
        let leaf = match part {
            Part::Key => Leaf::Bytes(&document.key),
            Part::Raw => document.raw.leaf(),
            Part::About => document.about.leaf(),
            Part::Text(range) => Leaf::Str(&document.texts[range.clone()]),
            Part::Unsigned(number) => Leaf::U64(*number),
            Part::Long(number) => Leaf::I64(*number),
            Part::Double(number) => Leaf::F64(*number),
            Part::Boolean(truth) => Leaf::Bool(*truth),
        };
        Some((*field, EncodedValue(leaf)))
    }
}

/// One value, which has no values in it.
#[derive(Clone, Debug)]
pub(super) struct EncodedValue<'a>(ReferenceValueLeaf<'a>);

impl<'a> Value<'a> for EncodedValue<'a> {
    type ArrayIter = iter::Empty<Self>;
    type ObjectIter = iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(self.0.clone())
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
