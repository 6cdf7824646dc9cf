//! Which schema wrote a record's value, and where in it the event's bytes are.
//!
//! | told by | how | the event is |
//! |---|---|---|
//! | header [`MAPPING_HEADER`] | a number or a UUID, as text | JSON, or bare |
//! | header `__value_schema_id` (Confluent) | `00` and a number of 4 bytes, or `01` and a GUID of 16 | bare |
//! | header `avro-fingerprint` | CRC-64-AVRO: 8 bytes, little-endian, or 16 hexadecimal digits | bare |
//! | the value (Confluent) | `00`, a number of 4 bytes | behind it |
//! | the value (Glue) | `03`, `00` or `05` (zlib), a version's UUID of 16 bytes | behind it |
//! | the value (Avro's single object) | `C3 01`, CRC-64-AVRO of 8 bytes, little-endian | behind it |
//! | the value | it is a JSON object | JSON |
//!
//! Headers come first, since bare Avro may begin with any of these bytes; and what is told holds: a schema that nobody knows is an
//! error, and no reason to read the value in another way.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::ZlibDecoder;
use uuid::Uuid;

use crate::ports::schemas::SchemaRef;
use crate::record::{Header, header_text};

/// What an event source mapping with a schema registry said of the value, as it said it: `schemaId` of `valueSchemaMetadata`. Such a
/// mapping takes the registry's own bytes away, so that a letter that is replayed needs it to be read again. It gives nobody more
/// than Confluent's own header does, and so anyone may set it.
pub const MAPPING_HEADER: &str = "lyceum-value-schema";
const CONFLUENT_HEADER: &str = "__value_schema_id";
const FINGERPRINT_HEADER: &str = "avro-fingerprint";

/// So many bytes may a value have that came compressed: eight times what a record may.
pub(super) const MAX_INFLATED_BYTES: usize = 8 << 20;

/// What a value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed<'a> {
    /// The event in binary, by the schema of that name.
    Binary(SchemaRef, Cow<'a, [u8]>),
    /// The event in JSON.
    Json,
    /// Neither; why, for a person.
    Unknown(String),
}

/// Finds out what a value is.
pub(super) fn unframed<'a>(headers: &[Header], value: &'a [u8]) -> Framed<'a> {
    let bare = |schema: Result<SchemaRef, String>| match schema {
        Ok(schema) => Framed::Binary(schema, Cow::Borrowed(value)),
        Err(why) => Framed::Unknown(why),
    };
    let bytes = |name: &str| headers.iter().rev().find(|header| header.name == name).map(|of| of.value.as_deref());
    if bytes(MAPPING_HEADER).is_some() {
        return match is_json(value) && serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok() {
            true => Framed::Json,
            false => bare(of_mapping(header_text(headers, MAPPING_HEADER).unwrap_or_default())),
        };
    }
    if let Some(header) = bytes(CONFLUENT_HEADER) {
        return bare(of_confluent(header.unwrap_or_default()));
    }
    if let Some(header) = bytes(FINGERPRINT_HEADER) {
        return bare(of_fingerprint(header.unwrap_or_default()));
    }
    of_value(value)
}

/// Whether a value may be a JSON object.
pub(super) fn is_json(value: &[u8]) -> bool {
    value.trim_ascii_start().first() == Some(&b'{')
}

fn of_value(value: &[u8]) -> Framed<'_> {
    match value {
        [0, rest @ ..] => match rest.split_first_chunk::<4>() {
            Some((id, rest)) => Framed::Binary(SchemaRef::Id(i32::from_be_bytes(*id)), Cow::Borrowed(rest)),
            None => short("00", "a schema's number of 4 bytes", rest),
        },
        [0xC3, 1, rest @ ..] => match rest.split_first_chunk::<8>() {
            Some((print, rest)) => {
                Framed::Binary(SchemaRef::Fingerprint(u64::from_le_bytes(*print)), Cow::Borrowed(rest))
            }
            None => short("C3 01", "a fingerprint of 8 bytes", rest),
        },
        [3, compression, rest @ ..] => match (rest.split_first_chunk::<16>(), compression) {
            (None, _) => short("03", "a schema version of 16 bytes", rest),
            (Some((version, rest)), 0) => {
                Framed::Binary(SchemaRef::Version(Uuid::from_bytes(*version)), Cow::Borrowed(rest))
            }
            (Some((version, rest)), 5) => match inflated(rest) {
                Ok(bytes) => Framed::Binary(SchemaRef::Version(Uuid::from_bytes(*version)), Cow::Owned(bytes)),
                Err(why) => Framed::Unknown(why),
            },
            (Some(_), other) => Framed::Unknown(format!(
                "the value begins with 03, as the Glue Schema Registry writes it, and its compression is {other:02x}, neither 00 nor 05"
            )),
        },
        value if is_json(value) => Framed::Json,
        [first, ..] => Framed::Unknown(format!(
            "the value begins with {first:02x}, which names no schema (00, 03, C3 01), and no header does; send it with one, or in JSON"
        )),
        [] => Framed::Unknown("the value is empty".to_owned()),
    }
}

fn short<'a>(begins: &str, expected: &str, rest: &[u8]) -> Framed<'a> {
    let bytes = rest.len();
    Framed::Unknown(format!("the value begins with {begins}, behind which {expected} must stand, and {bytes} bytes do"))
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    let mut decoder = ZlibDecoder::new(bytes).take(MAX_INFLATED_BYTES as u64 + 1);
    decoder
        .read_to_end(&mut inflated)
        .map_err(|error| format!("the value says that it is compressed by zlib: {error}"))?;
    if inflated.len() > MAX_INFLATED_BYTES {
        return Err(format!("the compressed value has more than {MAX_INFLATED_BYTES} bytes"));
    }
    let decoder = decoder.into_inner();
    match decoder.total_in() as usize == bytes.len() {
        true => Ok(inflated),
        false => Err("the value goes on behind what is compressed by zlib".to_owned()),
    }
}

fn of_mapping(text: &str) -> Result<SchemaRef, String> {
    let of_number = text.parse().ok().map(SchemaRef::Id);
    let schema = of_number.or_else(|| text.parse().ok().map(SchemaRef::Version));
    schema.ok_or_else(|| {
        format!("the event source mapping names the schema {text:?}, which is neither a number nor a UUID")
    })
}

fn of_confluent(header: &[u8]) -> Result<SchemaRef, String> {
    match header {
        [0, a, b, c, d] => Ok(SchemaRef::Id(i32::from_be_bytes([*a, *b, *c, *d]))),
        [1, guid @ ..] if guid.len() == 16 => {
            Uuid::from_slice(guid).map(SchemaRef::Guid).map_err(|error| error.to_string())
        }
        _ => Err(format!(
            "the header {CONFLUENT_HEADER} has {} bytes, and must be 00 and a number of 4 bytes, or 01 and a GUID of 16",
            header.len()
        )),
    }
}

fn of_fingerprint(header: &[u8]) -> Result<SchemaRef, String> {
    if let Ok(print) = <[u8; 8]>::try_from(header) {
        return Ok(SchemaRef::Fingerprint(u64::from_le_bytes(print)));
    }
    let text = std::str::from_utf8(header).ok().filter(|text| text.len() == 16);
    let print = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    print.map(SchemaRef::Fingerprint).ok_or_else(|| {
        format!(
            "the header {FINGERPRINT_HEADER} has {} bytes, and must be 8 bytes, little-endian, or 16 hexadecimal digits",
            header.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    const GUID: [u8; 16] =
        [0x89, 0x79, 0x17, 0x62, 0x23, 0x36, 0x41, 0x86, 0x96, 0x74, 0x29, 0x9b, 0x90, 0xa8, 0x02, 0xe2];

    fn binary(schema: SchemaRef, bytes: &[u8]) -> Framed<'_> {
        Framed::Binary(schema, Cow::Borrowed(bytes))
    }

    fn says(framed: &Framed<'_>, text: &str) {
        assert!(matches!(framed, Framed::Unknown(why) if why.contains(text)), "{framed:?} does not say {text:?}");
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_framing_is_known_by_its_bytes() {
        assert_eq!(unframed(&[], &[0, 0, 0, 1, 2, 9]), binary(SchemaRef::Id(258), &[9]));
        let single = [0xC3, 1, 8, 7, 6, 5, 4, 3, 2, 1, 9];
        assert_eq!(unframed(&[], &single), binary(SchemaRef::Fingerprint(0x0102_0304_0506_0708), &[9]));
        let version = SchemaRef::Version(Uuid::from_bytes(GUID));
        assert_eq!(unframed(&[], &[&[3, 0], &GUID[..], &[9]].concat()), binary(version, &[9]));
        let compressed = [&[3, 5], &GUID[..], &zlib(b"long")].concat();
        assert_eq!(unframed(&[], &compressed), Framed::Binary(version, Cow::Owned(b"long".to_vec())));
        assert_eq!(unframed(&[], b" \n{}"), Framed::Json);
    }

    #[test]
    fn headers_outrank_bytes_that_look_like_a_framing_and_the_mappings_word_outranks_them() {
        let value = [0, 0, 0, 0, 1, 9];
        let confluent = Header::new("__value_schema_id", [&[1], &GUID[..]].concat());
        let numbered = Header::new("__value_schema_id", &[0, 0, 0, 0, 7][..]);
        let hex = Header::new("avro-fingerprint", "00000000000000ff");
        let raw = Header::new("avro-fingerprint", &[255, 0, 0, 0, 0, 0, 0, 0][..]);
        let mapping = Header::new(MAPPING_HEADER, "12");
        let of_glue = Header::new(MAPPING_HEADER, Uuid::from_bytes(GUID).to_string());
        let guid = SchemaRef::Guid(Uuid::from_bytes(GUID));
        for (headers, schema) in [
            (vec![hex.clone(), confluent.clone()], guid),
            (vec![numbered], SchemaRef::Id(7)),
            (vec![hex.clone()], SchemaRef::Fingerprint(255)),
            (vec![raw], SchemaRef::Fingerprint(255)),
            (vec![confluent.clone(), mapping.clone(), hex], SchemaRef::Id(12)),
            (vec![of_glue], SchemaRef::Version(Uuid::from_bytes(GUID))),
        ] {
            assert_eq!(unframed(&headers, &value), binary(schema, &value), "{headers:?}");
        }
        assert_eq!(unframed(std::slice::from_ref(&mapping), b"{\"a\": 1}"), Framed::Json);
        assert_eq!(
            unframed(&[mapping], b"{\"a\""),
            binary(SchemaRef::Id(12), b"{\"a\""),
            "bare, whatever it begins with"
        );
        assert_eq!(unframed(&[confluent], b"{}"), binary(guid, b"{}"), "a header of its producer says that it is bare");
    }

    #[test]
    fn a_framing_that_is_cut_or_odd_is_told_and_the_value_is_not_read_in_another_way() {
        for cut in 1..5 {
            says(&unframed(&[], &[0, 0, 0, 0, 1][..cut]), "number of 4 bytes");
        }
        for cut in 2..10 {
            says(&unframed(&[], &[0xC3, 1, 1, 2, 3, 4, 5, 6, 7, 8][..cut]), "fingerprint of 8 bytes");
        }
        let glue = [&[3, 0], &GUID[..]].concat();
        for cut in 2..18 {
            says(&unframed(&[], &glue[..cut]), "version of 16 bytes");
        }
        says(&unframed(&[], &[&[3, 4], &GUID[..]].concat()), "compression is 04");
        says(&unframed(&[], &[&[3, 5], &GUID[..], b"no zlib"].concat()), "zlib");
        says(&unframed(&[], &[&[3, 5], &GUID[..], &zlib(b"x"), b"more"].concat()), "goes on");
        says(&unframed(&[], &[0x48, 1]), "begins with 48");
        says(&unframed(&[], &[]), "empty");
        for odd in [&b""[..], &[0, 1], &[1, 2], &[2, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 1]] {
            says(&unframed(&[Header::new("__value_schema_id", odd.to_vec())], &[0, 0, 0, 0, 1]), "__value_schema_id");
        }
        for odd in [&b""[..], b"1234567", b"xx00000000000000", b"00000000000000000"] {
            says(&unframed(&[Header::new("avro-fingerprint", odd.to_vec())], &[0, 0, 0, 0, 1]), "avro-fingerprint");
        }
        says(&unframed(&[Header::new(MAPPING_HEADER, "seven")], &[0, 0, 0, 0, 1]), "seven");
    }

    #[test]
    fn a_small_value_that_inflates_to_a_huge_one_is_refused() {
        let bomb = zlib(&vec![0; MAX_INFLATED_BYTES + 1]);
        assert!(bomb.len() < 64 * 1024);
        says(&unframed(&[], &[&[3, 5], &GUID[..], &bomb].concat()), "more than");
        let most = zlib(&vec![0; MAX_INFLATED_BYTES]);
        assert!(matches!(unframed(&[], &[&[3, 5], &GUID[..], &most].concat()), Framed::Binary(..)));
    }
}
