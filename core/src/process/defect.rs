//! Defects that can be planted, so that the simulation shows that it would find them. Never part of a build that is used.

/// One defect; each breaks a sentence of "How an effect happens once".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// A key found `applied` is skipped, its recording not emitted.
    DuplicateEmitsNothing,
    /// A key found `dead` is skipped, its letter not published again.
    DeadDuplicateEmitsNothing,
    /// A key found `applied` is decided once more.
    DuplicateDecidesAnew,
    /// Records behind a failed one of the same key go on.
    RecordsBehindDoNotWait,
    /// A letter's id from the source position alone.
    LetterIdFromPosition,
    /// Each replay has a key of its own.
    KeyPerReplay,
}
