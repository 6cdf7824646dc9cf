//! How a statement document becomes a tantivy document and back.

use bytes::Bytes;
use tantivy::error::DataCorruption;
use tantivy::schema::{
    BytesOptions, FAST, Field as IndexField, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing,
    TextOptions, Value as _,
};
use tantivy::{TantivyDocument, Term};
use uuid::Uuid;

use lyceum_core::ports::statements::StatementDocument;
use lyceum_core::ports::statements::form::About;
use lyceum_core::ports::statements::semantics::{FIELDS, Field, FieldKind, FieldValue, index_term};

/// Changes whenever a folder of today could not be read by the code of yesterday.
pub(super) const VERSION: u32 = 1;

/// The name of the fast field with the first half of the id.
pub(super) const ID_HIGH: &str = "id_high";
/// The name of the fast field with the second half of the id.
pub(super) const ID_LOW: &str = "id_low";

/// The index's fields.
#[derive(Clone)]
pub(super) struct IndexSchema {
    pub(super) schema: Schema,
    /// Id and tenant: looked up before a statement is taken, since tantivy knows no unique key.
    key: IndexField,
    id_high: IndexField,
    id_low: IndexField,
    /// The bytes as they were sent.
    raw: IndexField,
    /// Everything else of the document, as JSON.
    about: IndexField,
    /// One for each of [`FIELDS`], in that order.
    fields: Vec<IndexField>,
}

impl IndexSchema {
    pub(super) fn new() -> Self {
        let mut builder = Schema::builder();
        let key = builder.add_bytes_field("key", BytesOptions::default().set_indexed());
        let id_high = builder.add_u64_field(ID_HIGH, FAST);
        let id_low = builder.add_u64_field(ID_LOW, FAST);
        let raw = builder.add_bytes_field("raw", STORED);
        let about = builder.add_bytes_field("about", STORED);
        let whole = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let text = TextOptions::default().set_indexing_options(whole).set_fast("raw");
        let add = |field: &Field| match field.kind {
            FieldKind::Text => builder.add_text_field(field.name, text.clone()),
            FieldKind::Long => builder.add_i64_field(field.name, INDEXED | FAST),
            FieldKind::Double => builder.add_f64_field(field.name, INDEXED | FAST),
            FieldKind::Boolean => builder.add_bool_field(field.name, INDEXED | FAST),
        };
        let fields = FIELDS.iter().map(add).collect();
        Self { schema: builder.build(), key, id_high, id_low, raw, about, fields }
    }

    pub(super) fn key_field(&self) -> IndexField {
        self.key
    }

    pub(super) fn key_term(&self, key: &Key) -> Term {
        Term::from_field_bytes(self.key, &key.0)
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
        encoded.add_bytes(self.key, &Key::of(document).0);
        encoded.add_u64(self.id_high, high);
        encoded.add_u64(self.id_low, low);
        encoded.add_bytes(self.raw, &document.raw);
        encoded.add_bytes(self.about, &serde_json::to_vec(&About::of(document))?);
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

    pub(super) fn decode(&self, encoded: &TantivyDocument) -> tantivy::Result<StatementDocument> {
        let corrupt = |reason: &str| DataCorruption::comment_only(format!("a stored statement {reason}"));
        let bytes = |field| {
            let value = encoded.get_first(field).and_then(|value| value.as_bytes());
            value.ok_or_else(|| corrupt("lacks its bytes"))
        };
        let about: About<'_> =
            serde_json::from_slice(bytes(self.about)?).map_err(|error| corrupt(&format!("cannot be read: {error}")))?;
        Ok(about.with(Bytes::copy_from_slice(bytes(self.raw)?)))
    }
}

/// A statement's (tenant, id) as one term: 16 bytes of id, then the tenant.
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
