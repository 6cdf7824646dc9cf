//! The same router by invocations of AWS Lambda: it answers as over a socket, each part what is its own, and asks for the same credentials,
//! whether a token of ours or the claims of a verified one.

mod fake;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake::{BOOKINGS, Fakes, LETTERS, STATEMENT_ID, busy};
use lyceum_http::Api;
use lyceum_server::access::{Access, Issuer, Role, Token};
use lyceum_server::http::{Part, ROUTES, Route, STAYING, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const HOST: &str = "api.lyceum.example";
const ISSUER: &str = "https://id.example";

/// Whoever a request is of: a token of ours, or the claims of one that was verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Nobody,
    Token(&'static str),
    Claims { tenant: &'static str, roles: &'static str },
}

const ACME_READS: [By; 2] = [By::Token("acme reads"), By::Claims { tenant: "acme", roles: "[lyceum-read staff]" }];
const ACME_PUBLISHES: [By; 2] = [By::Token("acme publishes"), By::Claims { tenant: "acme", roles: "publish" }];
const ACME_OPERATES: [By; 2] = [By::Token("acme operates"), By::Claims { tenant: "acme", roles: "operate" }];
const OPERATOR: [By; 2] =
    [By::Token("operator of all"), By::Claims { tenant: "*", roles: "[read publish lyceum-operate]" }];

fn access() -> Access {
    let token = |secret: &str, tenant: Option<&str>, roles: &[Role]| {
        Token::new(secret, tenant.map(str::to_owned), roles.iter().copied())
    };
    let tokens = vec![
        token("acme reads", Some("acme"), &[Role::Read]),
        token("acme publishes", Some("acme"), &[Role::Publish]),
        token("acme operates", Some("acme"), &[Role::Operate]),
        token("operator of all", None, &Role::ALL),
    ];
    let issuer = Issuer {
        issuer: ISSUER.to_owned(),
        audiences: vec!["lyceum".to_owned()],
        tenant_claim: "tenant".to_owned(),
        roles_claim: "roles".to_owned(),
    };
    Access::new(tokens).with_issuer(issuer).with_origins(vec!["https://academy.example".to_owned()])
}

/// A request, before it is one of either kind.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<Vec<u8>>,
    by: By,
}

impl Asked {
    fn new(method: &'static str, path: impl Into<String>, by: By) -> Self {
        Self {
            method,
            path: path.into(),
            headers: BTreeMap::from([("host".to_owned(), HOST.to_owned())]),
            body: None,
            by,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn sending(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        if self.headers.contains_key("content-type") { self } else { self.with("content-type", "application/json") }
    }

    /// As an HTTP API hands it on: the path decoded but for `%25`, headers in small letters, cookies apart.
    fn event(&self, is_binary: bool) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let decoded: Vec<String> = path
            .split("%25")
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let mut headers = self.headers.clone();
        let cookies: Vec<String> =
            headers.remove("cookie").iter().flat_map(|all| all.split("; ").map(str::to_owned)).collect();
        let mut context = json!({
            "accountId": "123456789012", "apiId": "abc123", "domainName": HOST, "domainPrefix": "api", "stage": "$default",
            "requestId": "one", "routeKey": "$default", "time": "05/Mar/2026:10:00:00 +0000", "timeEpoch": 1_772_704_800_000_i64,
            "http": {"method": self.method, "path": decoded.join("%25"), "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
        });
        match self.by {
            By::Nobody => {}
            By::Token(secret) => drop(headers.insert("authorization".to_owned(), format!("Bearer {secret}"))),
            By::Claims { tenant, roles } => {
                let claims =
                    json!({"iss": ISSUER, "aud": "lyceum", "sub": "somebody", "tenant": tenant, "roles": roles});
                context["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
            }
        }
        let body = self.body.as_ref().map(|body| match is_binary {
            true => STANDARD.encode(body),
            false => String::from_utf8(body.clone()).expect("what is not text is sent as base64"),
        });
        let mut event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": decoded.join("%25"), "rawQueryString": query,
            "headers": headers, "requestContext": context, "isBase64Encoded": is_binary && body.is_some(),
        });
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        if let Some(body) = body {
            event["body"] = json!(body);
        }
        event.to_string()
    }
}

/// What both kinds of answer have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the answer is text")
    }

    /// Without what is of the connection alone.
    fn of_content(mut self) -> Self {
        for of_connection in ["date", "content-length", "connection", "transfer-encoding"] {
            self.headers.remove(of_connection);
        }
        self
    }
}

async fn by_invocation(fakes: &Fakes, part: Part, asked: &Asked, is_binary: bool) -> Answered {
    let api = Api::new(fakes.services.clone(), part);
    let answer = api.answer(&asked.event(is_binary), <_>::default()).await.expect("a request is answered");
    let body = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(body).expect("it is base64"),
        _ => body.as_bytes().to_vec(),
    };
    let headers = answer["headers"].as_object().into_iter().flatten();
    Answered {
        status: u16::try_from(answer["statusCode"].as_u64().expect("a status")).expect("a status"),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect(),
        body,
    }
}

async fn over_a_socket(fakes: &Fakes, asked: &Asked) -> Answered {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, fakes.services.clone(), async { drop(ended.await) }));
    let method: reqwest::Method = asked.method.parse().unwrap();
    let client = lyceum_https::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = client.request(method, format!("http://{address}{}", asked.path));
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    if let By::Token(secret) = asked.by {
        request = request.bearer_auth(secret);
    }
    if let Some(body) = &asked.body {
        request = request.body(body.clone());
    }
    let answer = request.send().await.unwrap();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in answer.headers() {
        let value = value.to_str().unwrap();
        // Several of a name are one with commas between.
        headers
            .entry(name.to_string())
            .and_modify(|before| *before += &format!(", {value}"))
            .or_insert(value.to_owned());
    }
    let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec());
    drop(end);
    served.await.unwrap().unwrap();
    Answered { status, headers, body }
}

/// A path that the busy academy answers well, of a route's pattern.
fn example_of(path: &str) -> String {
    let path = match path {
        "/events/{topic}/{partition}/{offset}" => format!("/events/{BOOKINGS}/0/0"),
        "/api/dead-letters/{topic}/{partition}/{offset}" => format!("/api/dead-letters/{LETTERS}/0/0"),
        "/api/state/{kind}/{id}" => "/api/state/session/s-1".to_owned(),
        "/state/{kind}/{id}" => "/state/session/s-1".to_owned(),
        "/api/audit/proof" => format!("/api/audit/proof?event={BOOKINGS}/0/0"),
        "/audit/{topic}/{partition}/{offset}" => format!("/audit/{BOOKINGS}/0/0"),
        "/api/statements/{id}" => format!("/api/statements/{STATEMENT_ID}"),
        "/statements/{id}" => format!("/statements/{STATEMENT_ID}"),
        other => other.to_owned(),
    };
    path.replace("{topic}", BOOKINGS)
        .replace("{survey_id}", "a%2Fsurvey%20%C3%A9")
        .replace("{learner_id}", "account:https%3A%2F%2Facademy.example%7Cada")
        .replace("{event}", "booking.confirmed")
        .replace("{file}", "none.css")
}

fn example(route: &Route, by: By) -> Asked {
    let asked = Asked::new(route.method, example_of(route.path), by);
    match (route.method, route.path) {
        ("POST", "/api/dead-letters/replay" | "/api/dead-letters/discard") => {
            asked.sending(r#"{"all": true, "dry_run": true}"#)
        }
        ("POST", "/api/audit/seal") => asked.sending("{}"),
        ("POST", "/docs/{event}") => {
            let form = serde_urlencoded::to_string([("event", r#"{"an": "é+&=%event"}"#)]).unwrap();
            asked.with("content-type", "application/x-www-form-urlencoded").sending(form)
        }
        ("POST", _) => asked.sending(r#"{"an": "event"}"#),
        _ => asked,
    }
}

fn stays(route: &Route) -> bool {
    STAYING.iter().any(|(method, path, _)| (*method, *path) == (route.method, route.path))
}

fn served() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| !stays(route))
}

#[tokio::test]
async fn every_route_answers_by_invocation_as_over_a_socket() {
    for route in served() {
        for by in [By::Token("acme reads"), OPERATOR[0], By::Nobody] {
            // Each of its own academy, so that one answer is no cause of the other.
            let asked = example(route, by).with("cookie", "one=1; two=2").with("accept-language", "de, en;q=0.5");
            let invoked = by_invocation(&busy(access()).await, Part::Whole, &asked, true).await.of_content();
            let over = over_a_socket(&busy(access()).await, &asked).await.of_content();
            let place = format!("{} {} {by:?}", route.method, route.path);
            assert_eq!((invoked.status, &invoked.headers), (over.status, &over.headers), "{place}");
            match route.path {
                // How long each part took, which is another number every time.
                "/health" => {
                    let parts = |of: &Answered| of.json()["components"].as_object().unwrap().keys().cloned().collect();
                    let (a, b): (BTreeSet<String>, BTreeSet<String>) = (parts(&invoked), parts(&over));
                    assert_eq!(a, b);
                }
                // They have tests of their own.
                "/" | "/openapi.json" if invoked.status == 200 => {}
                _ => assert_eq!(invoked.text(), over.text(), "{place}"),
            }
        }
    }
}

#[tokio::test]
async fn a_body_is_read_whether_it_comes_as_text_or_as_base64_and_what_no_text_is_comes_as_base64() {
    let event = "{\"an\": \"\u{e9}vent \u{1f393}\"}";
    for is_binary in [false, true] {
        let fakes = busy(access()).await;
        let asked = Asked::new("POST", format!("/events/{BOOKINGS}"), OPERATOR[0]).sending(event);
        let answer = by_invocation(&fakes, Part::Publish, &asked, is_binary).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let kept = fakes.log.records(BOOKINGS).pop().unwrap();
        assert_eq!(kept.value.as_deref(), Some(event.as_bytes()));
    }
    // No UTF-8: it goes on byte for byte, and is a dead letter's matter.
    let fakes = busy(access()).await;
    let asked = Asked::new("POST", format!("/events/{BOOKINGS}"), OPERATOR[0])
        .with("content-type", "application/octet-stream")
        .sending([0xff, 0x00, 0x80]);
    let (invoked, over) = (
        by_invocation(&fakes, Part::Publish, &asked, true).await.of_content(),
        over_a_socket(&busy(access()).await, &asked).await.of_content(),
    );
    assert_eq!(invoked, over);
    let icon = Asked::new("GET", "/", OPERATOR[0]);
    let page = by_invocation(&fakes, Part::Read, &icon, true).await.text();
    let asset =
        page.split("href=\"/assets/").nth(1).and_then(|rest| rest.split('"').next()).expect("the page has a style");
    let asked = Asked::new("GET", format!("/assets/{asset}"), By::Nobody);
    let over = over_a_socket(&fakes, &asked).await.of_content();
    assert_eq!(by_invocation(&fakes, Part::Read, &asked, true).await.of_content(), over);
}

#[tokio::test]
async fn every_door_asks_for_its_role_of_a_token_and_of_claims_alike() {
    let fakes = busy(access()).await;
    let roles = |by: &[By; 2]| -> &[Role] {
        match by {
            by if *by == ACME_READS => &[Role::Read],
            by if *by == ACME_PUBLISHES => &[Role::Publish],
            by if *by == ACME_OPERATES => &[Role::Operate],
            _ => &Role::ALL,
        }
    };
    // What shows or moves every tenant's is for whoever may see every tenant.
    let of_all = [
        "/api/topics/{topic}/records",
        "/api/dead-letters/import",
        "/api/rebuild",
        "/api/rebuild/compare",
        "/api/reconcile",
    ];
    for route in served() {
        let place = format!("{} {}", route.method, route.path);
        let anonymous = by_invocation(&fakes, Part::Whole, &example(route, By::Nobody), true).await;
        let Some(role) = route.needs else {
            assert_ne!(anonymous.status, 401, "{place} is open to everybody");
            continue;
        };
        assert_eq!(anonymous.status, 401, "{place}");
        assert!(anonymous.headers.contains_key("www-authenticate"), "{place}");
        for who in [ACME_READS, ACME_PUBLISHES, ACME_OPERATES, OPERATOR] {
            let may = roles(&who).contains(&role) && (who == OPERATOR || !of_all.contains(&route.path));
            for by in who {
                let answer = by_invocation(&fakes, Part::Whole, &example(route, by), true).await;
                assert_eq!(answer.status == 403, !may, "{place} {by:?}: {answer:?}");
                assert_ne!(answer.status, 401, "{place} {by:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_door_shows_a_tenant_what_is_another_ones_whoever_vouches_for_it() {
    let fakes = busy(access()).await;
    for route in served().filter(|route| route.query.iter().any(|(name, _)| *name == "tenant")) {
        let who = match route.needs {
            Some(Role::Publish) => ACME_PUBLISHES,
            Some(Role::Operate) => ACME_OPERATES,
            _ => ACME_READS,
        };
        for by in who {
            let mut asked = example(route, by);
            asked.path.push_str(if asked.path.contains('?') { "&tenant=globex" } else { "?tenant=globex" });
            let answer = by_invocation(&fakes, Part::Whole, &asked, true).await;
            assert_eq!(
                (answer.status, &answer.json()["type"]),
                (403, &json!("urn:problem-type:lyceum:forbidden-tenant")),
                "{route}",
                route = route.path
            );
        }
    }
    for route in served().filter(|route| route.needs == Some(Role::Read)) {
        for by in ACME_READS {
            let text = by_invocation(&fakes, Part::Whole, &example(route, by), true).await.text();
            assert!(!text.contains("globex"), "{} tells acme of globex", route.path);
        }
    }
}

#[tokio::test]
async fn claims_that_are_of_another_issuer_or_audience_or_of_no_tenant_open_nothing() {
    let fakes = busy(access()).await;
    let ask = async |claims: Value| {
        let mut event: Value =
            serde_json::from_str(&Asked::new("GET", "/api/tenants", By::Nobody).event(true)).unwrap();
        event["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims}});
        let api = Api::new(fakes.services.clone(), Part::Read);
        let answer = api.answer(&event.to_string(), <_>::default()).await.unwrap();
        (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
    };
    let good = json!({"iss": ISSUER, "aud": "[other lyceum]", "tenant": "acme", "roles": "read"});
    assert_eq!(ask(good.clone()).await.0, 200);
    let of_cognito = json!({"iss": ISSUER, "client_id": "lyceum", "tenant": "acme", "roles": "read"});
    assert_eq!(ask(of_cognito).await.0, 200);
    for (claim, value, status, hint) in [
        ("iss", json!("https://evil.example"), 401, "not of the issuer"),
        ("aud", json!("lyceum-2"), 401, "another audience"),
        ("aud", json!(""), 401, "another audience"),
        ("tenant", json!(""), 401, "no claim \\\"tenant\\\""),
        ("roles", json!("[reader Read]"), 403, "the role read"),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        let (found, body) = ask(claims).await;
        assert!(found == status && body.contains(hint), "{claim}: {found} {body}");
    }
    // Whatever a header says, what was verified is no header's matter.
    let forged = Asked::new("GET", "/api/tenants", By::Nobody)
        .with("x-amzn-claims", r#"{"iss": "https://id.example"}"#)
        .with("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiIqIn0.");
    assert_eq!(by_invocation(&fakes, Part::Read, &forged, true).await.status, 401);
}

#[tokio::test]
async fn a_part_serves_its_own_routes_and_says_of_others_where_they_are() {
    let fakes = busy(access()).await;
    for part in [Part::Read, Part::Publish, Part::Operate] {
        for route in served() {
            let answer = by_invocation(&fakes, part, &example(route, OPERATOR[1]), true).await;
            let is_refused = answer.status == 404
                && answer.text().contains(&format!("the function of the part {} does not serve it", part.name()));
            assert_eq!(is_refused, !part.has(route), "{} {} of {part:?}: {answer:?}", route.method, route.path);
        }
    }
    for (method, path, hint) in STAYING {
        let route = ROUTES.iter().find(|route| (route.method, route.path) == (*method, *path)).unwrap();
        let answer = by_invocation(&fakes, Part::Whole, &example(route, OPERATOR[0]), true).await;
        let told = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status == 404 && told.contains(hint), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn the_document_and_the_page_offer_nothing_that_takes_a_process_that_stays() {
    let fakes = busy(access()).await;
    let document =
        by_invocation(&fakes, Part::Read, &Asked::new("GET", "/openapi.json", By::Nobody), true).await.json();
    let methods = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, of)| methods(of).into_iter().map(move |method| format!("{} {path}", method.to_uppercase())))
        .collect();
    let wanted: BTreeSet<String> = served().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, wanted);
    let page = by_invocation(&fakes, Part::Read, &Asked::new("GET", "/", OPERATOR[1]), true).await.text();
    assert!(!page.contains("data-live") && !page.contains("feed-pause"), "{page}");
    assert!(page.contains("load it again for what came since") && page.contains("dashboard in CloudWatch"), "{page}");
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_allowed_may_ask_and_no_other() {
    let fakes = busy(access()).await;
    let ask = async |origin: &str| {
        let asked = Asked::new("GET", "/api/tenants", ACME_READS[1])
            .with("origin", origin)
            .with("sec-fetch-site", "cross-site");
        by_invocation(&fakes, Part::Read, &asked, true).await.status
    };
    assert_eq!(ask("https://academy.example").await, 200);
    for other in ["https://academy.example.evil", "http://academy.example", "https://academy.example:8443", "null"] {
        assert_eq!(ask(other).await, 403, "{other}");
    }
}

#[tokio::test]
async fn whatever_comes_is_answered_and_what_is_no_request_is_said_to_be_none() {
    let fakes = busy(access()).await;
    let api = Api::new(fakes.services.clone(), Part::Whole);
    let event = |change: &dyn Fn(&mut Value)| {
        let mut event: Value =
            serde_json::from_str(&Asked::new("GET", "/api/tenants", By::Nobody).event(true)).unwrap();
        change(&mut event);
        event.to_string()
    };
    for (event, status) in [
        (event(&|of| of["rawPath"] = json!("/a b?c#d\u{7}\\^{}|é//..")), 404),
        (event(&|of| of["rawPath"] = json!("")), 401),
        (event(&|of| of["rawQueryString"] = json!("tenant= a|b\"<>#")), 401),
        (event(&|of| of["headers"]["host"] = json!("a b/c")), 400),
        (event(&|of| of["headers"]["host"] = json!("a@b")), 400),
        (event(&|of| of["headers"]["x-forwarded-proto"] = json!("java script")), 401),
        (event(&|of| (of["body"], of["isBase64Encoded"]) = (json!("no base64!"), json!(true))), 400),
        (event(&|of| of["cookies"] = json!(["a\nb"])), 401),
        (event(&|of| of["requestContext"]["http"]["method"] = json!("PURGE")), 405),
    ] {
        let answer = api.answer(&event, <_>::default()).await.unwrap_or_else(|error| panic!("{event}: {error:#}"));
        assert_eq!(answer["statusCode"], status, "{event}: {answer}");
    }
    for nothing in ["{}", "[]", r#"{"Records": []}"#, r#"{"version": "1.0", "httpMethod": "GET", "path": "/"}"#] {
        let told = api.answer(nothing, <_>::default()).await.unwrap_err().to_string();
        assert!(told.contains("payload format 2.0"), "{nothing}: {told}");
    }
}

/// The bucket of what was given up, in memory.
struct Objects(BTreeMap<String, Vec<u8>>);

#[async_trait::async_trait]
impl lyceum_replay::objects::ReadObjects for Objects {
    async fn read(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        anyhow::ensure!(key != "away", "S3 is away");
        Ok(self.0.get(key).cloned())
    }
}

fn replay(fakes: &Fakes, objects: &[(&str, &str)]) -> lyceum_replay::Replay {
    let objects = objects.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect();
    let acting = lyceum_replay::Acting::new(fakes.services.clone(), "a secret that is made here".to_owned());
    lyceum_replay::Replay::new(acting, Some(std::sync::Arc::new(Objects(objects))))
}

fn task(value: Value) -> lyceum_replay::task::Task {
    serde_json::from_value(value).expect("a task")
}

#[tokio::test]
async fn the_replay_function_imports_object_by_object_and_goes_on_where_its_time_was_over() {
    let fakes = busy(access()).await;
    let replay = replay(&fakes, &[("one", "a batch"), ("two", "another"), ("odd", "no on-failure record")]);
    let keys =
        |keys: &[&str]| json!({"import": {"objects": keys.iter().map(|key| json!({"Key": key})).collect::<Vec<_>>()}});
    let long = std::time::Duration::from_secs(840);
    let done = replay.run(task(keys(&["one", "gone", "two"])), long).await.unwrap();
    assert!(done.is_done && done.next.is_none(), "{done:?}");
    assert_eq!(done.refused, ["gone is in the bucket no more"]);
    // With no time at all one object is done, and the others are what is left.
    let short = replay.run(task(keys(&["one", "two", "one"])), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(serde_json::to_value(&short.next).unwrap(), keys(&["two", "one"]));
    let error = replay.run(task(keys(&["away"])), long).await.unwrap_err();
    assert!(error.to_string().contains("S3 is away"), "{error:#}");
}

#[tokio::test]
async fn the_replay_function_sends_letters_again_by_the_handlers_of_http_and_hands_on_what_is_left() {
    let fakes = busy(access()).await;
    let replay = replay(&fakes, &[]);
    let long = std::time::Duration::from_secs(840);
    let dry = replay.run(task(json!({"redrive": {"all": true, "dry_run": true}})), long).await.unwrap();
    assert!(dry.is_done && dry.counts.sent > 0, "{dry:?}");
    let error = replay.run(task(json!({"redrive": {}})), long).await.unwrap_err();
    assert!(error.to_string().contains("say which"), "{error:#}");
    let error = replay.run(task(json!({"redrive": {"all": true, "wait": true}})), long).await.unwrap_err();
    assert!(error.to_string().contains("leave wait out"), "{error:#}");
    let error = replay.run(task(json!({"redrive": {"topics": "x"}})), long).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error:#}");
}

#[tokio::test]
async fn the_replay_function_begins_a_replay_once_and_goes_on_with_it_part_by_part() {
    let fakes = busy(access()).await;
    let replay = replay(&fakes, &[]);
    let long = std::time::Duration::from_secs(840);
    // The academy has this one under way already, as after a call whose answer was lost.
    let request = serde_json::to_value(fake::replay()).unwrap();
    let id = fake::replay().id();
    let none_left = replay.run(task(json!({"replay": request})), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(serde_json::to_value(&none_left).unwrap()["next"], json!({"run": id}));
    assert_eq!((none_left.is_done, none_left.pause_seconds), (false, 0));
    let done = replay.run(none_left.next.unwrap(), long).await.unwrap();
    assert!(done.is_done && done.failed.is_none() && done.counts.matched > 0, "{done:?}");
    assert_eq!(done.counts.matched, done.counts.replayed);

    let to = |target: Value| json!({"replay": {"topics": [BOOKINGS], "target": target}});
    for (asked, hint) in [
        (to(json!({"subscriber": {"name": "nobody"}})), "nobody"),
        (to(json!({"file": {"place": "s3://bucket/out"}})), "writes no files"),
        (json!({"run": "00000000-0000-0000-0000-000000000007"}), "there is no replay"),
    ] {
        let done = replay.run(task(asked.clone()), long).await.unwrap();
        assert!(done.is_done && done.failed.as_ref().is_some_and(|told| told.contains(hint)), "{asked}: {done:?}");
    }
}

#[tokio::test]
async fn a_replay_that_another_process_is_at_work_on_is_looked_at_again_when_its_lease_is_over() {
    let fakes = busy(access()).await;
    let id = fake::replay().id();
    let lease = lyceum_core::ports::ledger::KeyId::of("*", "replay", id);
    let until = fake::NOW_MS + 60_000;
    fakes.services.ledger.claim(&lease, uuid::Uuid::from_u128(9), fake::NOW_MS, until).await.unwrap();
    let replay = replay(&fakes, &[]);
    let done = replay.run(task(json!({"run": id})), std::time::Duration::from_secs(840)).await.unwrap();
    assert_eq!((done.is_done, done.pause_seconds, done.counts.matched), (false, 120, 0));
    assert_eq!(serde_json::to_value(done.next).unwrap(), json!({"run": id}));
}

#[tokio::test]
async fn the_replay_function_compares_log_and_stores_and_says_what_somebody_is_to_look_at() {
    let fakes = busy(access()).await;
    let replay = replay(&fakes, &[]);
    let long = std::time::Duration::from_secs(840);
    let topics = json!({"topics": [BOOKINGS]});
    let done = replay.run(task(json!({"reconcile": {"request": topics}})), long).await.unwrap();
    let report = done.report.as_ref().unwrap();
    assert!(done.is_done && report.records > 0, "{done:?}");
    assert_eq!(done.failed.is_some(), report.total() > 0 || !report.is_complete, "{done:?}");
    for wrong in [json!({"request": {"topics": ["no.such.topic"]}}), json!({"last_hours": 0})] {
        let done = replay.run(task(json!({"reconcile": wrong})), long).await.unwrap();
        assert!(done.is_done && done.failed.is_some(), "{wrong}: {done:?}");
    }
}
