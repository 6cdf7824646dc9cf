//! Defects that can be planted, so that the simulation shows that it would find them. Never part of a build that is used.

use super::recording::Recording;
use crate::dead_letter::Publication;

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
    /// A replay is decided anew whatever its key says.
    ReplayDecidesAnew,
    /// Keys apart are read before the homes that tell whether there are some.
    KeysReadBeforeHomes,
    /// Keys apart are read as a commit that is seen in part may leave them.
    KeysReadPlainly,
    /// A key apart is written, and the version of its home stays.
    RejectionLeavesHome,
    /// A home does not tell that keys are apart.
    HomeForgetsKeysApart,
    /// Keys that move away from their home are not written elsewhere.
    MovedKeysVanish,
    /// No defect by itself: transactions of one key each, so that few events need many of them.
    OneKeyACommit,
}

/// What a stored recording emits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emits {
    /// The event's statement.
    pub document: bool,
    /// Follow-ups, or the letter.
    pub publications: Vec<Publication>,
}

/// Looks into a key's recording, to compare what is out with what was decided; `None` where it cannot be read.
pub fn look_into(recording: &[u8]) -> Option<Emits> {
    let recording = Recording::decode(recording).ok()?;
    Some(Emits { document: recording.statement_stored_ms.is_some(), publications: recording.publications })
}
