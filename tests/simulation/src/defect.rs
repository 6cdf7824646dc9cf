//! Everything that can be planted: each breaks one sentence of "How an effect happens once".

use lyceum_core::process::defect::Defect as InProcess;

/// Where a defect is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table in docs/reliability.md tells what each breaks")]
pub enum Defect {
    // In the core's own code.
    InProcess(InProcess),
    // Around the ledger.
    EmitBeforeCommit,
    NoVersionCheck,
    NoKey,
    DeadWithoutKey,
    KeyPutUnconditional,
    DeadAfterCommit { fenced: bool, one_key: bool },
    DeadBeforeCommit { fenced: bool, lost_race_stands: bool },
    OneCommitAnAggregate,
    KeysExpire,
    // Around the event log.
    ConflictTakesKeyPath,
    UndeliverableTakesKeyPath,
    // In the driver of the workers.
    OffsetBeforeEmit,
    OffsetPassesFailed,
    BatchDedupedById,
    // In a family around the real one.
    BreachesCounted,
    PlaceholderPublished,
    CapacityRejects,
}

/// Name, as in the model, and defect.
pub const DEFECTS: &[(&str, Defect)] = &[
    ("emit before commit", Defect::EmitBeforeCommit),
    ("no version check", Defect::NoVersionCheck),
    ("no idempotency key", Defect::NoKey),
    ("offset before emit", Defect::OffsetBeforeEmit),
    ("offset passes failed", Defect::OffsetPassesFailed),
    ("dead letter without terminal key", Defect::DeadWithoutKey),
    ("duplicate does not emit the recording", Defect::InProcess(InProcess::DuplicateEmitsNothing)),
    ("duplicate decides anew", Defect::InProcess(InProcess::DuplicateDecidesAnew)),
    ("records behind do not wait", Defect::InProcess(InProcess::RecordsBehindDoNotWait)),
    ("replay counts as new whenever seen", Defect::InProcess(InProcess::ReplayDecidesAnew)),
    ("1 key put is unconditional", Defect::KeyPutUnconditional),
    ("2a dead key after the commit", Defect::DeadAfterCommit { fenced: false, one_key: false }),
    ("2b the same, version-fenced", Defect::DeadAfterCommit { fenced: true, one_key: false }),
    ("2c dead key before the commit", Defect::DeadBeforeCommit { fenced: false, lost_race_stands: false }),
    ("2d the same, version-fenced", Defect::DeadBeforeCommit { fenced: true, lost_race_stands: false }),
    ("2e dead key after, one key a commit", Defect::DeadAfterCommit { fenced: false, one_key: true }),
    ("3 dead key lost to `applied`: stands", Defect::DeadBeforeCommit { fenced: false, lost_race_stands: true }),
    ("4 key found `dead`: nothing said", Defect::InProcess(InProcess::DeadDuplicateEmitsNothing)),
    ("5 new epoch sees its own key only", Defect::InProcess(InProcess::KeyPerReplay)),
    ("6 letter's id from the position alone", Defect::InProcess(InProcess::LetterIdFromPosition)),
    ("7 batch duplicates dropped by id", Defect::BatchDedupedById),
    ("8 conflict takes the terminal-key path", Defect::ConflictTakesKeyPath),
    ("9 emit fails for good: the terminal-key path", Defect::UndeliverableTakesKeyPath),
    ("10 event of two aggregates, one key", Defect::OneCommitAnAggregate),
    ("11 keys expire before dead letters", Defect::KeysExpire),
    ("14a keys apart read before their home", Defect::InProcess(InProcess::KeysReadBeforeHomes)),
    ("14b keys apart read as a commit in part shows them", Defect::InProcess(InProcess::KeysReadPlainly)),
    ("14c rejection leaves its home's version", Defect::InProcess(InProcess::RejectionLeavesHome)),
    ("14d home does not tell of keys apart", Defect::InProcess(InProcess::HomeForgetsKeysApart)),
    ("14e keys that move are not written", Defect::InProcess(InProcess::MovedKeysVanish)),
    ("13a breaches counted as met", Defect::BreachesCounted),
    ("13b a placeholder may be published", Defect::PlaceholderPublished),
    ("capacity rejects", Defect::CapacityRejects),
];

impl Defect {
    /// Whether it lies in the training family and not in the protocol.
    pub fn is_of_the_family(self) -> bool {
        matches!(self, Self::BreachesCounted | Self::PlaceholderPublished | Self::CapacityRejects)
    }

    /// Whether it is planted in keys that are items of their own.
    pub fn is_of_keys_apart(self) -> bool {
        matches!(
            self,
            Self::NoVersionCheck
                | Self::NoKey
                | Self::DeadWithoutKey
                | Self::KeyPutUnconditional
                | Self::DeadAfterCommit { .. }
                | Self::DeadBeforeCommit { .. }
                | Self::OneCommitAnAggregate
                | Self::KeysExpire
                | Self::InProcess(InProcess::ReplayDecidesAnew)
        )
    }

    /// What the core's own switch is set to.
    pub(crate) fn in_process(self) -> Option<InProcess> {
        match self {
            Self::InProcess(defect) => Some(defect),
            Self::DeadAfterCommit { one_key: true, .. } => Some(InProcess::OneKeyACommit),
            _ => None,
        }
    }
}
