//! The fault matrix: what production does to a deployment, provoked against real servers, and counted afterwards.
//!
//! Each test is a row of the table in docs/reliability.md, which the run prints and writes to `fault-matrix.md` in the
//! target folder's `tmp`. The first row of each kind of fault runs always, the others with `LYCEUM_FAULTS=all`.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lyceum_faults::connect::{BROKER_SECRET, SEARCH_SECRET};
use lyceum_faults::count::Difference;
use lyceum_faults::extent;
use lyceum_faults::stand::{Rules, Servers, Stand, Worker};
use lyceum_faults::steps::{Release, Step};
use lyceum_faults::table::{Row, Table};
use lyceum_faults::traffic::Amount;
use lyceum_faults::worker::{Order, Planted};
use lyceum_proxies::http::{Act, ProxiedRequest, Rule, throttled, too_many_requests, transaction_throttled};
use lyceum_proxies::tcp::{Line, TcpProxy};
use lyceum_services::{Endpoints, PrivateService, Service, Suite, change_password, private};
use serde_json::{Value, json};

/// Families that keep state.
const STATES: &[&str] = &["training", "survey"];
/// The family that keeps none.
const STATEMENTS: &[&str] = &["statement"];
const ALL: &[&str] = &["training", "survey", "statement"];

const NEEDS: &[Service] = &[Service::Kafka, Service::DynamoDb, Service::Elasticsearch];

/// With what producers get wrong at any time.
const fn amount(statements: usize, histories: usize) -> Amount {
    Amount { statements, histories, poison_each: Some(1_000), duplicate_each: Some(50), illegal_each: Some(10) }
}

/// The same of a row whose fault lasts as long as the row: where not everything runs, fewer records show it as well.
fn throughout(statements: usize, histories: usize) -> Amount {
    let part = if extent::is_everything() { 1 } else { 4 };
    amount(statements / part, histories / part)
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/fault-matrix.md")));

pub(crate) fn add(suite: &mut Suite) {
    let mut matrix = Matrix { suite, all: extent::is_everything(), kinds: HashSet::new(), left_out: 0 };
    workers_die(&mut matrix);
    kafka_fails(&mut matrix);
    dynamodb_fails(&mut matrix);
    elasticsearch_fails(&mut matrix);
    workers_meet(&mut matrix);
    containers_work(&mut matrix);
    credentials_rotate(&mut matrix);
    senders_and_clocks_err(&mut matrix);
    the_matrix_can_fail(&mut matrix);
    if matrix.left_out > 0 {
        let (rows, variable) = (matrix.left_out, extent::VARIABLE);
        eprintln!("the fault matrix: a row of each kind; {rows} more rows run with {variable}=all");
    }
}

/// What goes wrong, whatever it happens to.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    Nothing,
    WorkerDies,
    ServiceDies,
    ServiceRefuses,
    ServiceThrottles,
    AnswersLate,
    TakesAPart,
    TakesNoWrites,
    CannotPoll,
    LineIsCut,
    LineIsSilent,
    LineIsSlow,
    PartitionsMove,
    DeliveredTwiceAtOnce,
    ContainersMove,
    ContainerDies,
    HandOver,
    TwoReleases,
    CredentialsRotate,
    Poison,
    ClockJumps,
    Defect,
}

struct Matrix<'a> {
    suite: &'a mut Suite,
    all: bool,
    kinds: HashSet<Kind>,
    left_out: usize,
}

impl Matrix<'_> {
    /// The suite, where a row of this kind is to run.
    fn of(&mut self, kind: Kind) -> Option<&mut Suite> {
        if self.kinds.insert(kind) || self.all {
            return Some(self.suite);
        }
        self.left_out += 1;
        None
    }
}

/// What a row is about.
struct About {
    fault: &'static str,
    families: &'static [&'static str],
    amount: Amount,
    rules: Rules,
}

impl About {
    fn new(fault: &'static str, families: &'static [&'static str], amount: Amount) -> Self {
        Self { fault, families, amount, rules: Rules::default() }
    }

    fn dynamodb(mut self, rule: impl Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync + 'static) -> Self {
        self.rules.dynamodb = Some(Arc::new(rule) as Rule);
        self
    }

    fn search(mut self, rule: impl Fn(&ProxiedRequest<'_>, u64) -> Act + Send + Sync + 'static) -> Self {
        self.rules.search = Some(Arc::new(rule) as Rule);
        self
    }

    async fn play(self, servers: &Servers, script: impl AsyncFnOnce(&Stand) -> Result<Vec<Worker>>) -> Result<Row> {
        let worker = env!("CARGO_BIN_EXE_fault_worker");
        let stand = Stand::open(servers, worker, self.families, self.amount, self.rules).await?;
        let _workers = script(&stand).await?;
        stand.end(self.fault).await
    }
}

fn run<T>(future: impl Future<Output = Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.expect("a runtime starts").block_on(future);
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

fn servers(endpoints: &Endpoints) -> Servers {
    Servers {
        kafka: endpoints.kafka().plaintext.clone(),
        kafka_for_workers: None,
        dynamodb: endpoints.url(Service::DynamoDb).to_owned(),
        search: endpoints.url(Service::Elasticsearch).to_owned(),
        is_alone: false,
    }
}

fn must_be_whole(row: &Row) {
    TABLE.add(row);
    let Difference { examples, .. } = &row.difference;
    assert!(row.difference.is_none(), "{}: {:#?}\n{}", row.fault, row.difference, examples.join("\n"));
}

/// A row that ends as if nothing had happened.
fn row(
    matrix: &mut Matrix<'_>,
    kind: Kind,
    name: &str,
    about: About,
    script: impl AsyncFnOnce(&Stand) -> Result<Vec<Worker>> + Send + 'static,
) {
    let Some(suite) = matrix.of(kind) else { return };
    suite.test(format!("matrix::{name}"), NEEDS, move |endpoints| {
        let row = run(about.play(&servers(endpoints), script));
        must_be_whole(&row);
    });
}

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn workers_die(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::Nothing,
        "without a fault everything is counted right",
        About::new("none", ALL, throughout(22_000, 2_000)),
        async |stand| Ok(vec![stand.start(stand.order()).await?]),
    );
    let steps = [
        (
            "a function killed before it stores anything does it all on the next delivery",
            "killed before the state",
            Step::BeforeState,
            20,
        ),
        (
            "a function killed after the state stores the statements on the next delivery",
            "killed after the state, before the statements",
            Step::AfterState,
            20,
        ),
        (
            "a function killed after the statements publishes the letters on the next delivery",
            "killed after the statements, before the letters",
            Step::AfterStatements,
            3,
        ),
        (
            "a function killed before its answer does nothing twice on the next delivery",
            "killed after everything, before the answer",
            Step::BeforeAnswer,
            3,
        ),
        (
            "a worker killed before it commits the offset does nothing twice on the next delivery",
            "killed after the answer, before the offset",
            Step::BeforeOffset,
            6,
        ),
    ];
    for (name, fault, step, nth) in steps {
        row(matrix, Kind::WorkerDies, name, About::new(fault, STATES, amount(0, 2_000)), async move |stand| {
            let worker = stand.start(stand.order().dying(step, nth)).await?;
            stand.until(1.0).await?;
            ensure!(stand.restarts() > 0, "it never came to {step:?}");
            Ok(vec![worker])
        });
    }
    row(
        matrix,
        Kind::WorkerDies,
        "a function killed while it stores statements stores each of them once",
        About::new("killed before the statements (no state)", STATEMENTS, amount(22_000, 0)),
        async |stand| {
            let worker = stand.start(stand.order().dying(Step::BeforeStatements, 12)).await?;
            stand.until(1.0).await?;
            ensure!(stand.restarts() > 0, "it never came to its statements");
            Ok(vec![worker])
        },
    );
}

fn kafka_fails(matrix: &mut Matrix<'_>) {
    let name = "matrix::a broker that is killed and comes back loses nothing and doubles nothing";
    if let Some(suite) = matrix.of(Kind::ServiceDies) {
        suite.test_private(name, &[Service::Kafka], NEEDS, kill_a_broker);
    }
    row(
        matrix,
        Kind::CannotPoll,
        "a mapping that cannot poll reads everything once it can",
        About::new(
            "Kafka refuses connections: 10 s before anything is read, and 15 s in the middle",
            ALL,
            amount(22_000, 1_000),
        ),
        async |stand| {
            stand.kafka.set(Line::Refuse);
            let worker = stand.start(stand.order()).await?;
            pause(10).await;
            ensure!(stand.delivered() == 0, "something was read: it proves nothing");
            stand.kafka.set(Line::Pass);
            stand.until(0.1).await?;
            stand.kafka.set(Line::Refuse);
            pause(15).await;
            stand.must_be_at_work().await?;
            stand.kafka.set(Line::Pass);
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::LineIsCut,
        "a line to Kafka that is silent and then cut again and again only delays",
        About::new("Kafka's line silent for 8 s, then cut every 100 ms", ALL, amount(22_000, 1_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            silent_then_cut(stand, &stand.kafka).await?;
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::LineIsSlow,
        "a slow line to Kafka only delays",
        About::new("Kafka's line slow: 20 ms and 2 MB/s", ALL, throughout(22_000, 1_000)),
        async |stand| {
            stand.kafka.set(Line::Slow { latency: Duration::from_millis(20), bytes_per_second: 2_000_000 });
            Ok(vec![stand.start(stand.order()).await?])
        },
    );
}

fn kill_a_broker(endpoints: &Endpoints) {
    let about = About::new("Kafka killed with kill -9 twice, and started again", ALL, amount(22_000, 1_000));
    let broker = private(Service::Kafka).unwrap_or_else(|error| panic!("{error:?}"));
    let servers = Servers { kafka: broker.endpoint().to_owned(), ..servers(endpoints) };
    // It has to answer until everything is counted.
    let broker = Arc::new(Mutex::new(broker));
    let killed = broker.clone();
    let row = run(about.play(&servers, async move |stand| {
        let worker = stand.start(stand.order()).await?;
        for share in [0.2, 0.6] {
            stand.until(share).await?;
            stand.must_be_at_work().await?;
            kill_for(&killed, Duration::from_secs(5)).await?;
        }
        Ok(vec![worker])
    }));
    must_be_whole(&row);
    drop(broker);
}

/// `kill -9`, and a start after that time.
async fn kill_for(broker: &Arc<Mutex<PrivateService>>, time: Duration) -> Result<()> {
    let broker = broker.clone();
    tokio::task::spawn_blocking(move || {
        let mut broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.kill()?;
        std::thread::sleep(time);
        broker.start()
    })
    .await?
}

/// No byte for 8 s; then no connection lasts for more than 100 ms, for 3 s.
async fn silent_then_cut(stand: &Stand, line: &TcpProxy) -> Result<()> {
    line.set(Line::Silent);
    pause(8).await;
    line.set(Line::Pass);
    line.cut();
    stand.must_be_at_work().await?;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        line.cut();
    }
    Ok(())
}

/// No byte for 15 s, three times what a function may take: each invocation answers by itself.
async fn silent_for_long(stand: &Stand, line: &TcpProxy) -> Result<Vec<Worker>> {
    let worker = stand.start(Order { function_timeout_ms: 5_000, ..stand.order() }).await?;
    stand.until(0.1).await?;
    line.set(Line::Silent);
    pause(15).await;
    stand.must_be_at_work().await?;
    line.set(Line::Pass);
    line.cut();
    stand.until(1.0).await?;
    stand.must_have_answered_in_time()?;
    Ok(vec![worker])
}

fn dynamodb_fails(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::ServiceRefuses,
        "DynamoDB unavailable for 20 seconds only delays",
        About::new("DynamoDB refuses connections for 20 s", STATES, amount(0, 3_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            stand.dynamodb.set(Line::Refuse);
            pause(20).await;
            stand.must_be_at_work().await?;
            stand.dynamodb.set(Line::Pass);
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::ServiceThrottles,
        "a DynamoDB that throttles only delays",
        About::new("DynamoDB throttles every third request", STATES, throughout(0, 2_000)).dynamodb(|asked, number| {
            match (number % 3, asked.operation()) {
                (0, "TransactWriteItems") if number % 2 == 0 => transaction_throttled(asked.body),
                (0, _) => throttled(),
                _ => Act::Pass,
            }
        }),
        async |stand| Ok(vec![stand.start(stand.order()).await?]),
    );
    row(
        matrix,
        Kind::AnswersLate,
        "a write that DynamoDB answers after the time limit happens once",
        About::new(
            "DynamoDB answers each 5th request that writes after the time limit, though it happened",
            STATES,
            throughout(0, 2_000),
        )
        .dynamodb(|asked, number| match number % 5 {
            0 if asked.is_write() => Act::AnswerLate(Duration::from_secs(3)),
            _ => Act::Pass,
        }),
        async |stand| {
            let mut order = stand.order();
            order.addresses.dynamodb_timeout_ms = 500;
            Ok(vec![stand.start(order).await?])
        },
    );
    row(
        matrix,
        Kind::LineIsCut,
        "a line to DynamoDB that is silent and then cut again and again only delays",
        About::new("DynamoDB's line silent for 8 s, then cut every 100 ms", STATES, amount(0, 3_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            silent_then_cut(stand, &stand.dynamodb).await?;
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::LineIsSilent,
        "a DynamoDB that is silent for longer than a function may take only delays",
        About::new("DynamoDB's line silent for 15 s, where a function may take 5 s", STATES, amount(0, 3_000)),
        async |stand| silent_for_long(stand, &stand.dynamodb).await,
    );
    row(
        matrix,
        Kind::LineIsSlow,
        "a slow line to DynamoDB only delays",
        About::new("DynamoDB's line slow: 20 ms and 1 MB/s", STATES, amount(0, 1_000)),
        async |stand| {
            stand.dynamodb.set(Line::Slow { latency: Duration::from_millis(20), bytes_per_second: 1_000_000 });
            Ok(vec![stand.start(stand.order()).await?])
        },
    );
}

fn elasticsearch_fails(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::ServiceRefuses,
        "Elasticsearch unavailable for 20 seconds only delays",
        About::new("Elasticsearch refuses connections for 20 s", ALL, amount(22_000, 1_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            stand.search.set(Line::Refuse);
            pause(20).await;
            stand.must_be_at_work().await?;
            stand.search.set(Line::Pass);
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::ServiceRefuses,
        "an Elasticsearch that is unavailable for 10 minutes only delays and nothing is given up",
        About::new("Elasticsearch refuses connections for 10 minutes", ALL, amount(22_000, 1_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            stand.search.set(Line::Refuse);
            pause(600).await;
            stand.must_be_at_work().await?;
            stand.search.set(Line::Pass);
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::ServiceThrottles,
        "an Elasticsearch that answers 429 only delays",
        About::new("Elasticsearch answers every second bulk with 429", STATEMENTS, amount(22_000, 0))
            .search(|asked, number| if asked.is_bulk() && number % 2 == 0 { too_many_requests() } else { Act::Pass }),
        async |stand| Ok(vec![stand.start(stand.order()).await?]),
    );
    row(
        matrix,
        Kind::TakesAPart,
        "what is rejected of a bulk is sent again alone",
        About::new("Elasticsearch rejects half of every third bulk", ALL, throughout(22_000, 1_000))
            .search(|asked, number| if asked.is_bulk() && number % 3 == 0 { Act::HalfOfTheBulk } else { Act::Pass }),
        async |stand| Ok(vec![stand.start(stand.order()).await?]),
    );
    if let Some(suite) = matrix.of(Kind::TakesNoWrites) {
        let name = "matrix::an index that a full disk made read-only is written on when there is room again";
        suite.test(name, NEEDS, fill_the_disk);
    }
    row(
        matrix,
        Kind::LineIsCut,
        "a line to Elasticsearch that is silent and then cut again and again only delays",
        About::new("Elasticsearch's line silent for 8 s, then cut every 100 ms", ALL, amount(22_000, 1_000)),
        async |stand| {
            let worker = stand.start(stand.order()).await?;
            stand.until(0.1).await?;
            silent_then_cut(stand, &stand.search).await?;
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::LineIsSilent,
        "an Elasticsearch that is silent for longer than a function may take only delays",
        About::new("Elasticsearch's line silent for 15 s, where a function may take 5 s", ALL, amount(22_000, 1_000)),
        async |stand| silent_for_long(stand, &stand.search).await,
    );
    row(
        matrix,
        Kind::LineIsSlow,
        "a slow line to Elasticsearch only delays",
        About::new("Elasticsearch's line slow: 20 ms and 4 MB/s", STATEMENTS, amount(22_000, 0)),
        async |stand| {
            stand.search.set(Line::Slow { latency: Duration::from_millis(20), bytes_per_second: 4_000_000 });
            Ok(vec![stand.start(stand.order()).await?])
        },
    );
}

fn fill_the_disk(endpoints: &Endpoints) {
    let about = About::new("Elasticsearch's index read-only for 10 s, as by a full disk", ALL, amount(22_000, 1_000));
    let url = endpoints.url(Service::Elasticsearch).to_owned();
    let row = run(about.play(&servers(endpoints), async move |stand| {
        let worker = stand.start(stand.order()).await?;
        stand.until(0.1).await?;
        block_writes(&url, &stand.index, true).await?;
        pause(10).await;
        stand.must_be_at_work().await?;
        block_writes(&url, &stand.index, false).await?;
        Ok(vec![worker])
    }));
    must_be_whole(&row);
}

/// Source: Elasticsearch reference, "Index block settings": what the flood-stage watermark sets.
async fn block_writes(url: &str, index: &str, blocked: bool) -> Result<()> {
    let client = lyceum_https::builder().no_proxy().build()?;
    let value = if blocked { json!(true) } else { json!(null) };
    let settings = json!({"index.blocks.read_only_allow_delete": value});
    let url = format!("{}/{index}/_settings", url.trim_end_matches('/'));
    let answer = client.put(url).json(&settings).send().await?;
    ensure!(answer.status().is_success(), "the block was not set: {}", answer.text().await?);
    Ok(())
}

fn workers_meet(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::PartitionsMove,
        "partitions that move in the middle of a batch lose nothing and double nothing",
        About::new("rebalance: workers join and are killed in the middle of batches", ALL, amount(22_000, 2_000)),
        async |stand| {
            let first = stand.start(stand.order()).await?;
            stand.until(0.15).await?;
            let second = stand.start(stand.order()).await?;
            stand.until(0.4).await?;
            stand.must_be_at_work().await?;
            second.kill().await?;
            let third = stand.start(stand.order()).await?;
            stand.until(0.7).await?;
            stand.must_be_at_work().await?;
            first.kill().await?;
            Ok(vec![third])
        },
    );
    row(
        matrix,
        Kind::DeliveredTwiceAtOnce,
        "the same batches delivered to two workers at once are applied once",
        About::new("every batch delivered to two workers at once", ALL, throughout(11_000, 2_000)),
        async |stand| {
            let other = Order { group: "zombie".to_owned(), ..stand.order() };
            Ok(vec![stand.start(stand.order()).await?, stand.start(other).await?])
        },
    );
    row(
        matrix,
        Kind::TwoReleases,
        "two releases read each other's items",
        About::new("two releases at once, the next one with fields more in its items", STATES, amount(0, 3_000)),
        async |stand| {
            let next = Order { release: Release::Next, ..stand.order() };
            let (old, new) = (stand.start(stand.order()).await?, stand.start(next).await?);
            stand.until(0.5).await?;
            // A rollback: what the next release wrote is this one's now.
            new.kill().await?;
            Ok(vec![old])
        },
    );
}

/// The second kind of worker.
fn containers_work(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::HandOver,
        "a topic that moves from mappings to the container and back while both read loses nothing and doubles nothing",
        About::new("hand-over: mappings and containers in one group, each killed in turn", ALL, amount(22_000, 2_000)),
        async |stand| {
            let mappings = stand.start(stand.order()).await?;
            stand.until(0.15).await?;
            let container = stand.start(stand.order().as_container()).await?;
            stand.until(0.35).await?;
            stand.must_be_at_work().await?;
            mappings.kill().await?;
            stand.until(0.55).await?;
            let mappings = stand.start(stand.order()).await?;
            stand.until(0.75).await?;
            stand.must_be_at_work().await?;
            container.kill().await?;
            Ok(vec![mappings])
        },
    );
    row(
        matrix,
        Kind::ContainersMove,
        "containers that come and are killed in the middle of batches lose nothing and double nothing",
        About::new("rebalance: containers join and are killed in the middle of batches", ALL, amount(22_000, 2_000)),
        async |stand| {
            let order = || stand.order().as_container();
            let first = stand.start(order()).await?;
            stand.until(0.15).await?;
            let second = stand.start(order()).await?;
            stand.until(0.4).await?;
            stand.must_be_at_work().await?;
            second.kill().await?;
            let third = stand.start(order()).await?;
            stand.until(0.7).await?;
            stand.must_be_at_work().await?;
            first.kill().await?;
            Ok(vec![third])
        },
    );
    row(
        matrix,
        Kind::ContainerDies,
        "a container killed after the state and before the statements stores them on the next delivery",
        About::new("the container killed after the state, before the statements", STATES, amount(0, 2_000)),
        async |stand| {
            let worker = stand.start(stand.order().as_container().dying(Step::AfterState, 20)).await?;
            stand.until(1.0).await?;
            ensure!(stand.restarts() > 0, "it never came to its step");
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::ContainerDies,
        "a container killed before it commits does nothing twice on the next delivery",
        About::new("the container killed after everything, before the offset", ALL, amount(11_000, 1_000)),
        async |stand| {
            let worker = stand.start(stand.order().as_container().dying(Step::BeforeAnswer, 3)).await?;
            stand.until(1.0).await?;
            ensure!(stand.restarts() > 0, "it never came to its step");
            Ok(vec![worker])
        },
    );
    row(
        matrix,
        Kind::ContainerDies,
        "a container whose stores are cut off in turn only waits",
        About::new(
            "the container's DynamoDB, search and Kafka refused for 5 s each, in turn",
            ALL,
            amount(44_000, 1_000),
        ),
        async |stand| {
            let worker = stand.start(stand.order().as_container()).await?;
            for (share, line) in [(0.02, &stand.dynamodb), (0.2, &stand.search), (0.4, &stand.kafka)] {
                stand.until(share).await?;
                line.set(Line::Refuse);
                pause(5).await;
                stand.must_be_at_work().await?;
                line.set(Line::Pass);
            }
            Ok(vec![worker])
        },
    );
}

/// What the statement store takes, what the secrets hold, and how often those were read.
#[derive(Default)]
struct Access {
    accepted: String,
    key: String,
    password: String,
    readings: usize,
    refusals: usize,
}

fn credentials_rotate(matrix: &mut Matrix<'_>) {
    if let Some(suite) = matrix.of(Kind::CredentialsRotate) {
        let name = "matrix::credentials rotated on broker, store and secret only delay";
        suite.test_private(name, &[Service::Kafka], NEEDS, rotate_credentials);
    }
}

fn rotate_credentials(endpoints: &Endpoints) {
    let fault =
        "password of the broker, key of the store and their secrets changed, the secrets 3 s after the services";
    let mut about = About::new(fault, ALL, amount(40_000, 1_000));
    let broker = private(Service::Kafka).unwrap_or_else(|error| panic!("{error:?}"));
    let kafka = broker.endpoints().kafka().clone();
    let servers = Servers {
        kafka: kafka.plaintext.clone(),
        kafka_for_workers: Some(kafka.sasl_plaintext.expect("a broker of ours has it")),
        ..servers(endpoints)
    };
    let first = Access {
        accepted: "first".to_owned(),
        key: "first".to_owned(),
        password: "alice-secret".to_owned(),
        ..Access::default()
    };
    let access = Arc::new(Mutex::new(first));
    let store = access.clone();
    about = about.search(move |asked, _| {
        let mut access = store.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
        if shown == Some(&format!("ApiKey {}", access.accepted)) {
            return Act::Pass;
        }
        access.refusals += 1;
        let reason =
            json!({"type": "security_exception", "reason": "unable to authenticate with provided credentials"});
        Act::Answer(401, json!({"error": reason, "status": 401}).to_string())
    });
    let vault = access.clone();
    about.rules.secrets = Some(Arc::new(move |asked: &ProxiedRequest<'_>, _: u64| {
        let mut access = vault.lock().unwrap_or_else(PoisonError::into_inner);
        access.readings += 1;
        let question: Value = serde_json::from_slice(asked.body).unwrap_or_default();
        let held = match question["SecretId"].as_str() {
            Some(SEARCH_SECRET) => json!({"api_key": access.key}),
            Some(BROKER_SECRET) => json!({"username": "alice", "password": access.password}),
            _ => return Act::error(400, "ResourceNotFoundException", "there is no such secret"),
        };
        Act::Answer(200, json!({"ARN": question["SecretId"], "SecretString": held.to_string()}).to_string())
    }));
    let row = run(about.play(&servers, async move |stand| {
        let worker = stand.start(stand.order()).await?;
        stand.until(0.2).await?;
        let at_the_start = access.lock().unwrap_or_else(PoisonError::into_inner).readings;
        let plaintext = kafka.plaintext.clone();
        tokio::task::spawn_blocking(move || change_password(&plaintext, "alice", "second-password")).await??;
        access.lock().unwrap_or_else(PoisonError::into_inner).accepted = "second".to_owned();
        // Connections outlive a password; a broker that is restarted, or asks anew, ends them.
        stand.kafka.cut();
        stand.must_be_at_work().await?;
        pause(3).await;
        // On a busy machine nobody may have asked the store by then.
        while access.lock().unwrap_or_else(PoisonError::into_inner).refusals == 0 {
            stand.must_be_at_work().await?;
            pause(1).await;
        }
        {
            let mut access = access.lock().unwrap_or_else(PoisonError::into_inner);
            access.password = "second-password".to_owned();
            access.key = "second".to_owned();
        }
        stand.until(1.0).await?;
        let access = access.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(access.refusals > 0, "the store refused nobody: it proves nothing");
        // Two secrets: at the first refusal, and, where that came before they changed, once more a minute later.
        let again = access.readings - at_the_start;
        ensure!((2..=4).contains(&again), "the secrets were read {again} times again");
        ensure!(stand.restarts() == 0, "a worker was started again");
        Ok(vec![worker])
    }));
    must_be_whole(&row);
    drop(broker);
}

fn senders_and_clocks_err(matrix: &mut Matrix<'_>) {
    row(
        matrix,
        Kind::Poison,
        "a poison record each 100 blocks nothing and loses nothing",
        About::new("a poison record each 100", ALL, Amount { poison_each: Some(100), ..throughout(22_000, 2_000) }),
        async |stand| Ok(vec![stand.start(stand.order()).await?]),
    );
    row(
        matrix,
        Kind::ClockJumps,
        "a clock that jumps forth and back by hours changes nothing",
        About::new("the workers' clock jumps between -26 and +48 hours", ALL, throughout(5_000, 2_000)),
        async |stand| {
            let order = Order { clock_jumps: true, ..stand.order() };
            Ok(vec![stand.start(order).await?])
        },
    );
}

/// Each with a defect planted: the count must find it.
fn the_matrix_can_fail(matrix: &mut Matrix<'_>) {
    let must_find = |matrix: &mut Matrix<'_>,
                     name: &str,
                     about: About,
                     script: fn(Order) -> Order,
                     found: fn(&Difference) -> bool| {
        let Some(suite) = matrix.of(Kind::Defect) else { return };
        suite.test(format!("matrix::{name}"), NEEDS, move |endpoints| {
            let row = run(about.play(&servers(endpoints), async move |stand| {
                Ok(vec![stand.start(script(stand.order())).await.context("starting the defective worker")?])
            }));
            assert!(found(&row.difference), "the planted defect was not found: {row:#?}");
        });
    };
    must_find(
        matrix,
        "a worker that emits nothing for what it applied before is found out",
        About::new("planted", STATES, amount(0, 1_000)),
        |order| order.dying(Step::AfterState, 10).with_defect(Planted::DuplicateEmitsNothing),
        |difference| difference.lost > 0,
    );
    must_find(
        matrix,
        "a function that says that all is done whatever failed is found out",
        About::new("planted", STATEMENTS, amount(2_000, 0))
            .search(|asked, _| if asked.is_bulk() { Act::HalfOfTheBulk } else { Act::Pass }),
        |order| Order { function_timeout_ms: 2_000, ..order }.with_defect(Planted::FailuresAreNotAnswered),
        |difference| difference.lost > 0,
    );
    must_find(
        matrix,
        "a worker that decides anew what it applied before is found out",
        About::new("planted", STATES, amount(0, 1_000)),
        |order| order.dying(Step::BeforeAnswer, 2).with_defect(Planted::DuplicateDecidesAnew),
        |difference| difference.doubled > 0,
    );
}
