//! The rows of the matrix, as they are printed and written.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::count::Difference;

/// One fault, and what was counted after it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub fault: String,
    /// Records in the topics, poison and duplicates among them.
    pub events: usize,
    /// Records handed to functions, each time.
    pub deliveries: u64,
    /// Deliveries of what was applied before.
    pub duplicates: u64,
    /// How often a worker was started again.
    pub restarts: u32,
    /// What differs from the fold.
    pub difference: Difference,
    /// From the first worker's start until everything was settled.
    pub took: Duration,
}

const HEAD: &str = "\
| fault | events | deliveries | duplicates seen | restarts | dead letters (published again) | given up | lost | doubled | out of order | seconds |
|---|---|---|---|---|---|---|---|---|---|---|";

impl Row {
    fn line(&self) -> String {
        let Self { fault, events, deliveries, duplicates, restarts, difference, took } = self;
        let Difference { lost, doubled, disordered, given_up, letters, letters_again, .. } = difference;
        let seconds = took.as_secs_f64();
        format!(
            "| {fault} | {events} | {deliveries} | {duplicates} | {restarts} | {letters} ({letters_again}) | {given_up} | {lost} | {doubled} | {disordered} | {seconds:.0} |"
        )
    }
}

/// The rows so far, in a file.
pub struct Table {
    path: PathBuf,
    lines: Mutex<Vec<String>>,
}

impl Table {
    /// An empty table that is written to `path` row by row.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lines: Mutex::default() }
    }

    /// Prints the row and writes the table with it.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn add(&self, row: &Row) {
        let mut lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.is_empty() {
            println!("\n{HEAD}");
        }
        println!("{}", row.line());
        lines.push(row.line());
        let text = format!("{HEAD}\n{}\n", lines.join("\n"));
        std::fs::write(&self.path, text).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }
}
