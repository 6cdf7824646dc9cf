//! How the index follows the topics: pass by pass, each up to where they ended when it began, in steps between which whoever asks
//! is answered.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use lyceum_core::dead_letter::DeadLetter as Letter;
use lyceum_core::ports::event_log::{EventLogError, OffsetRange};
use lyceum_core::record::Record;
use tokio::sync::MutexGuard;
use tokio::time::{sleep, timeout};

use super::index::{Found, Index, Place, ToCheck};
use super::marks::mark_of;
use super::{DeadLetterIndex, FETCH_BYTES, NAMED_TENANTS, TENANT_BYTES, log_failed, read, value};
use crate::questions::AskError;

/// So many letters are taken in at a time.
const STEP_RECORDS: usize = 200;
/// So long a question waits for letters that were not read yet; then it is answered from those that were.
const READING_TIME: Duration = Duration::from_millis(500);
/// So often it is looked for letters where nobody asks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Of so many letters at a time, and no more often, it is looked up whether their events were applied since; of those that are
/// listed always.
const CHECKED_LETTERS: usize = 512;
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// So many statements are looked up at once.
const CHECKS_AT_ONCE: usize = 16;

/// How far whoever follows in the background has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    /// Every question up to this one was asked before the last pass began that is through.
    asked: u64,
    /// Why that pass is none.
    failed: Option<AskError>,
    /// Since when the next one goes on.
    reading_since: Option<Instant>,
}

impl DeadLetterIndex {
    /// The index, and whether letters are on the topics that it was not told of: where there are so many that a question
    /// cannot wait for them. Where nobody follows in the background, it waits.
    pub(super) async fn look(&self) -> Result<(MutexGuard<'_, Index>, bool), AskError> {
        if !self.is_followed.load(SeqCst) {
            return Ok((self.look_at_all().await?, false));
        }
        let is_behind = self.wait_for_follower().await?;
        Ok((self.index.lock().await, is_behind))
    }

    /// The index that was told of every letter.
    pub(super) async fn look_at_all(&self) -> Result<MutexGuard<'_, Index>, AskError> {
        self.pass().await?;
        Ok(self.index.lock().await)
    }

    /// Whether what was on the topics before is not read in time.
    async fn wait_for_follower(&self) -> Result<bool, AskError> {
        let mine = self.asked.fetch_add(1, SeqCst) + 1;
        self.wake.notify_one();
        let mut followed = self.followed.subscribe();
        let takes_long = |of: &Followed| of.reading_since.is_some_and(|since| since.elapsed() >= READING_TIME);
        let through = followed.wait_for(|of| of.asked >= mine || takes_long(of));
        match timeout(READING_TIME, through).await {
            Ok(Ok(of)) if of.asked >= mine => of.failed.clone().map_or(Ok(false), Err),
            _ => Ok(true),
        }
    }

    /// Follows for ever.
    pub(super) async fn follow(&self) {
        self.is_followed.store(true, SeqCst);
        loop {
            let asked = self.asked.load(SeqCst);
            self.followed.send_modify(|of| of.reading_since = Some(Instant::now()));
            // Where the log does not answer, whoever asks is told.
            let failed = self.pass().await.err();
            self.followed.send_replace(Followed { asked, failed, reading_since: None });
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Takes in everything that stands on the topics when it begins. One that is given up in the middle loses nothing: the next
    /// one goes on.
    async fn pass(&self) -> Result<(), AskError> {
        let _alone = self.reading.lock().await;
        self.read_on().await?;
        let begins_again = self.index.lock().await.begin_again();
        if begins_again {
            self.read_on().await?;
        }
        self.index.lock().await.complete();
        self.look_for_applied().await;
        Ok(())
    }

    async fn read_on(&self) -> Result<(), AskError> {
        let topics = self.index.lock().await.topics().to_vec();
        for (topic, name) in topics.iter().enumerate() {
            for (partition, range) in self.partitions(name).await? {
                self.read_partition(name, (topic, partition), range).await?;
            }
        }
        Ok(())
    }

    async fn read_partition(&self, topic: &str, place: Place, range: OffsetRange) -> Result<(), AskError> {
        let mut next = {
            let mut index = self.index.lock().await;
            if index.next(place, range.start) > range.end {
                index.reset(place);
            }
            index.next(place, range.start)
        };
        while next < range.end {
            let records = match self.event_log.fetch(topic, place.1, next, STEP_RECORDS, FETCH_BYTES).await {
                Ok(records) => records,
                // Retention was faster; the next pass begins where the partition does then.
                Err(EventLogError::OffsetOutOfRange { .. }) => break,
                Err(error) => return Err(log_failed(error)),
            };
            let Some(last) = records.last() else { break };
            next = last.position.offset + 1;
            self.take_in(place, &records, next).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn take_in(&self, place: Place, records: &[Record], next: i64) -> Result<(), AskError> {
        let letters: Vec<(Letter, i64)> = records.iter().filter_map(read).collect();
        self.name_tenants(letters.iter().filter_map(|(letter, _)| letter.tenant.as_deref()));
        let keys = self.marks(letters.iter().map(|(letter, _)| letter)).await?;
        let found = letters.iter().zip(&keys).map(|((letter, at_ms), key)| {
            let event_id = value::event_id(&letter.original);
            Found::of(letter, *at_ms, event_id, mark_of(key.as_ref()))
        });
        let mut found: Vec<Found> = found.collect();
        let is_refilling = self.index.lock().await.is_refilling();
        if is_refilling {
            self.note_applied(&mut found).await;
        }
        self.index.lock().await.take_in(place, found, next);
        Ok(())
    }

    fn name_tenants<'a>(&self, tenants: impl Iterator<Item = &'a str>) {
        let mut named = self.tenants.lock();
        for tenant in tenants {
            if named.len() < NAMED_TENANTS && tenant.len() <= TENANT_BYTES && !named.contains(tenant) {
                named.insert(tenant.to_owned());
            }
        }
    }

    /// What each partition of a topic holds.
    pub(super) async fn partitions(&self, topic: &str) -> Result<Vec<(i32, OffsetRange)>, AskError> {
        match self.event_log.offsets(topic).await {
            Ok(ranges) => Ok((0..).zip(ranges).collect()),
            // A cluster on which nothing was ever dead-lettered.
            Err(EventLogError::UnknownTopic(_)) => Ok(Vec::new()),
            Err(error) => Err(log_failed(error)),
        }
    }

    /// Which of these events were applied after their letter was written, as their statements tell. Where the store does not
    /// answer nothing is known, and a later call looks again.
    pub(super) async fn applied_since<T>(&self, letters: Vec<(T, ToCheck)>) -> Vec<T> {
        let look = |(of, letter): (T, ToCheck)| async move {
            let stored = self.statements.get(&letter.tenant, letter.event_id).await.ok()??;
            let is_its_own = stored.document.fields.family == letter.family;
            (is_its_own && stored.document.stored_ms >= letter.at_ms).then_some(of)
        };
        stream::iter(letters).map(look).buffer_unordered(CHECKS_AT_ONCE).filter_map(async |of| of).collect().await
    }

    /// Looks at a part of the letters that wait, whether their events were applied since.
    async fn look_for_applied(&self) {
        let mut checked = self.checked.lock().await;
        if checked.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) {
            return;
        }
        let letters = self.index.lock().await.next_to_check(CHECKED_LETTERS);
        let letters = letters.into_iter().map(|letter| (letter.position.clone(), letter)).collect();
        let applied = self.applied_since(letters).await;
        let mut index = self.index.lock().await;
        applied.iter().for_each(|position| index.resolve(position));
        *checked = Some(Instant::now());
    }

    async fn note_applied(&self, found: &mut [Found]) {
        let to_check = found.iter().enumerate().filter_map(|(number, found)| Some((number, found.to_check()?)));
        for number in self.applied_since(to_check.collect()).await {
            found[number].is_resolved = true;
        }
    }
}
