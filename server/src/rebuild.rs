//! Projections built anew: begins, goes on with, compares, swaps and drops generations of subscriptions ([`lyceum_core::generations`]).
//!
//! The work goes on in tasks of this process, and in whichever process looks next where this one ends: [`Rebuilds::keep_up`] takes up
//! what nobody works at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lyceum_core::clock;
use lyceum_core::generations::building::{self, Build, BuildError, Builder, Places, Stage, Wanted};
use lyceum_core::generations::comparing::{self, Comparison};
use lyceum_core::generations::documents::{self, DocumentsBuilder};
use lyceum_core::generations::dropping::{self, Dropper, Dropping};
use lyceum_core::generations::is_built_anew;
use lyceum_core::generations::marker::{self, Generations};
use lyceum_core::generations::switching::Make;
use lyceum_core::ports::event_log::Follow;
use lyceum_core::ports::ledger::LedgerError;
use lyceum_core::ports::statements::IndexedStatements;
use lyceum_core::process::Subscriber;
use lyceum_core::subscription::Subscription;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::questions::{Analytics, AskError};

/// How long one step of the work lasts before it is looked whether it is still wanted.
const STEP: Duration = Duration::from_secs(600);
/// How long it is waited after a store or the log was away.
const PAUSE: Duration = Duration::from_secs(10);
/// How often it is looked for work that nobody does.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The generations of the subscriptions of a release.
pub struct Rebuilds {
    of: Sources,
    maker: String,
    functions: OnceLock<Arc<BTreeMap<&'static str, Arc<dyn Subscriber>>>>,
    holder: Uuid,
    running: Mutex<BTreeSet<Task>>,
}

/// What a release has its generations built of.
pub struct Sources {
    /// What is read.
    pub log: Arc<dyn Follow>,
    /// Which generation of each is live.
    pub generations: Arc<Generations>,
    /// Each subscription with what makes its function muted; those that keep nothing are refused by name.
    pub subscriptions: Vec<(&'static Subscription, Make)>,
    /// Where documents are.
    pub statements: Arc<dyn IndexedStatements>,
    /// Of each and its topics.
    pub group: Group,
    /// Knows the tenants.
    pub analytics: Arc<dyn Analytics>,
    /// The tenant of events that name none.
    pub default_tenant: String,
    /// Whose accounts the learners of analytics are: fields of documents are made of it.
    pub learner_home_page: String,
    /// Since when no other process can have processed by this ledger, milliseconds since 1970 UTC; `None` where others can.
    pub alone_since_ms: Option<i64>,
}

/// Work of this process: one of each at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Builds(&'static str),
    Drops(&'static str),
}

/// The consumer group of a subscription's topic.
pub type Group = Arc<dyn Fn(&Subscription, &str) -> String + Send + Sync>;

/// What somebody wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Tells what would be read; nothing is written.
    Plan,
    /// Begins, or goes on with what was begun.
    Start,
    /// Makes the generation live again that was live before the last swap.
    Back,
    /// Has nobody go on.
    Cancel,
    /// Has all generations dropped that are neither live nor built, the one before the last swap among them.
    Drop,
}

/// What is known of a subscription's generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Whose.
    pub subscription: String,
    /// The generation that is live.
    pub live: u32,
    /// Whether batches wait at this moment, since another generation is swapped in.
    pub is_held: bool,
    /// Whether this process works at the build.
    pub works_here: bool,
    /// The last build.
    pub build: Option<Build>,
    /// Which generations are dropped.
    pub dropping: Dropping,
    /// When that begins, where it is not done: milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops_from_ms: Option<i64>,
    /// How many records it has processed.
    pub done: i64,
    /// How many are left, as far as was seen.
    pub left: i64,
    /// Milliseconds until it has all, at its pace so far; `None` where that is not known.
    pub left_ms: Option<i64>,
}

/// What would be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Whose.
    pub subscription: String,
    /// How many records.
    pub records: i64,
    /// By topic and partition.
    pub places: Places,
}

/// How the live generation and the one that was built differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Whose.
    pub subscription: String,
    /// The one that is live, and the other one.
    pub generations: [u32; 2],
    /// What came of it.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl From<BuildError> for AskError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Refused(why) => Self::Invalid(why),
            BuildError::Elsewhere { .. } => Self::Busy(error.to_string()),
            BuildError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

fn failed(error: LedgerError) -> AskError {
    AskError::from(BuildError::from(error))
}

impl Rebuilds {
    /// Of these.
    pub fn new(of: Sources) -> Self {
        let (holder, running) = (Uuid::new_v4(), Mutex::default());
        Self { maker: maker(&of.learner_home_page), of, functions: OnceLock::new(), holder, running }
    }

    /// Which generation of each is live, as this process knows.
    pub fn generations(&self) -> &Arc<Generations> {
        &self.of.generations
    }

    /// Builds generations of the subscription of that name: for whoever has a deadline, as a function on AWS Lambda has.
    ///
    /// # Errors
    /// Where none has that name, or it keeps nothing that can be built anew.
    pub fn builder(&self, name: &str) -> Result<Builder, AskError> {
        let those = || self.of.subscriptions.iter().filter(|(of, _)| is_built_anew(of)).map(|(of, _)| of.name);
        let found = self.of.subscriptions.iter().find(|(of, _)| of.name == name && is_built_anew(of));
        let Some((subscription, make)) = found else {
            let names = those().collect::<Vec<_>>().join(", ");
            return Err(AskError::Invalid(format!(
                "{name:?} keeps no states and no numbers that can be built anew; those that do are {names}, and there are the documents \
                 of all ({})",
                documents::NAME
            )));
        };
        let (group, of) = (self.of.group.clone(), *subscription);
        Ok(Builder {
            subscription,
            log: self.of.log.clone(),
            generations: self.of.generations.clone(),
            make: make.clone(),
            group: Arc::new(move |topic| group(of, topic)),
            holder: self.holder,
        })
    }

    /// Makes documents anew.
    fn documents(&self) -> DocumentsBuilder {
        // Made once, and by whoever asks first: it is looked every half minute whether there is something to do.
        let functions = self.functions.get_or_init(|| {
            let made =
                self.of.subscriptions.iter().map(|(of, make)| (of.name, make(self.of.generations.ledger().clone())));
            Arc::new(made.collect())
        });
        DocumentsBuilder {
            statements: self.of.statements.clone(),
            log: self.of.log.clone(),
            generations: self.of.generations.clone(),
            functions: functions.clone(),
            maker: self.maker.clone(),
            holder: self.holder,
        }
    }

    /// What is known of every subscription that can be built anew, and of the documents.
    ///
    /// # Errors
    /// Where the ledger does not answer.
    pub async fn status(&self) -> Result<Vec<Known>, AskError> {
        let mut known = Vec::new();
        for (subscription, _) in self.of.subscriptions.iter().filter(|(of, _)| is_built_anew(of)) {
            known.push(self.status_of(subscription.name).await?);
        }
        known.push(self.status_of_documents().await?);
        Ok(known)
    }

    async fn status_of(&self, name: &'static str) -> Result<Known, AskError> {
        let ledger = &**self.of.generations.ledger();
        let marker = marker::read(ledger, name).await.map_err(failed)?.marker;
        let build = building::read(ledger, name).await?;
        let dropping = dropping::read(ledger, name).await?;
        let (live, is_held) = (marker.live, marker.held_until_ms.is_some());
        Ok(self.known(name, live, is_held, build, dropping))
    }

    async fn status_of_documents(&self) -> Result<Known, AskError> {
        let build = documents::read(&**self.of.generations.ledger()).await?;
        let live = match self.of.statements.indices().await {
            Ok(indices) => indices.live,
            Err(error) => {
                // What is known of subscriptions is no affair of the store's.
                tracing::warn!(%error, "which index of documents is live is not known; what is told is what was so last");
                build.as_ref().map_or(0, |build| match build.stage {
                    Stage::Swapped => build.generation,
                    _ => build.before.as_ref().map_or(0, |before| before.generation),
                })
            }
        };
        let dropping = Dropping { subscription: documents::NAME.to_owned(), ..Dropping::default() };
        Ok(self.known(documents::NAME, live, false, build, dropping))
    }

    fn known(&self, name: &'static str, live: u32, is_held: bool, build: Option<Build>, dropping: Dropping) -> Known {
        let (done, left) = build.as_ref().map_or((0, 0), |build| (build.done(), build.left()));
        let left_ms = build.as_ref().filter(|build| build.stage == Stage::Building && done > 0).map(|build| {
            let took_ms = (build.updated_ms - build.started_ms).max(1);
            ((left as f64) * (took_ms as f64) / (done as f64)) as i64
        });
        Known {
            subscription: name.to_owned(),
            live,
            is_held,
            works_here: self.running.lock().contains(&Task::Builds(name)),
            build,
            drops_from_ms: dropping.begins_ms(self.of.alone_since_ms),
            dropping,
            done,
            left,
            left_ms,
        }
    }

    /// What a rebuild would read.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub async fn plan(&self, name: &str, wanted: Wanted) -> Result<Planned, AskError> {
        let places = match name {
            documents::NAME => {
                refuse_lacking(wanted)?;
                self.documents().plan().await?
            }
            _ => self.builder(name)?.plan(wanted).await?,
        };
        let records = places.values().flat_map(|of| of.values()).map(|place| place.end - place.from).sum();
        Ok(Planned { subscription: name.to_owned(), records, places })
    }

    /// Begins, goes on, goes back or cancels; the work itself is done by a task of this process.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub async fn act(self: &Arc<Self>, name: &str, action: Action, wanted: Wanted) -> Result<Known, AskError> {
        if name == documents::NAME {
            return self.act_on_documents(action, wanted).await;
        }
        let builder = self.builder(name)?;
        let name = builder.subscription.name;
        match action {
            Action::Plan => drop(builder.plan(wanted).await?),
            Action::Start => {
                builder.begin(wanted).await?;
                self.spawn(Work::Generation(builder));
                // From here on there is no way back to what was live before, so that nobody needs it.
                let now_ms = self.of.generations.clock().now_ms();
                if let Err(error) = dropping::begin(&**self.of.generations.ledger(), name, false, now_ms).await {
                    tracing::warn!(subscription = name, %error, "old generations are kept until the next rebuild begins");
                }
            }
            Action::Back => {
                builder.begin_back().await?;
                self.spawn(Work::Generation(builder));
            }
            Action::Cancel => {
                let now_ms = self.of.generations.clock().now_ms();
                drop(building::cancel(&**self.of.generations.ledger(), name, now_ms).await?);
            }
            Action::Drop => {
                let now_ms = self.of.generations.clock().now_ms();
                let dropping = dropping::begin(&**self.of.generations.ledger(), name, true, now_ms).await?;
                self.spawn_drop(builder.subscription, &dropping);
            }
        }
        self.status_of(name).await
    }

    async fn act_on_documents(self: &Arc<Self>, action: Action, wanted: Wanted) -> Result<Known, AskError> {
        refuse_lacking(wanted)?;
        let builder = self.documents();
        match action {
            Action::Plan => drop(builder.plan().await?),
            Action::Start => {
                builder.begin(wanted).await?;
                // What was live before the last swap is needed by nobody, and takes room that the next one needs.
                if let Err(error) = self.of.statements.drop_old().await {
                    tracing::warn!(%error, "old indices of documents are kept; `lyceum rebuild documents --drop-old` deletes them");
                }
                self.spawn(Work::Documents(builder));
            }
            Action::Back => {
                let why = "an index of documents that was live before lacks what came since: run the release whose documents you want, \
                           and have them built by that (`lyceum rebuild documents`)";
                return Err(AskError::Invalid(why.to_owned()));
            }
            Action::Cancel => builder.cancel().await?,
            Action::Drop => {
                let dropped = self.of.statements.drop_old().await.map_err(BuildError::from)?;
                let mut known = self.status_of_documents().await?;
                known.dropping.dropped = dropped;
                return Ok(known);
            }
        }
        self.status_of_documents().await
    }

    /// Compares the live generation with the last one that was built, or, where that is live by now, with the one before.
    ///
    /// # Errors
    /// Where there is only one.
    pub async fn compare(&self, name: &str, tenants: &[String]) -> Result<Compared, AskError> {
        if name == documents::NAME {
            let (generations, comparison) = self.documents().compare().await?;
            return Ok(Compared { subscription: name.to_owned(), generations, comparison });
        }
        let builder = self.builder(name)?;
        let name = builder.subscription.name;
        let ledger = self.of.generations.ledger();
        let live = marker::read(&**ledger, name).await.map_err(failed)?.marker.live;
        let build = building::read(&**ledger, name).await?;
        let other = build.and_then(|build| match build.generation == live {
            true => build.before.map(|before| before.generation),
            false => Some(build.generation),
        });
        let Some(other) = other else {
            return Err(AskError::Invalid(format!("{name} has one generation: rebuild it first")));
        };
        let dropping = dropping::read(&**ledger, name).await?;
        if dropping.generations.contains(&other) || dropping.dropped.contains(&other) {
            let why =
                format!("generation {other} of {name} is dropped, and cannot be compared with any more: rebuild it");
            return Err(AskError::Invalid(why));
        }
        let (clock, generations) = (&**self.of.generations.clock(), [live, other]);
        let compared =
            comparing::compare(ledger, &builder.make, clock, builder.subscription, generations, tenants).await;
        Ok(Compared { subscription: name.to_owned(), generations, comparison: compared.map_err(failed)? })
    }

    /// Goes on with builds that nobody works at any more, and drops what is to be dropped, for ever.
    pub async fn keep_up(self: Arc<Self>) {
        loop {
            for (subscription, _) in self.of.subscriptions.iter().filter(|(of, _)| is_built_anew(of)) {
                let build = building::read(&**self.of.generations.ledger(), subscription.name).await.ok().flatten();
                if build.is_some_and(|build| build.stage == Stage::Building)
                    && let Ok(builder) = self.builder(subscription.name)
                {
                    self.spawn(Work::Generation(builder));
                }
                if let Ok(dropping) = dropping::read(&**self.of.generations.ledger(), subscription.name).await {
                    self.spawn_drop(subscription, &dropping);
                }
            }
            match documents::read(&**self.of.generations.ledger()).await {
                Ok(Some(build)) if build.stage.is_open() => {
                    let documents = self.documents();
                    match (documents.is_mine(&build), build.stage == Stage::Building) {
                        (true, true) => self.spawn(Work::Documents(documents)),
                        (true, false) => {}
                        (false, _) => tracing::warn!(
                            "documents are being built by another release or with other settings, which has to go on with it; \
                             `lyceum rebuild documents` begins anew with this one, --cancel ends it"
                        ),
                    }
                }
                Ok(_) => match self.documents().tidy().await {
                    Ok(()) | Err(BuildError::Elsewhere { .. }) => {}
                    Err(error) => tracing::debug!(%error, "whether an index of documents is filled that nobody builds"),
                },
                Err(_) => {}
            }
            self.of.generations.clock().sleep(LOOK_EVERY).await;
        }
    }

    fn spawn(self: &Arc<Self>, work: Work) {
        let task = Task::Builds(work.name());
        if !self.running.lock().insert(task) {
            return;
        }
        let rebuilds = self.clone();
        tokio::spawn(async move {
            // Also where the task is dropped or panics.
            let _working = Working(rebuilds.clone(), task);
            rebuilds.work(&work).await;
        });
    }

    /// Drops what is to be dropped, where its time has come.
    fn spawn_drop(self: &Arc<Self>, subscription: &'static Subscription, dropping: &Dropping) {
        let (task, now_ms) = (Task::Drops(subscription.name), self.of.generations.clock().now_ms());
        let is_due = dropping.begins_ms(self.of.alone_since_ms).is_some_and(|begins_ms| begins_ms <= now_ms);
        if !is_due || !self.running.lock().insert(task) {
            return;
        }
        let rebuilds = self.clone();
        tokio::spawn(async move {
            let _working = Working(rebuilds.clone(), task);
            rebuilds.drop_generations(subscription).await;
        });
    }

    /// Works for one [`STEP`]; what is left is found by the next look.
    async fn drop_generations(&self, subscription: &'static Subscription) {
        let name = subscription.name;
        let mut tenants = match self.of.analytics.tenants().await {
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::warn!(
                    subscription = name,
                    ?error,
                    "generations are not dropped yet: the tenants are not known"
                );
                return;
            }
        };
        // One whose events have no documents has states nonetheless.
        if !tenants.contains(&self.of.default_tenant) {
            tenants.push(self.of.default_tenant.clone());
        }
        let clock = self.of.generations.clock();
        let dropper = Dropper {
            ledger: self.of.generations.ledger().clone(),
            clock: clock.clone(),
            subscription,
            tenants,
            alone_since_ms: self.of.alone_since_ms,
            holder: self.holder,
        };
        match dropper.work(clock.now_ms().saturating_add(STEP.as_millis() as i64)).await {
            Ok(Dropping { dropped, generations, states, .. }) => {
                tracing::info!(subscription = name, ?dropped, left = ?generations, states, "generations are dropped");
            }
            Err(error @ BuildError::Elsewhere { .. }) => {
                tracing::info!(subscription = name, %error, "generations are dropped elsewhere");
                return;
            }
            Err(error) => {
                tracing::warn!(subscription = name, %error, "generations are not dropped yet; it goes on by itself")
            }
        }
        if let Err(error) = dropper.give_back().await {
            tracing::debug!(%error, "the lease of dropping ends by itself");
        }
    }

    async fn work(&self, builder: &Work) {
        let (name, clock) = (builder.name(), self.of.generations.clock());
        loop {
            let deadline_ms = clock.now_ms().saturating_add(STEP.as_millis() as i64);
            match builder.work(deadline_ms).await {
                Ok(build) if build.stage == Stage::Building => {}
                Ok(build) => {
                    tracing::info!(subscription = name, generation = build.generation, stage = ?build.stage, "a rebuild ended");
                    break;
                }
                Err(BuildError::Unavailable(why)) => {
                    tracing::warn!(subscription = name, why, "a rebuild waits; it goes on by itself");
                    clock.sleep(PAUSE).await;
                }
                // Whoever has it goes on; where that one dies, it is found here.
                Err(error @ BuildError::Elsewhere { .. }) => {
                    tracing::info!(subscription = name, %error, "a rebuild goes on elsewhere");
                    return;
                }
                Err(error @ BuildError::Refused(_)) => {
                    tracing::warn!(subscription = name, %error, "a rebuild ended");
                    break;
                }
            }
        }
        if let Err(error) = builder.give_back().await {
            tracing::debug!(%error, "the lease of a rebuild ends by itself");
        }
    }
}

/// Which release this is, with the settings that fields of documents are made of. The program's own file tells builds of one version
/// apart; processes of one image have the same.
fn maker(learner_home_page: &str) -> String {
    let program = std::env::current_exe().and_then(std::fs::metadata).map_or_else(
        |_| "unknown".to_owned(),
        |file| {
            let changed = file.modified().map_or(0, |time| clock::ms_since_1970(time).div_euclid(1_000));
            format!("{}-{changed}", file.len())
        },
    );
    format!("{} {program} {learner_home_page}", env!("CARGO_PKG_VERSION"))
}

/// Documents are there whatever the log has dropped.
fn refuse_lacking(wanted: Wanted) -> Result<(), AskError> {
    match wanted.lacking {
        false => Ok(()),
        true => {
            let why = "documents are made anew of what is stored and not of the log, so that they lack nothing: ask without `lacking`";
            Err(AskError::Invalid(why.to_owned()))
        }
    }
}

/// What a task builds.
enum Work {
    Generation(Builder),
    Documents(DocumentsBuilder),
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Generation(builder) => builder.subscription.name,
            Self::Documents(_) => documents::NAME,
        }
    }

    async fn work(&self, deadline_ms: i64) -> Result<Build, BuildError> {
        match self {
            Self::Generation(builder) => builder.work(deadline_ms).await,
            Self::Documents(builder) => builder.work(deadline_ms).await,
        }
    }

    async fn give_back(&self) -> Result<(), BuildError> {
        match self {
            Self::Generation(builder) => builder.give_back().await,
            Self::Documents(builder) => builder.give_back().await,
        }
    }
}

/// While it lives, this process works at it.
struct Working(Arc<Rebuilds>, Task);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.running.lock().remove(&self.1);
    }
}
