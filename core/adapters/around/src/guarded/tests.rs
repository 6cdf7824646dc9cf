use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use futures::future::{join, join_all};
use tokio::time::sleep;
use uuid::Uuid;

use super::*;
use lyceum_core::ports::event_log::EventLogError;
use lyceum_core::ports::ledger::{
    AggregateId, Claim, Commit, KeyId, Ledger, LedgerError, Loaded, StoredAggregate, StoredKey,
};
use lyceum_core::ports::statements::{QueryDocuments, StatementsError};
use lyceum_testing::memory::statements::MemoryStatements;

const SECOND: Duration = Duration::from_secs(1);

/// A ledger that takes its time, and then gives the answer that it was made with.
struct Slow {
    takes: Mutex<Duration>,
    answer: Mutex<Result<(), LedgerError>>,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Slow {
    fn new(takes: Duration, answer: Result<(), LedgerError>) -> Arc<Self> {
        Arc::new(Self {
            takes: Mutex::new(takes),
            answer: Mutex::new(answer),
            calls: AtomicUsize::default(),
            under_way: AtomicUsize::default(),
            most_under_way: AtomicUsize::default(),
        })
    }

    fn becomes(&self, takes: Duration, answer: Result<(), LedgerError>) {
        *self.takes.lock() = takes;
        *self.answer.lock() = answer;
    }

    async fn answer(&self) -> Result<(), LedgerError> {
        self.calls.fetch_add(1, SeqCst);
        let under_way = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, SeqCst);
        let takes = *self.takes.lock();
        sleep(takes).await;
        self.under_way.fetch_sub(1, SeqCst);
        self.answer.lock().clone()
    }
}

#[async_trait]
impl Ledger for Slow {
    async fn load(&self, _: &[AggregateId], _: &[KeyId]) -> Result<Loaded, LedgerError> {
        self.answer().await.map(|()| Loaded::default())
    }

    async fn load_settled_keys(&self, _: &[KeyId]) -> Result<Vec<Option<StoredKey>>, LedgerError> {
        self.answer().await.map(|()| Vec::new())
    }

    async fn commit(&self, _: Commit) -> Result<(), LedgerError> {
        self.answer().await
    }

    async fn count_attempt(&self, _: &KeyId, _: u32) -> Result<u32, LedgerError> {
        self.answer().await.map(|()| 1)
    }

    async fn claim(&self, _: &KeyId, _: Uuid, _: i64, _: i64) -> Result<Claim, LedgerError> {
        self.answer().await.map(|()| Claim::Held)
    }

    async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<(AggregateId, StoredAggregate)>, LedgerError> {
        self.answer().await.map(|()| Vec::new())
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.answer().await
    }
}

fn limits() -> GuardLimits {
    GuardLimits {
        call_time: 3 * SECOND,
        calls_at_once: 4,
        waiting_time: 5 * SECOND,
        breaker: BreakerLimits { failures: 3, open_for: 10 * SECOND, trials: 1 },
    }
}

fn guarded(ledger: &Arc<Slow>) -> (Guarded<Arc<Slow>>, Arc<Guard>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let guard = Arc::new(Guard::new(Dependency::DynamoDb, limits(), metrics.clone()));
    (Guarded::new(ledger.clone(), guard.clone()), guard, metrics)
}

fn away() -> Result<(), LedgerError> {
    Err(LedgerError::Unavailable("throttled".into()))
}

#[tokio::test(start_paused = true)]
async fn calls_that_their_callers_give_up_open_the_circuit_only_where_they_had_waited_for_long() {
    for (patience, expected) in [(SECOND / 2, CircuitState::Closed), (SECOND, CircuitState::Open)] {
        let (ledger, guard, _) = guarded(&Slow::new(4 * SECOND, Ok(())));
        for _ in 0..limits().breaker.failures {
            timeout(patience, ledger.load(&[], &[])).await.unwrap_err();
        }
        let Circuit { state, reason, .. } = guard.circuit();
        assert_eq!(state, expected, "{patience:?}");
        let told =
            reason.is_some_and(|reason| reason.ends_with("; the last one: DynamoDB had not answered after 1.0 s"));
        assert_eq!(told, expected == CircuitState::Open, "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_too_long_is_uncertain_and_a_question_unavailable() {
    let (ledger, ..) = guarded(&Slow::new(4 * SECOND, Ok(())));
    let began = Instant::now();
    let committed = ledger.commit(Commit::default()).await;
    assert!(matches!(&committed, Err(LedgerError::Uncertain(why)) if why.contains("within 3 s")), "{committed:?}");
    assert_eq!(began.elapsed(), 3 * SECOND);
    let key = KeyId::of("acme", "training", uuid::Uuid::nil());
    let counted = ledger.count_attempt(&key, 0).await;
    assert!(matches!(counted, Err(LedgerError::Uncertain(_))), "{counted:?}");
    let loaded = ledger.load(&[], &[]).await;
    assert!(matches!(loaded, Err(LedgerError::Unavailable(_))), "{loaded:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_allowed_are_under_way_and_the_others_wait_their_turn() {
    let slow = Slow::new(2 * SECOND, Ok(()));
    let (ledger, ..) = guarded(&slow);
    let answers = join_all((0..12).map(|_| ledger.ping())).await;
    assert_eq!(slow.most_under_way.load(SeqCst), 4);
    assert_eq!(answers, vec![Ok(()); 12]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_does_not_come_is_not_made_and_opens_nothing() {
    let slow = Slow::new(Duration::from_millis(2_900), Ok(()));
    let (ledger, guard, _) = guarded(&slow);
    let answers = join_all((0..12).map(|_| ledger.commit(Commit::default()))).await;
    let (made, rest): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), slow.calls.load(SeqCst)), (8, 8));
    for answer in rest {
        assert!(
            matches!(&answer, Err(LedgerError::Unavailable(why)) if why.contains("4 calls to DynamoDB")),
            "{answer:?}"
        );
    }
    assert_eq!(guard.circuit().state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn after_failures_in_a_row_no_call_is_made_until_one_is_let_through() {
    let slow = Slow::new(SECOND, away());
    let (ledger, guard, metrics) = guarded(&slow);
    let gauge = |state: i64| {
        let line = format!(r#"lyceum_circuit_state{{dependency="dynamodb"}} {state}"#);
        assert!(metrics.encode().lines().any(|found| found == line), "{line} is not in {}", metrics.encode());
    };
    gauge(0);
    for _ in 0..3 {
        assert_eq!(ledger.ping().await, away());
    }
    gauge(2);
    let began = Instant::now();
    let answer = ledger.commit(Commit::default()).await;
    assert_eq!((began.elapsed(), slow.calls.load(SeqCst)), (Duration::ZERO, 3));
    let Err(LedgerError::Unavailable(why)) = &answer else { panic!("{answer:?}") };
    for part in ["the circuit to DynamoDB", "open for 0.0 s", "3 failures in a row", "again in 10.0 s"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(guard.circuit().reason.as_ref(), Some(why));

    sleep(10 * SECOND).await;
    slow.becomes(SECOND, Ok(()));
    let (trial, beside) = join(ledger.ping(), ledger.ping()).await;
    assert_eq!((trial, slow.calls.load(SeqCst)), (Ok(()), 4));
    assert!(
        matches!(&beside, Err(LedgerError::Unavailable(why)) if why.contains("one call is under way")),
        "{beside:?}"
    );
    assert_eq!(
        guard.circuit(),
        Circuit { dependency: Dependency::DynamoDb, state: CircuitState::Closed, reason: None }
    );
    gauge(0);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_fails_opens_the_circuit_for_another_while() {
    let slow = Slow::new(SECOND, away());
    let (ledger, guard, _) = guarded(&slow);
    for _ in 0..3 {
        let _ = ledger.ping().await;
    }
    sleep(10 * SECOND).await;
    assert_eq!(ledger.ping().await, away());
    let reason = guard.circuit().reason.unwrap();
    assert!(reason.contains("open for 11.0 s, after 4 failures") && reason.contains("again in 10.0 s"), "{reason}");
    assert!(reason.ends_with("; the last one: the ledger is unavailable: throttled"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_caller_gives_up_makes_room_for_another() {
    let slow = Slow::new(SECOND, away());
    let (ledger, guard, _) = guarded(&slow);
    for _ in 0..3 {
        let _ = ledger.ping().await;
    }
    sleep(10 * SECOND).await;
    slow.becomes(2 * SECOND, Ok(()));
    assert!(timeout(SECOND / 2, ledger.ping()).await.is_err());
    assert_eq!(guard.circuit().state, CircuitState::HalfOpen);
    assert_eq!(ledger.ping().await, Ok(()));
    assert_eq!(guard.circuit().state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_one_call_and_conflicts_are_answers_and_open_nothing() {
    for answer in [LedgerError::Conflict, LedgerError::Refused("too large".into())] {
        let (ledger, guard, _) = guarded(&Slow::new(SECOND, Err(answer.clone())));
        for _ in 0..20 {
            assert_eq!(ledger.commit(Commit::default()).await, Err(answer.clone()));
        }
        assert_eq!(guard.circuit().state, CircuitState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_and_a_refusal_that_every_call_meets_open_the_circuit() {
    for answer in [LedgerError::Uncertain("the connection broke".into()), LedgerError::Unusable("no table".into())] {
        let (ledger, guard, _) = guarded(&Slow::new(SECOND, Err(answer.clone())));
        for _ in 0..3 {
            assert_eq!(ledger.commit(Commit::default()).await, Err(answer.clone()));
        }
        assert_eq!(guard.circuit().state, CircuitState::Open);
        // From now on it may pass: the batch waits and is redelivered, and no record's attempt is spent.
        let kept = ledger.commit(Commit::default()).await.unwrap_err();
        assert!(kept.is_transient() && kept.to_string().contains(&answer.to_string()), "{kept}");
    }
}

#[test]
fn a_refusal_counts_where_every_record_meets_it_and_not_where_somebody_asked_for_something_wrong() {
    let (store, search) = (Call::write("statements", "store"), Call::read("statements", "search"));
    let refused = StatementsError::Refused("the credentials are not accepted".into());
    assert!(refused.is_refusal_of_all(store) && !refused.is_refusal_of_all(search));
    assert!(!StatementsError::Unavailable("away".into()).is_refusal_of_all(store), "that is an outage");
    let (produce, fetch) = (Call::write("event_log", "produce"), Call::read("event_log", "fetch"));
    for refused in [EventLogError::Unauthorized("no grant".into()), EventLogError::UnknownTopic("t".into())] {
        assert!(refused.is_refusal_of_all(produce) && !refused.is_refusal_of_all(fetch), "{refused}");
    }
    assert!(!EventLogError::TooLarge { bytes: 2, limit_bytes: 1 }.is_refusal_of_all(produce));
    assert!(!LedgerError::Refused("an item of a newer schema".into()).is_refusal_of_all(Call::read("ledger", "load")));
}

#[tokio::test(start_paused = true)]
async fn a_slow_dependency_takes_no_time_of_another() {
    let metrics = Arc::new(Metrics::new());
    let guard = |dependency| Arc::new(Guard::new(dependency, limits(), metrics.clone()));
    let hangs = Slow::new(3_600 * SECOND, Ok(()));
    let ledger = Guarded::new(hangs.clone(), guard(Dependency::DynamoDb));
    let statements = Arc::new(MemoryStatements::new(|left, right| left == right));
    let statements = Guarded::new(statements, guard(Dependency::Elasticsearch));
    let began = Instant::now();
    let hanging = join_all((0..100).map(|_| ledger.ping()));
    let answering = async {
        for _ in 0..100 {
            assert_eq!(statements.ping().await, Ok::<_, StatementsError>(()));
        }
        began.elapsed()
    };
    let (hung, took) = join(hanging, answering).await;
    assert_eq!(took, Duration::ZERO);
    assert!(hung.iter().all(|answer| matches!(answer, Err(LedgerError::Unavailable(_)))));
    // The first four hang until their limit; then the circuit is open, and nobody else waits at all.
    assert_eq!((began.elapsed(), hangs.calls.load(SeqCst)), (3 * SECOND, 4));
}
