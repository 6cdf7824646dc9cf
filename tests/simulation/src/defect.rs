//! Everything that can be planted around the processing: each breaks one sentence of "How an effect happens once". What can
//! only be planted within it is a patch in `mutants/`.

/// Where a defect is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table in docs/reliability.md tells what each breaks")]
pub enum Defect {
    // Around the ledger.
    DuplicateEmitsNothing,
    DeadDuplicateEmitsNothing,
    KeysReadPlainly,
    RejectionLeavesHome,
    HomeForgetsKeysApart,
    MovedKeysVanish,
    EmitBeforeCommit,
    NoVersionCheck,
    NoKey,
    DeadWithoutKey,
    KeyPutUnconditional,
    DeadAfterCommit {
        fenced: bool,
        one_key: bool,
    },
    DeadBeforeCommit {
        fenced: bool,
        lost_race_stands: bool,
    },
    OneCommitAnAggregate,
    KeysExpire,
    LeaseForEveryone {
        of_content: bool,
    },
    LeaseNeverEnds,
    NumbersUnconditional,
    HeadUnconditional,
    ReactionWithoutKey,
    // Around the event log.
    LetterIdFromPosition,
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
    // In the modules' families and reactions.
    AnswerLeftOut,
    AnswersInACircle,
    ConsumedTwice,
    CompletedFromAnything,
    /// What a watch noticed is written whatever its version was.
    WatchUnconditional,
}

/// Name, as in the model, and defect.
pub const DEFECTS: &[(&str, Defect)] = &[
    ("emit before commit", Defect::EmitBeforeCommit),
    ("no version check", Defect::NoVersionCheck),
    ("no idempotency key", Defect::NoKey),
    ("offset before emit", Defect::OffsetBeforeEmit),
    ("offset passes failed", Defect::OffsetPassesFailed),
    ("dead letter without terminal key", Defect::DeadWithoutKey),
    ("duplicate does not emit the recording", Defect::DuplicateEmitsNothing),
    ("1 key put is unconditional", Defect::KeyPutUnconditional),
    ("2a dead key after the commit", Defect::DeadAfterCommit { fenced: false, one_key: false }),
    ("2b the same, version-fenced", Defect::DeadAfterCommit { fenced: true, one_key: false }),
    ("2c dead key before the commit", Defect::DeadBeforeCommit { fenced: false, lost_race_stands: false }),
    ("2d the same, version-fenced", Defect::DeadBeforeCommit { fenced: true, lost_race_stands: false }),
    ("2e dead key after, one key a commit", Defect::DeadAfterCommit { fenced: false, one_key: true }),
    ("3 dead key lost to `applied`: stands", Defect::DeadBeforeCommit { fenced: false, lost_race_stands: true }),
    ("4 key found `dead`: nothing said", Defect::DeadDuplicateEmitsNothing),
    ("6 letter's id from the position alone", Defect::LetterIdFromPosition),
    ("7 batch duplicates dropped by id", Defect::BatchDedupedById),
    ("8 conflict takes the terminal-key path", Defect::ConflictTakesKeyPath),
    ("9 emit fails for good: the terminal-key path", Defect::UndeliverableTakesKeyPath),
    ("10 event of two aggregates, one key", Defect::OneCommitAnAggregate),
    ("11 keys expire before dead letters", Defect::KeysExpire),
    ("14b keys apart read as a commit in part shows them", Defect::KeysReadPlainly),
    ("14c rejection leaves its home's version", Defect::RejectionLeavesHome),
    ("14d home does not say that keys are apart", Defect::HomeForgetsKeysApart),
    ("14e keys that move are not written", Defect::MovedKeysVanish),
    ("15 a lease is given to everyone", Defect::LeaseForEveryone { of_content: false }),
    ("16 numbers are written whatever was read", Defect::NumbersUnconditional),
    ("17 a log's head is written whatever was read", Defect::HeadUnconditional),
    ("18 content: a lease is given to everyone", Defect::LeaseForEveryone { of_content: true }),
    ("19 content: a lease never ends", Defect::LeaseNeverEnds),
    ("20 modules: a reaction writes no key", Defect::ReactionWithoutKey),
    ("21 modules: a reaction leaves its answer out", Defect::AnswerLeftOut),
    ("22 modules: reactions answer each other", Defect::AnswersInACircle),
    ("23 modules: an approval is consumed twice", Defect::ConsumedTwice),
    ("24 modules: a course is completed whatever it was", Defect::CompletedFromAnything),
    ("25 modules: a watch is written whatever was read", Defect::WatchUnconditional),
    ("13a breaches counted as met", Defect::BreachesCounted),
    ("13b a placeholder may be published", Defect::PlaceholderPublished),
    ("capacity rejects", Defect::CapacityRejects),
];

impl Defect {
    /// Whether it lies in the training family and not in the protocol.
    pub fn is_of_the_family(self) -> bool {
        matches!(self, Self::BreachesCounted | Self::PlaceholderPublished | Self::CapacityRejects)
    }

    /// Whether it lies in an effect that only the toys have.
    pub fn is_of_the_toys(self) -> bool {
        matches!(self, Self::LeaseForEveryone { of_content: false } | Self::NumbersUnconditional)
    }

    /// Whether it lies in the generation of content, or is planted around it.
    pub fn is_of_content(self) -> bool {
        matches!(self, Self::LeaseForEveryone { of_content: true } | Self::LeaseNeverEnds)
    }

    /// Whether it lies in the modules' families, reactions and watch, or is planted around them.
    pub fn is_of_the_modules(self) -> bool {
        matches!(
            self,
            Self::ReactionWithoutKey
                | Self::AnswerLeftOut
                | Self::AnswersInACircle
                | Self::ConsumedTwice
                | Self::CompletedFromAnything
                | Self::WatchUnconditional
        )
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
        )
    }

    /// Whether few events need many transactions: one decision each.
    pub(crate) fn wants_small_commits(self) -> bool {
        matches!(self, Self::DeadAfterCommit { one_key: true, .. })
    }
}
