//! Tables for people: columns as wide as their widest cell, numbers to the right.

use std::fmt;

/// The side on which a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// For names.
    Left,
    /// For numbers.
    Right,
}

/// A table; without rows nothing of it is printed.
pub(super) struct Table<const N: usize> {
    head: [(&'static str, Side); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// What a sender wrote may hold control characters, which a terminal would obey: they are escaped.
    pub(super) fn new(head: [(&'static str, Side); N], rows: impl IntoIterator<Item = [String; N]>) -> Self {
        Self { head, rows: rows.into_iter().map(|row| row.map(|cell| escape(&cell))).collect() }
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let head = self.head.map(|(name, _)| name.to_owned());
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for line in lines() {
            let cells = line.iter().zip(widths).zip(self.head).map(|((cell, width), (_, side))| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// `text` without control characters.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if c.is_control() {
            escaped.extend(c.escape_default())
        } else {
            escaped.push(c)
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_and_names_begin_in_one_column() {
        let row = |name: &str, count: u32| [name.to_owned(), count.to_string()];
        let table =
            Table::new([("verb", Side::Left), ("statements", Side::Right)], [row("größer", 7), row("a\u{1b}", 1234)]);
        let lines = ["verb     statements", "größer            7", "a\\u{1b}        1234", ""];
        assert_eq!(table.to_string(), lines.join("\n"));
    }

    #[test]
    fn a_table_without_rows_is_not_there() {
        assert_eq!(Table::new([("verb", Side::Left)], []).to_string(), "");
    }
}
