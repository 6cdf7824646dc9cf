//! A ledger in a folder of its own, for the contract and the bench.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use lyceum_dynamodb::DynamoDbLedger;
use lyceum_embedded::dynamodb::EmbeddedDynamoDb;
use lyceum_testing::clock::ManualClock;
use tempfile::TempDir;

/// A ledger with what it lives in.
pub(crate) struct Opened {
    ledger: DynamoDbLedger,
    _database: EmbeddedDynamoDb,
    _folder: TempDir,
}

impl Opened {
    /// An empty one.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, database) = open(folder.path()).await;
        Self { ledger, _database: database, _folder: folder }
    }
}

impl Deref for Opened {
    type Target = DynamoDbLedger;

    fn deref(&self) -> &DynamoDbLedger {
        &self.ledger
    }
}

/// The ledger of that folder.
pub(crate) async fn open(folder: &Path) -> (DynamoDbLedger, EmbeddedDynamoDb) {
    let database = EmbeddedDynamoDb::open(&folder.join("ledger.db")).unwrap();
    // Nothing depends on the day.
    (database.ledger(Arc::new(ManualClock::at(1_790_000_000_000))).await.unwrap(), database)
}
