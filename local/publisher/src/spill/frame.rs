//! How the spill file is written: a head, then frames, each with a mark, its length and a checksum. Pure.
//!
//! ```text
//! file   = head frame*
//! head   = "LYCEUM SPILL 1\n\0"
//! frame  = mark(4) length(u32) checksum(u32) body        checksum: CRC-32 of length and body; numbers are little-endian
//! body   = 1 number(u64) timestamp(i64) topic key headers value        an event
//!        | 2 number(u64)                                               all events up to this number are settled
//! text   = length(u32) bytes; what may be missing has the length 0xFFFF_FFFF then
//! ```

use bytes::Bytes;
use lyceum_core::record::{Header, NewRecord};

/// What a spill file begins with; the number is the version of its form.
pub(crate) const HEAD: &[u8; 16] = b"LYCEUM SPILL 1\n\0";
/// What a spill file of any version begins with.
pub(crate) const ANY_HEAD: &[u8] = b"LYCEUM SPILL ";

const MARK: [u8; 4] = [0xF5, b'L', b'y', 0xC1];
const PREFIX_BYTES: usize = 12;
const MISSING: u32 = u32::MAX;
/// Beyond what any stream takes: a longer frame is damage.
const MOST_BYTES: usize = 256 << 20;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Event(Spilled),
    /// All events up to this number are settled.
    Settled(u64),
}

/// An event in the file. Numbers count up within a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spilled {
    pub(crate) number: u64,
    pub(crate) topic: String,
    pub(crate) record: NewRecord,
}

/// Writes an event behind what is there.
pub(crate) fn write_event(into: &mut Vec<u8>, number: u64, topic: &str, record: &NewRecord) {
    write(into, |body| {
        body.push(1);
        body.extend(number.to_le_bytes());
        body.extend(record.timestamp_ms.unwrap_or(-1).to_le_bytes());
        write_bytes(body, Some(topic.as_bytes()));
        write_bytes(body, record.key.as_deref());
        body.extend((record.headers.len() as u32).to_le_bytes());
        for Header { name, value } in &record.headers {
            write_bytes(body, Some(name.as_bytes()));
            write_bytes(body, value.as_deref());
        }
        write_bytes(body, record.value.as_deref());
    });
}

/// Writes that events up to a number are settled.
pub(crate) fn write_settled(into: &mut Vec<u8>, number: u64) {
    write(into, |body| {
        body.push(2);
        body.extend(number.to_le_bytes());
    });
}

fn write(into: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = into.len();
    into.extend(MARK);
    into.extend([0; 8]);
    body(into);
    let length = ((into.len() - begin - PREFIX_BYTES) as u32).to_le_bytes();
    into[begin + 4..begin + 8].copy_from_slice(&length);
    let checksum = checksum(length, &into[begin + PREFIX_BYTES..]);
    into[begin + 8..begin + 12].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

fn write_bytes(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    into.extend(bytes.map_or(MISSING, |bytes| bytes.len() as u32).to_le_bytes());
    into.extend(bytes.unwrap_or_default());
}

/// What stands at the beginning of some bytes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A frame of so many bytes.
    Frame(Frame, usize),
    /// More bytes are needed to tell: so many in all.
    Short(usize),
    /// No frame that this release wrote.
    Damaged,
}

/// Reads what the bytes begin with.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
        return if MARK.starts_with(&bytes[..bytes.len().min(4)]) || bytes.starts_with(&MARK) {
            Read::Short(PREFIX_BYTES)
        } else {
            Read::Damaged
        };
    };
    let part = |at: usize| [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]];
    let length = u32::from_le_bytes(part(4)) as usize;
    if part(0) != MARK || length > MOST_BYTES {
        return Read::Damaged;
    }
    let whole = PREFIX_BYTES + length;
    let Some(body) = bytes.get(PREFIX_BYTES..whole) else { return Read::Short(whole) };
    if checksum(part(4), body) != u32::from_le_bytes(part(8)) {
        return Read::Damaged;
    }
    read_body(body).map_or(Read::Damaged, |frame| Read::Frame(frame, whole))
}

/// Where a frame may begin, behind the first byte.
pub(crate) fn next_mark(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MARK).map(|at| at + 1)
}

fn read_body(body: &[u8]) -> Option<Frame> {
    let mut rest = body;
    let kind = *rest.split_off_first()?;
    let number = u64::from_le_bytes(take(&mut rest)?);
    let frame = match kind {
        2 => Frame::Settled(number),
        1 => {
            let timestamp_ms = Some(i64::from_le_bytes(take(&mut rest)?)).filter(|ms| *ms > 0);
            let topic = String::from_utf8(read_bytes(&mut rest)??.to_vec()).ok()?;
            let key = read_bytes(&mut rest)?;
            let count = u32::from_le_bytes(take(&mut rest)?);
            let mut headers = Vec::new();
            for _ in 0..count {
                let name = String::from_utf8(read_bytes(&mut rest)??.to_vec()).ok()?;
                headers.push(Header { name, value: read_bytes(&mut rest)? });
            }
            let value = read_bytes(&mut rest)?;
            let record = NewRecord { partition: None, key, value, headers, timestamp_ms };
            Frame::Event(Spilled { number, topic, record })
        }
        _ => return None,
    };
    rest.is_empty().then_some(frame)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

/// Outside: whether it could be read; inside: whether it is there.
fn read_bytes(rest: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = u32::from_le_bytes(take(rest)?);
    if length == MISSING {
        return Some(None);
    }
    rest.split_off(..length as usize).map(|bytes| Some(Bytes::copy_from_slice(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        proptest::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
    }

    fn spilled() -> impl Strategy<Value = Spilled> {
        let header = ("[a-z-]{0,12}", bytes()).prop_map(|(name, value)| Header { name, value });
        let time = proptest::option::of(1_i64..);
        (any::<u64>(), "[a-z.]{1,20}", bytes(), bytes(), vec(header, 0..4), time).prop_map(
            |(number, topic, key, value, headers, timestamp_ms)| Spilled {
                number,
                topic,
                record: NewRecord { partition: None, key, value, headers, timestamp_ms },
            },
        )
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_written_whatever_follows(event in spilled(), behind in vec(any::<u8>(), 0..20)) {
            let mut file = Vec::new();
            write_event(&mut file, event.number, &event.topic, &event.record);
            let length = file.len();
            file.extend(behind);
            prop_assert_eq!(read(&file), Read::Frame(Frame::Event(event), length));
        }

        #[test]
        fn a_frame_that_is_cut_anywhere_is_short_and_one_with_a_flipped_bit_is_never_read(
            event in spilled(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let mut file = Vec::new();
            write_event(&mut file, event.number, &event.topic, &event.record);
            let at = at.index(file.len());
            prop_assert!(matches!(read(&file[..at]), Read::Short(_)));
            file[at] ^= 1 << bit;
            prop_assert!(!matches!(read(&file), Read::Frame(..)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(read(&bytes), Read::Frame(..)));
        }
    }

    #[test]
    fn a_mark_is_found_behind_damage() {
        let mut file = b"\xF5Ly..".to_vec();
        write_settled(&mut file, 7);
        assert_eq!(read(&file), Read::Damaged);
        let at = next_mark(&file).unwrap();
        assert_eq!(read(&file[at..]), Read::Frame(Frame::Settled(7), file.len() - at));
        assert_eq!((next_mark(&file[at..]), next_mark(b"")), (None, None));
    }
}
