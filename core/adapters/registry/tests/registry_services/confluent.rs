//! Confluent's API.

use std::time::{Duration, Instant};

use lyceum_core::formats::avro::Schema;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_registry::{Credentials, Look, Place, Registered, Registry, RegistrySettings};
use lyceum_services::{Service, Suite};
use lyceum_testing::schemas_contract::{REGISTERED, what_was_registered_is_found_by_its_name_and_what_was_not_is_none};
use serde_json::json;
use uuid::Uuid;

use crate::run;
use crate::scripted::{Asked, Reply, Server};

const GUID: Uuid = Uuid::from_u128(0x8979_1762_2336_4186_9674_299b_90a8_02e2);

fn print(text: &str) -> SchemaRef {
    SchemaRef::Fingerprint(Schema::parse(text).unwrap().fingerprint())
}

fn error(status: u16, code: u64) -> Reply {
    Reply::Answer(status, json!({"error_code": code, "message": "as told"}).to_string())
}

/// A registry with two schemas, 1 and 2, the second with a GUID; 3 is a schema of Protobuf, 4 has types of another subject.
fn registry(asked: &Asked) -> Reply {
    let [first, second] = REGISTERED;
    let answer = |body: serde_json::Value| Reply::Answer(200, body.to_string());
    match asked.path.as_str() {
        "/schemas/types" => answer(json!(["JSON", "PROTOBUF", "AVRO"])),
        "/schemas/ids/1" => answer(json!({"schema": first})),
        "/schemas/ids/2" => answer(json!({"schema": second, "schemaType": "AVRO", "guid": GUID})),
        "/schemas/ids/3" => answer(json!({"schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF"})),
        "/schemas/ids/4" => answer(
            json!({"schema": "{\"type\": \"contract.Answer\"}", "references": [{"name": "contract.Answer", "subject": "a", "version": 1}]}),
        ),
        "/schemas/ids/4?format=resolved" => answer(json!({"schema": first, "references": []})),
        path if path == format!("/schemas/guids/{GUID}") => answer(json!({"schema": second})),
        path if path.starts_with("/schemas?") => {
            let all = json!([{"id": 3, "schema": "{", "schemaType": "PROTOBUF"}, {"id": 1, "schema": first}, {"id": 2, "schema": second}]);
            if path.contains("offset=0&") { answer(all) } else { answer(json!([])) }
        }
        path if path.starts_with("/schemas/") => error(404, 40_403),
        _ => error(404, 404),
    }
}

fn at(url: &str) -> Registry {
    let settings = RegistrySettings { timeout: Duration::from_secs(1), ..RegistrySettings::at(url) };
    Registry::connect(&settings).unwrap()
}

/// For what is said, not for how soon: the first answers of a registry on a busy machine take seconds.
fn patient(url: &str) -> Registry {
    let settings = RegistrySettings { timeout: Duration::from_secs(60), ..RegistrySettings::at(url) };
    Registry::connect(&settings).unwrap()
}

pub(crate) fn add(suite: &mut Suite) {
    suite.test("contract::confluent", &[], |_| {
        run(async {
            let server = Server::start(registry).await;
            let [first, second] = REGISTERED;
            let there = [
                (SchemaRef::Id(1), first),
                (SchemaRef::Id(2), second),
                (SchemaRef::Id(4), first),
                (SchemaRef::Guid(GUID), second),
                (print(second), second),
            ];
            let unknown = [
                SchemaRef::Id(3),
                SchemaRef::Id(9),
                SchemaRef::Guid(Uuid::nil()),
                SchemaRef::Fingerprint(7),
                SchemaRef::Version(GUID),
            ];
            what_was_registered_is_found_by_its_name_and_what_was_not_is_none(&patient(&server.url), &there, &unknown)
                .await;
        });
    });
    suite.test("contract::apicurio", &[Service::Registry], |endpoints| {
        let url = endpoints.url(Service::Registry).to_owned();
        run(async move {
            let registry = patient(&url);
            let topic = format!("t{}", Uuid::new_v4().simple());
            let [first, second] = REGISTERED;
            assert_eq!(registry.look(&topic, first).await, Ok(Look::New));
            let mut there = Vec::new();
            for text in [first, second] {
                let Registered::As(id) = registry.register(&topic, text).await.unwrap() else {
                    panic!("it is refused")
                };
                there.push((SchemaRef::Id(id.strip_prefix("id ").unwrap().parse().unwrap()), text));
                let Look::There(_) = registry.look(&topic, text).await.unwrap() else { panic!("{text} is not there") };
            }
            let other = second.replace("score", "points");
            assert_eq!(registry.look(&topic, &other).await, Ok(Look::Compatible));
            let unknown = [SchemaRef::Id(i32::MAX), SchemaRef::Guid(Uuid::nil()), SchemaRef::Fingerprint(7)];
            what_was_registered_is_found_by_its_name_and_what_was_not_is_none(&registry, &there, &unknown).await;
            // The path of the address is a part of it.
            let elsewhere = patient(url.split("/apis").next().unwrap());
            let refused = elsewhere.find(&SchemaRef::Id(i32::MAX)).await.unwrap_err();
            assert!(
                matches!(&refused, SchemasError::Refused(why) if why.contains("SCHEMA_REGISTRY_URL")),
                "{refused:?}"
            );
        });
    });
    suite.test("confluent::an_outage_may_pass_and_is_told_with_the_address", &[], |_| {
        run(async {
            for (what, reply) in [
                ("500", (|_: &Asked| error(500, 50_001)) as fn(&Asked) -> Reply),
                ("429", |_| error(429, 429)),
                ("no registry answers", |_| Reply::Answer(200, "<html>welcome</html>".to_owned())),
                ("", |_| Reply::HangUp),
                ("no answer within 1 s", |_| Reply::Silent),
            ] {
                let server = Server::start(reply).await;
                let began = Instant::now();
                let told = at(&server.url).find(&SchemaRef::Id(1)).await.unwrap_err();
                assert!(
                    told.is_transient() && told.to_string().contains(what) && told.to_string().contains(&server.url),
                    "{told}"
                );
                assert!(began.elapsed() < Duration::from_secs(5));
            }
            let told = at("http://127.0.0.1:1").find(&SchemaRef::Id(1)).await.unwrap_err();
            assert!(told.is_transient(), "{told}");
        });
    });
    suite.test("confluent::who_may_not_is_told_which_variable_and_no_secret", &[], |_| {
        run(async {
            for status in [401, 403] {
                let server = Server::start(move |_| error(status, 40_301)).await;
                let credentials = Credentials::Basic { username: "ada".to_owned(), password: "hush".to_owned() };
                let place = Place::Confluent { url: server.url.clone(), credentials };
                let registry = Registry::connect(&RegistrySettings { place, ..RegistrySettings::at("") }).unwrap();
                let told = registry.find(&SchemaRef::Id(1)).await.unwrap_err();
                let SchemasError::Unauthorized(why) = &told else { panic!("{told:?}") };
                assert!(why.contains("SCHEMA_REGISTRY_PASSWORD") && !why.contains("hush"), "{why}");
                assert_eq!(server.asked()[0].header("authorization"), Some("Basic YWRhOmh1c2g="));
            }
            let server = Server::start(registry).await;
            let place =
                Place::Confluent { url: server.url.clone(), credentials: Credentials::Bearer("t-1".to_owned()) };
            let registry = Registry::connect(&RegistrySettings { place, ..RegistrySettings::at("") }).unwrap();
            registry.ping().await.unwrap();
            assert_eq!(server.asked()[0].header("authorization"), Some("Bearer t-1"));
        });
    });
    suite.test("confluent::what_is_no_registry_is_refused_and_knows_of_no_schema_that_it_is_not_there", &[], |_| {
        run(async {
            for reply in [
                (|_: &Asked| Reply::Answer(404, "<html>not found</html>".to_owned())) as fn(&Asked) -> Reply,
                |_| error(404, 404),
                |_| Reply::Answer(302, String::new()),
                |_| error(400, 400),
            ] {
                let server = Server::start(reply).await;
                for schema in [SchemaRef::Id(1), SchemaRef::Guid(GUID)] {
                    let told = at(&server.url).find(&schema).await.unwrap_err();
                    assert!(
                        matches!(&told, SchemasError::Refused(why) if why.contains("SCHEMA_REGISTRY_URL")),
                        "{told:?}"
                    );
                }
                assert!(!at(&server.url).ping().await.unwrap_err().is_transient());
            }
        });
    });
    suite.test(
        "confluent::a_schema_that_does_not_go_with_those_before_is_told_before_and_when_it_is_registered",
        &[],
        |_| {
            run(async {
                let server = Server::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
                    ("POST", "/subjects/t-value") => error(404, 40_403),
                    ("POST", "/compatibility/subjects/t-value/versions/latest?verbose=true") => {
                        assert!(asked.body.contains("contract"));
                        Reply::Answer(
                            200,
                            json!({"is_compatible": false, "messages": ["a field has no default"]}).to_string(),
                        )
                    }
                    ("POST", "/subjects/t-value/versions") => error(409, 409),
                    other => panic!("{other:?}"),
                })
                .await;
                let registry = at(&server.url);
                let why = vec!["a field has no default".to_owned()];
                assert_eq!(registry.look("t", REGISTERED[0]).await, Ok(Look::Incompatible(why)));
                let refused = registry.register("t", REGISTERED[0]).await.unwrap();
                assert_eq!(refused, Registered::Incompatible("as told".to_owned()));
            });
        },
    );
}
