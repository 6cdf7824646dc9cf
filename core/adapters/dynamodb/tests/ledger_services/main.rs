//! The ledger on a DynamoDB behind a network: its contract, every way to fail told apart, and what a batch asks.
//!
//! Each test has a table of its own, and deletes it.

use std::collections::VecDeque;
use std::env;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use bytes::Bytes;
use futures::FutureExt;
use lyceum_around::guarded::{Dependency, Guard, GuardLimits, Guarded};
use lyceum_core::clock::ms_since_1970;
use lyceum_core::environment::Reading;
use lyceum_core::metrics::Metrics;
use lyceum_core::ports::ledger::{
    AggregateId, AggregateWrite, Commit, Content, KeyExpectation, KeyId, KeyStatus, KeyWrite, Ledger, LedgerError,
    StoredKey,
};
use lyceum_core::record::Position;
use lyceum_dynamodb::{DynamoDbLedger, DynamoDbSettings, LedgerOptions, Operation};
use lyceum_proxies::http::{Act, HttpProxy};
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_testing::clock::ManualClock;
use serde_json::Value;
use uuid::Uuid;

const NEEDS: &[Service] = &[Service::DynamoDb];

/// The child's side of [`from_the_environment`].
const CHILD: &str = "LYCEUM_LEDGER_SERVICES_CHILD";

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        return connect_as_the_environment_says();
    }
    let mut suite = Suite::default();
    for (name, check) in lyceum_testing::ledger_contract!(as list) {
        suite.test(format!("contract::{name}"), NEEDS, move |endpoints| {
            run(endpoints, async move |at| check(&at.ledger(patient())).await);
        });
        suite.test(format!("contract::guarded::{name}"), NEEDS, move |endpoints| {
            run(endpoints, async move |at| {
                let ledger = Arc::new(at.ledger(patient()));
                let guard = Guard::new(Dependency::DynamoDb, GuardLimits::default(), Arc::new(Metrics::new()));
                check(&Guarded::new(ledger, Arc::new(guard))).await;
            });
        });
    }
    macro_rules! tests {
        ($($test:ident),* $(,)?) => {$(
            suite.test(stringify!($test), NEEDS, |endpoints| run(endpoints, $test));
        )*};
    }
    tests![
        every_answer_of_aws_is_told_apart,
        of_a_cancelled_transactions_reasons_the_mildest_decides,
        what_no_repetition_mends_says_what_to_do,
        a_table_that_is_absent_is_refused_with_how_to_make_it,
        a_lost_answer_leaves_a_write_uncertain_and_the_next_look_tells,
        a_transaction_whose_answer_was_lost_is_repeated_and_done_once,
        a_single_write_whose_answer_was_lost_is_not_repeated,
        throttling_that_passes_is_waited_out,
        a_port_where_nobody_listens_is_unavailable_at_once,
        what_a_batch_leaves_unread_is_asked_for_again_after_a_wait,
        a_batch_of_a_hundred_events_asks_twice_and_writes_in_few_transactions,
        an_open_circuit_asks_nothing,
        from_the_environment,
    ];
    suite.run()
}

/// So much time that a busy machine makes nothing uncertain.
fn patient() -> LedgerOptions {
    const LONG: Duration = Duration::from_secs(60);
    LedgerOptions { call_timeout: LONG, connect_timeout: LONG, ..LedgerOptions::default() }
}

/// Where a test works.
struct At {
    url: String,
    table: String,
    clock: Arc<ManualClock>,
}

impl At {
    fn settings(&self) -> DynamoDbSettings {
        let variable = |name: &str| match name {
            "AWS_ENDPOINT_URL_DYNAMODB" => Some(self.url.clone()),
            "DYNAMODB_TABLE" => Some(self.table.clone()),
            _ => None,
        };
        let mut reading = Reading::new(&variable);
        let settings = DynamoDbSettings::read(&mut reading);
        reading.finish(settings).unwrap()
    }

    fn shared(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(lyceum_aws::https_client())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.url)
            .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .build()
    }

    fn ledger(&self, options: LedgerOptions) -> DynamoDbLedger {
        DynamoDbLedger::new(&Client::new(&self.shared()), self.table.as_str(), options, self.clock.clone())
    }

    /// A ledger behind a proxy; so many attempts are made of a call.
    async fn behind_a_proxy(&self, attempts: u32) -> (DynamoDbLedger, Scripted) {
        let proxy = Scripted::before(&self.url).await;
        let near = At { url: proxy.proxy.url().to_owned(), table: self.table.clone(), clock: self.clock.clone() };
        (near.ledger(LedgerOptions { attempts, ..patient() }), proxy)
    }
}

/// It waits for nothing. Its time is the service's, which deletes what has expired.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(ms_since_1970(SystemTime::now())))
}

/// Runs a test on a table of its own, and deletes the table whatever happens.
fn run(endpoints: &Endpoints, test: impl AsyncFnOnce(&At)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let url = endpoints.url(Service::DynamoDb).to_owned();
    let at = At { url, table: format!("lyceum-test-{}", Uuid::new_v4()), clock: clock() };
    runtime.block_on(async {
        let ledger = DynamoDbLedger::connect_with(&at.shared(), &at.settings(), at.clock.clone()).unwrap();
        ledger.ensure_table().await.unwrap();
        let ended = AssertUnwindSafe(test(&at)).catch_unwind().await;
        let deleted = Client::new(&at.shared()).delete_table().table_name(&at.table).send().await;
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
        deleted.unwrap();
    });
}

/// A proxy that does to the next requests what it is told, one each, and then nothing any more.
struct Scripted {
    proxy: HttpProxy,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    acts: VecDeque<Act>,
    /// Operation and body of each request.
    asked: Vec<(String, Value)>,
}

impl Scripted {
    async fn before(url: &str) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let played = script.clone();
        let proxy = HttpProxy::to(url, move |asked, _| {
            let mut script = played.lock().unwrap();
            script.asked.push((asked.operation().to_owned(), serde_json::from_slice(asked.body).unwrap_or_default()));
            script.acts.pop_front().unwrap_or(Act::Pass)
        });
        Self { proxy: proxy.await.unwrap(), script }
    }

    fn script(&self, acts: impl IntoIterator<Item = Act>) {
        *self.script.lock().unwrap() = Script { acts: acts.into_iter().collect(), asked: Vec::new() };
    }

    /// What was asked since the last script.
    fn asked(&self) -> Vec<(String, Value)> {
        self.script.lock().unwrap().asked.clone()
    }
}

fn new_key() -> KeyId {
    KeyId::of("acme", "training", Uuid::new_v4())
}

fn keys(count: usize) -> Vec<KeyId> {
    (0..count).map(|_| new_key()).collect()
}

fn commit_of(keys: &[KeyId]) -> Commit {
    let key = StoredKey {
        status: KeyStatus::Applied,
        epoch: 0,
        content_hash: [7; 32],
        source: Position::new("charter.training", 0, 7),
        recording: Bytes::from_static(b"{\"s\":1700000000123}"),
    };
    let write = |id: &KeyId| KeyWrite { id: id.clone(), expected: KeyExpectation::Absent, key: key.clone() };
    Commit { aggregates: Vec::new(), keys: keys.iter().map(write).collect() }
}

fn program(id: usize) -> AggregateId {
    AggregateId { tenant: "acme".into(), kind: "program".into(), id: id.to_string().into() }
}

async fn are_there(ledger: &DynamoDbLedger, keys: &[KeyId]) -> Vec<bool> {
    ledger.load(&[], keys).await.unwrap().keys.iter().map(Option::is_some).collect()
}

/// The variant alone.
fn kind<T>(result: &Result<T, LedgerError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(LedgerError::Conflict) => "conflict",
        Err(LedgerError::Uncertain(_)) => "uncertain",
        Err(LedgerError::Unavailable(_)) => "unavailable",
        Err(LedgerError::Refused(_)) => "refused",
        Err(LedgerError::Unusable(_)) => "unusable",
    }
}

const DYNAMODB: &str = "com.amazonaws.dynamodb.v20120810";
const CORAL: &str = "com.amazon.coral.service";

/// Shapes and words: DynamoDB Developer Guide, "Error handling"; API Reference, "Common errors".
async fn every_answer_of_aws_is_told_apart(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(1).await;
    let error = |status, namespace: &str, name: &str, message: &str| {
        (name.to_owned(), Act::error(status, &format!("{namespace}#{name}"), message))
    };
    for ((name, fault), reads, writes) in [
        (
            error(
                400,
                DYNAMODB,
                "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded. \
                 Consider increasing your provisioning level with the UpdateTable API.",
            ),
            "unavailable",
            "unavailable",
        ),
        (
            error(
                400,
                "com.amazon.coral.availability",
                "ThrottlingException",
                "Rate of requests exceeds the allowed throughput.",
            ),
            "unavailable",
            "unavailable",
        ),
        (
            error(
                400,
                DYNAMODB,
                "RequestLimitExceeded",
                "Throughput exceeds the current throughput limit for your account.",
            ),
            "unavailable",
            "unavailable",
        ),
        (
            error(400, CORAL, "ExpiredTokenException", "The security token included in the request is expired"),
            "unavailable",
            "unavailable",
        ),
        (
            error(400, DYNAMODB, "TransactionConflictException", "Transaction is ongoing for the item"),
            "unavailable",
            "conflict",
        ),
        (
            error(400, DYNAMODB, "ConditionalCheckFailedException", "The conditional request failed"),
            "unavailable",
            "conflict",
        ),
        (
            error(400, DYNAMODB, "TransactionInProgressException", "Transaction token is in progress"),
            "unavailable",
            "uncertain",
        ),
        (error(500, DYNAMODB, "InternalServerError", "Internal server error"), "unavailable", "uncertain"),
        (("503".to_owned(), Act::Answer(503, "Service Unavailable".to_owned())), "unavailable", "uncertain"),
        (
            ("garbage".to_owned(), Act::Answer(200, "<html>Welcome to the hotel</html>".to_owned())),
            "unavailable",
            "uncertain",
        ),
        (
            error(
                400,
                "com.amazon.coral.validate",
                "ValidationException",
                "Item size has exceeded the maximum allowed size",
            ),
            "refused",
            "refused",
        ),
        (
            error(400, DYNAMODB, "ItemCollectionSizeLimitExceededException", "Collection size exceeded"),
            "refused",
            "refused",
        ),
    ] {
        let written = keys(3);
        proxy.script([fault.clone(), fault.clone(), fault.clone()]);
        assert_eq!(kind(&ledger.ping().await), reads, "GetItem, {name}");
        assert_eq!(kind(&ledger.commit(commit_of(&written[..1])).await), writes, "PutItem, {name}");
        assert_eq!(kind(&ledger.commit(commit_of(&written[1..])).await), writes, "TransactWriteItems, {name}");
        let asked: Vec<_> = proxy.asked().into_iter().map(|(operation, _)| operation).collect();
        assert_eq!(asked, ["GetItem", "PutItem", "TransactWriteItems"], "{name}");
        assert_eq!(are_there(&ledger, &written).await, [false; 3], "{name}");
        // Nothing of it stays: the very same is written now.
        assert_eq!(ledger.commit(commit_of(&written)).await, Ok(()), "{name}");
    }
}

async fn of_a_cancelled_transactions_reasons_the_mildest_decides(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(1).await;
    for (reasons, expected) in [
        (&["None", "ConditionalCheckFailed"], "conflict"),
        (&["TransactionConflict", "None"], "conflict"),
        (&["ThrottlingError", "None"], "unavailable"),
        (&["None", "ProvisionedThroughputExceeded"], "unavailable"),
        (&["ItemCollectionSizeLimitExceeded", "None"], "refused"),
        (&["ValidationError", "None"], "refused"),
        (&["ValidationError", "ConditionalCheckFailed"], "conflict"),
        (&["ThrottlingError", "TransactionConflict"], "conflict"),
        (&["ValidationError", "ThrottlingError"], "unavailable"),
    ] {
        proxy.script([Act::cancelled(reasons)]);
        assert_eq!(kind(&ledger.commit(commit_of(&keys(2))).await), expected, "{reasons:?}");
    }
    // The same from the service itself, of the condition that failed.
    let written = keys(2);
    proxy.script([]);
    assert_eq!(ledger.commit(commit_of(&written[..1])).await, Ok(()));
    assert_eq!(ledger.commit(commit_of(&written)).await, Err(LedgerError::Conflict));
    assert_eq!(ledger.commit(commit_of(&written[..1])).await, Err(LedgerError::Conflict));
}

async fn what_no_repetition_mends_says_what_to_do(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(4).await;
    let denied = "User: arn:aws:sts::123456789012:assumed-role/lyceum/training is not authorized to perform: \
                  dynamodb:PutItem on resource: arn:aws:dynamodb:eu-central-1:123456789012:table/lyceum because no \
                  identity-based policy allows the dynamodb:PutItem action";
    for (kind, message, words) in [
        ("AccessDeniedException", denied, &["dynamodb:PutItem on resource", "allow dynamodb:GetItem", &at.table][..]),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            &["is invalid", "check the credentials"],
        ),
        (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
            &["signature", "clock"],
        ),
    ] {
        proxy.script([Act::error(400, &format!("{CORAL}#{kind}"), message)]);
        let Err(LedgerError::Unusable(reason)) = ledger.commit(commit_of(&keys(1))).await else {
            panic!("{kind} lets nothing be used");
        };
        assert_eq!(proxy.asked().len(), 1, "{kind} is not asked again");
        for word in [kind].iter().chain(words) {
            assert!(reason.contains(word), "{word:?} is not in {reason}");
        }
    }
}

async fn a_table_that_is_absent_is_refused_with_how_to_make_it(at: &At) {
    let absent = At { table: format!("{}-absent", at.table), url: at.url.clone(), clock: at.clock.clone() };
    let ledger = absent.ledger(patient());
    for result in [
        ledger.ping().await,
        ledger.commit(commit_of(&keys(1))).await,
        ledger.commit(commit_of(&keys(2))).await,
        ledger.load(&[program(1)], &keys(3)).await.map(drop),
    ] {
        let Err(LedgerError::Unusable(reason)) = &result else { panic!("{result:?}") };
        for word in ["ResourceNotFoundException", &absent.table, "create the table", "region"] {
            assert!(reason.contains(word), "{word:?} is not in {reason}");
        }
    }
}

/// What became of a write can only be seen in the table.
async fn a_lost_answer_leaves_a_write_uncertain_and_the_next_look_tells(at: &At) {
    let (proxied, proxy) = at.behind_a_proxy(1).await;
    let hasty = At { url: proxy.proxy.url().to_owned(), table: at.table.clone(), clock: at.clock.clone() };
    let short = LedgerOptions { attempts: 1, call_timeout: Duration::from_millis(300), ..patient() };
    let hasty = hasty.ledger(short);
    for (ledger, fault, happened) in [
        (&proxied, Act::ResetBefore, false),
        (&proxied, Act::ResetAfter, true),
        (&proxied, Act::HalfAnAnswer, true),
        (&hasty, Act::Silent, false),
        (&hasty, Act::SilentAfter, true),
    ] {
        let written = keys(3);
        proxy.script([fault.clone(), fault.clone(), fault.clone()]);
        assert_eq!(kind(&ledger.commit(commit_of(&written[..1])).await), "uncertain", "PutItem, {fault:?}");
        assert_eq!(kind(&ledger.commit(commit_of(&written[1..])).await), "uncertain", "transaction, {fault:?}");
        assert_eq!(kind(&ledger.ping().await), "unavailable", "{fault:?}");
        assert_eq!(are_there(&proxied, &written).await, [happened; 3], "{fault:?}");
    }
}

async fn a_transaction_whose_answer_was_lost_is_repeated_and_done_once(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(3).await;
    for fault in [Act::ResetBefore, Act::ResetAfter] {
        let id = program(usize::from(matches!(fault, Act::ResetAfter)));
        let content = Some(Content::of("{}"));
        let mut commit = commit_of(&keys(1));
        commit.aggregates.push(AggregateWrite { id: id.clone(), expected: None, content });
        proxy.script([fault.clone()]);
        assert_eq!(ledger.commit(commit).await, Ok(()), "{fault:?}");
        let tokens: Vec<_> = proxy.asked().iter().map(|(_, body)| body["ClientRequestToken"].clone()).collect();
        assert!(tokens.len() == 2 && tokens[0].is_string() && tokens[0] == tokens[1], "{tokens:?}");
        let stored = ledger.load(&[id], &[]).await.unwrap().aggregates.remove(0).unwrap();
        assert_eq!(stored.version, 1, "{fault:?}");
    }
}

async fn a_single_write_whose_answer_was_lost_is_not_repeated(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(3).await;
    let key = new_key();
    proxy.script([Act::ResetAfter, Act::ResetAfter]);
    assert_eq!(kind(&ledger.commit(commit_of(std::slice::from_ref(&key))).await), "uncertain");
    assert_eq!(kind(&ledger.count_attempt(&key, 0).await), "uncertain");
    assert_eq!(proxy.asked().len(), 2);
    assert_eq!(ledger.count_attempt(&key, 0).await, Ok(2), "the attempt was counted once, and now again");
}

async fn throttling_that_passes_is_waited_out(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(3).await;
    let throttled = Act::error(400, &format!("{DYNAMODB}#ProvisionedThroughputExceededException"), "exceeded");
    for written in [keys(1), keys(2)] {
        at.clock.take_slept();
        proxy.script([throttled.clone(), throttled.clone()]);
        assert_eq!(ledger.commit(commit_of(&written)).await, Ok(()));
        assert_eq!(proxy.asked().len(), 3);
        let waits = at.clock.take_slept();
        assert!(waits.len() == 2 && waits[0] < waits[1], "{waits:?}");
    }
    proxy.script([throttled.clone(), throttled.clone(), throttled]);
    assert_eq!(kind(&ledger.commit(commit_of(&keys(2))).await), "unavailable");
}

async fn a_port_where_nobody_listens_is_unavailable_at_once(at: &At) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nowhere = At { url, table: at.table.clone(), clock: at.clock.clone() };
    let ledger = nowhere.ledger(patient());
    for result in
        [ledger.ping().await, ledger.commit(commit_of(&keys(1))).await, ledger.commit(commit_of(&keys(2))).await]
    {
        assert_eq!(kind(&result), "unavailable", "{result:?}");
    }
}

async fn what_a_batch_leaves_unread_is_asked_for_again_after_a_wait(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(3).await;
    let written = keys(100);
    ledger.commit(commit_of(&written)).await.unwrap();
    at.clock.take_slept();
    proxy.script([Act::PartOfBatch(40), Act::PartOfBatch(0), Act::PartOfBatch(30)]);
    assert_eq!(are_there(&ledger, &written).await, [true; 100]);
    let sizes: Vec<_> = proxy
        .asked()
        .iter()
        .map(|(_, body)| body["RequestItems"][&at.table]["Keys"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(sizes, [100, 60, 60, 30]);
    let waits = at.clock.take_slept();
    assert!(waits.len() == 3 && waits.iter().all(|wait| !wait.is_zero()), "{waits:?}");

    proxy.script(vec![Act::PartOfBatch(0); 10]);
    let result = ledger.load(&[], &written).await.map(drop);
    assert!(matches!(&result, Err(LedgerError::Unavailable(why)) if why.contains("100 of 100")), "{result:?}");
    assert!(proxy.asked().len() < 10);
}

/// 100 events of 40 aggregates: two questions, and one transaction for as many as it takes.
async fn a_batch_of_a_hundred_events_asks_twice_and_writes_in_few_transactions(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(3).await;
    let (ids, written): (Vec<_>, _) = ((0..40).map(program).collect(), keys(100));
    proxy.script([]);
    ledger.load(&ids, &written).await.unwrap();
    let content = Some(Content::of("{}"));
    let write = |id: &AggregateId| AggregateWrite { id: id.clone(), expected: None, content: content.clone() };
    let mut first = commit_of(&written[..60]);
    first.aggregates = ids.iter().map(write).collect();
    ledger.commit(first).await.unwrap();
    ledger.commit(commit_of(&written[60..])).await.unwrap();
    let asked: Vec<_> = proxy.asked().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(asked, ["BatchGetItem", "BatchGetItem", "TransactWriteItems", "TransactWriteItems"]);
    let of_training = &ledger.capacity_by_family()["training"];
    assert_eq!(*of_training, ledger.capacity());
    assert_eq!(of_training.of(Operation::BatchGetItem).calls, 2);
}

async fn an_open_circuit_asks_nothing(at: &At) {
    let (ledger, proxy) = at.behind_a_proxy(1).await;
    let guard = Arc::new(Guard::new(Dependency::DynamoDb, GuardLimits::default(), Arc::new(Metrics::new())));
    let ledger = Guarded::new(Arc::new(ledger), guard.clone());
    let failures = GuardLimits::default().breaker.failures as usize;
    proxy.script(vec![Act::ResetBefore; failures]);
    for _ in 0..failures {
        assert_eq!(kind(&ledger.commit(commit_of(&keys(2))).await), "uncertain");
    }
    let refused = ledger.commit(commit_of(&keys(2))).await;
    assert!(
        matches!(&refused, Err(LedgerError::Unavailable(why)) if why.contains("the circuit to DynamoDB")),
        "{refused:?}"
    );
    assert_eq!(proxy.asked().len(), failures);
    assert!(guard.circuit().reason.is_some());
}

/// Table, endpoint, region and credentials from the environment, as in a deployment; a process of its own, since a
/// process has one environment.
async fn from_the_environment(at: &At) {
    let exe = env::current_exe().unwrap();
    let connect = |region: Option<&str>| {
        let mut child = Command::new(&exe);
        child.env_clear().env(CHILD, "1").envs([
            ("AWS_ENDPOINT_URL_DYNAMODB", at.url.as_str()),
            ("DYNAMODB_TABLE", &at.table),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        child.envs(region.map(|region| ("AWS_REGION", region)));
        let output = child.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(connect(Some("us-east-1")), (true, "the ledger answers\n".to_owned()));
    let (succeeded, said) = connect(None);
    assert!(!succeeded && said.contains("AWS_REGION"), "{said}");
}

fn connect_as_the_environment_says() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let variable = |name: &str| env::var(name).ok();
        let mut reading = Reading::new(&variable);
        let settings = DynamoDbSettings::read(&mut reading);
        let settings = reading.finish(settings).map_err(|wrong| wrong.to_string())?;
        let ledger = DynamoDbLedger::connect(&settings, clock()).await;
        ledger.map_err(|error| error.to_string())?.ping().await.map_err(|error| error.to_string())
    });
    match answer {
        Ok(()) => {
            println!("the ledger answers");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
