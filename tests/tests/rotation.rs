//! A statement store that judges credentials itself: OpenSearch with its security plugin, and the rights that the documents tell.

use std::fs;
use std::time::Duration;

use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::academy::video_statements;
use lyceum_tests::workplace::{Server, Workplace, until};
use lyceum_tests::{aws, binary, block_on};
use reqwest::Method;
use serde_json::{Value, json};

const STATEMENTS: &str = "nlj.xapi.statements";
/// The index that a process makes where no other is named.
const INDEX: &str = "xapi-statements";
/// Statements that are sent at once, and how often.
const TOGETHER: usize = 100;
const TIMES: usize = 20;

pub(crate) fn add(suite: &mut Suite) {
    suite.test_private(
        "a_user_of_the_store_who_is_taken_away_while_events_flow_only_delays_them",
        &[Service::Secured],
        &[Service::Aws],
        taken_away,
    );
}

/// The store, as who may do everything asks it.
struct Store(String);

impl Store {
    /// The answer, whatever its status.
    fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        block_on(async {
            let client = lyceum_https::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
            let request = client.request(method, format!("{}/{path}", self.0)).basic_auth("admin", Some("admin"));
            let request = body.iter().fold(request, |request, body| request.json(body));
            let answer = request.send().await.expect("the store answers");
            (answer.status().as_u16(), answer.json().await.expect("JSON"))
        })
    }

    fn make(&self, what: &str, of: &Value) {
        let (status, answer) = self.ask(Method::PUT, &format!("_plugins/_security/api/{what}"), Some(of.clone()));
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
    }

    /// A user who may do what these roles say and nothing else.
    fn make_user(&self, name: &str, roles: &[&str]) {
        self.make(
            &format!("internalusers/{name}"),
            &json!({"password": password(name), "opendistro_security_roles": roles}),
        );
    }

    fn take_away(&self, user: &str) {
        let (status, answer) = self.ask(Method::DELETE, &format!("_plugins/_security/api/internalusers/{user}"), None);
        assert_eq!(status, 200, "{answer}");
    }

    /// How many statements it has.
    fn count(&self) -> u64 {
        self.ask(Method::POST, &format!("{INDEX}/_refresh"), None);
        self.ask(Method::GET, &format!("{INDEX}/_count"), None).1["count"].as_u64().unwrap_or(0)
    }
}

/// The plugin refuses one that is like the name.
fn password(user: &str) -> String {
    format!("Hush-9f41c7-{}", if user == "first" { "Plum!" } else { "Kiwi!" })
}

/// What a secret holds of a user.
fn held(user: &str) -> String {
    json!({"username": user, "password": password(user)}).to_string()
}

/// The roles of docs/operations.md: name and rights.
fn documented_roles() -> Vec<(String, Value)> {
    let text = fs::read_to_string(binary::workspace().join("docs/operations.md")).expect("the document");
    let blocks = text.split("PUT /_plugins/_security/api/roles/").skip(1);
    let roles = blocks.map(|block| {
        let (name, rest) = block.split_once('\n').expect("a name");
        let (rights, _) = rest.split_once("```").expect("the end of the block");
        (name.to_owned(), serde_json::from_str(rights).expect("JSON"))
    });
    roles.collect()
}

async fn publish(server: &Server, seed: u64) {
    let events = video_statements(seed, TOGETHER).into_iter().map(|value| json!({"value": value})).collect::<Vec<_>>();
    assert_eq!(server.post(&format!("/events/{STATEMENTS}"), &json!(events), None).await.0, 202);
}

fn taken_away(endpoints: &Endpoints) {
    let engine = lyceum_services::private(Service::Secured).unwrap_or_else(|error| panic!("{error:?}"));
    let store = Store(engine.endpoint().to_owned());
    let roles = documented_roles();
    let names: Vec<&str> = roles.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lyceum", "lyceum-prepares", "lyceum-rebuilds"]);
    for (name, rights) in &roles {
        store.make(&format!("roles/{name}"), rights);
    }
    store.make_user("first", &names[..2]);
    let endpoint = endpoints.url(Service::Aws);
    let secrets = async || aws_sdk_secretsmanager::Client::new(&aws::config(endpoint).await);
    let arn = block_on(async {
        let name = format!("lyceum-{}", uuid::Uuid::new_v4());
        let created = secrets().await.create_secret().name(name).secret_string(held("first")).send().await;
        created.expect("a secret").arn().expect("its ARN").to_owned()
    });
    let own = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("ELASTICSEARCH_URL", store.0.as_str()),
        ("ELASTICSEARCH_SECRET_ARN", &arn),
        ("ELASTICSEARCH_REPLICAS", "0"),
        ("BATCH_SIZE", "20"),
        // It says where secrets were read again.
        ("LOG_LEVEL", "info"),
    ];
    let workplace = Workplace::new();
    let server = workplace.up(&[&aws::VARIABLES[..], &own].concat());
    block_on(publish(&server, 0));
    until("the first user stores statements", || store.count() > 0);
    // As docs/operations.md has it of two users: the second one, the secret, and only then the first one's end.
    store.make_user("second", &names);
    block_on(async {
        let put = secrets().await.put_secret_value().secret_id(&arn).secret_string(held("second"));
        put.send().await.expect("it is rotated");
    });
    let half = TIMES / 2;
    block_on(async {
        for seed in 1..half {
            publish(&server, seed as u64).await;
        }
    });
    store.take_away("first");
    let before = store.count();
    block_on(async {
        for seed in half..TIMES {
            publish(&server, seed as u64).await;
        }
    });
    let all = (TIMES * TOGETHER) as u64;
    assert!(before < all / 2, "all that was sent had been stored before the user was gone: {before}");
    until("the second user has stored the rest", || store.count() == all);
    let (_, status) = block_on(server.get("/events/status", None));
    assert_eq!(status["totals"]["dead_letters"], json!({}), "{status}");
    let (_, overview) = block_on(server.get("/api/analytics/platform/overview", None));
    assert_eq!(overview["total"], all, "{overview}");
    workplace.run(&["rebuild", "documents"]).expect_code(0).expect_print(&["index 1 of documents is live"]);
    workplace.run(&["rebuild", "documents", "--drop-old"]).expect_code(0).expect_print(&["deleted are indices 0"]);
    block_on(publish(&server, TIMES as u64));
    until("what comes then is stored, too", || store.count() == all + TOGETHER as u64);
    let ended = server.stop().expect_code(0);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("hold something else than before"), "nobody was refused: {said}");
    assert!(!said.contains("Hush-"), "{said}");
}
