//! Rows as lines of JSON: every column in every line, in the order of the schema; times are RFC 3339 with milliseconds. Pure.

use std::io::Write;

use lyceum_xapi::utc_time::UtcTime;

use crate::row::{COLUMNS, Cell, Row};

/// Appends one row.
pub(crate) fn write(row: &Row<'_>, out: &mut Vec<u8>) {
    for (number, (column, cell)) in COLUMNS.iter().zip(&row.0).enumerate() {
        out.push(if number == 0 { b'{' } else { b',' });
        // What is written into memory is written.
        let _ = write!(out, "\"{}\":", column.name);
        let _ = match cell {
            Cell::Null => write!(out, "null"),
            Cell::Int(number) => write!(out, "{number}"),
            Cell::Long(number) => write!(out, "{number}"),
            Cell::Time(ms) => write!(out, "\"{:.3}\"", UtcTime::from_millis(*ms)),
            Cell::Text(text) => serde_json::to_writer(&mut *out, text).map_err(Into::into),
        };
    }
    out.extend_from_slice(b"}\n");
}
