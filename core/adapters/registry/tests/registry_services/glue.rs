//! AWS Glue's API.

use std::time::Duration;

use lyceum_aws::sign::Signer;
use lyceum_core::ports::schemas::{FindSchema, SchemaRef, SchemasError};
use lyceum_registry::{Look, Place, Registered, Registry, RegistrySettings};
use lyceum_services::Suite;
use lyceum_testing::schemas_contract::{REGISTERED, what_was_registered_is_found_by_its_name_and_what_was_not_is_none};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::run;
use crate::scripted::{Asked, Reply, Server};

const VERSION: Uuid = Uuid::from_u128(1);
const OF_ANOTHER: Uuid = Uuid::from_u128(2);
const PENDING: Uuid = Uuid::from_u128(3);

fn error(status: u16, kind: &str) -> Reply {
    Reply::Answer(status, json!({"__type": kind, "Message": "as told"}).to_string())
}

/// The registry `events`, with one version of the topic `known`.
fn registry(asked: &Asked) -> Reply {
    let answer = |body: Value| Reply::Answer(200, body.to_string());
    let question: Value = serde_json::from_str(&asked.body).unwrap();
    let version = |id: Uuid, registry: &str, status: &str| {
        let arn = format!("arn:aws:glue:eu-central-1:123456789012:schema/{registry}/known");
        json!({"SchemaVersionId": id, "SchemaDefinition": REGISTERED[0], "DataFormat": "AVRO", "SchemaArn": arn, "Status": status})
    };
    let is_known = question["SchemaId"] == json!({"RegistryName": "events", "SchemaName": "known"});
    match asked.header("x-amz-target").unwrap() {
        "AWSGlue.GetRegistry" if question == json!({"RegistryId": {"RegistryName": "events"}}) => {
            answer(json!({"RegistryName": "events"}))
        }
        "AWSGlue.GetSchemaVersion" => match question["SchemaVersionId"].as_str().unwrap().parse::<Uuid>().unwrap() {
            VERSION => answer(version(VERSION, "events", "AVAILABLE")),
            OF_ANOTHER => answer(version(OF_ANOTHER, "others", "AVAILABLE")),
            PENDING => answer(version(PENDING, "events", "PENDING")),
            _ => error(400, "com.amazonaws.glue#EntityNotFoundException"),
        },
        "AWSGlue.GetSchemaByDefinition" if is_known && question["SchemaDefinition"] == REGISTERED[0] => {
            answer(json!({"SchemaVersionId": VERSION, "Status": "AVAILABLE"}))
        }
        "AWSGlue.GetSchema" if is_known => answer(json!({"SchemaName": "known", "Compatibility": "BACKWARD"})),
        "AWSGlue.RegisterSchemaVersion" if is_known && question["SchemaDefinition"] == REGISTERED[1] => {
            answer(json!({"SchemaVersionId": VERSION, "Status": "PENDING"}))
        }
        "AWSGlue.RegisterSchemaVersion" if is_known => answer(json!({"SchemaVersionId": PENDING, "Status": "FAILURE"})),
        "AWSGlue.CreateSchema" => {
            let rest =
                [question["DataFormat"].as_str(), question["Compatibility"].as_str(), question["SchemaName"].as_str()];
            assert_eq!(rest, [Some("AVRO"), Some("BACKWARD"), Some("new")]);
            answer(json!({"SchemaVersionId": VERSION, "SchemaVersionStatus": "AVAILABLE"}))
        }
        _ => error(400, "EntityNotFoundException"),
    }
}

fn at(server: &Server, name: &str) -> Registry {
    let place = Place::Glue {
        arn: format!("arn:aws:glue:eu-central-1:123456789012:registry/{name}"),
        region: "eu-central-1".to_owned(),
        name: name.to_owned(),
        endpoint: Some(server.url.clone()),
    };
    let settings = RegistrySettings { place, timeout: Duration::from_secs(1), ..RegistrySettings::at("") };
    Registry::connect(&settings).unwrap().signed_by(Signer::with("eu-central-1", "glue", "AKIDEXAMPLE", "hush"))
}

pub(crate) fn add(suite: &mut Suite) {
    suite.test("contract::glue", &[], |_| {
        run(async {
            let server = Server::start(registry).await;
            let unknown = [
                SchemaRef::Version(Uuid::nil()),
                SchemaRef::Version(OF_ANOTHER),
                SchemaRef::Id(1),
                SchemaRef::Fingerprint(7),
            ];
            let there = [(SchemaRef::Version(VERSION), REGISTERED[0])];
            what_was_registered_is_found_by_its_name_and_what_was_not_is_none(&at(&server, "events"), &there, &unknown)
                .await;
            for asked in server.asked() {
                let signed = asked.header("authorization").unwrap();
                assert!(
                    signed.contains("Credential=AKIDEXAMPLE/") && signed.contains("/eu-central-1/glue/aws4_request"),
                    "{signed}"
                );
                assert!(signed.contains("x-amz-target") && !asked.head.contains("hush"), "{signed}");
                assert_eq!(asked.header("content-type"), Some("application/x-amz-json-1.1"));
            }
        });
    });
    suite.test("glue::what_is_not_judged_yet_and_what_fails_may_pass_and_a_right_that_lacks_is_named", &[], |_| {
        run(async {
            let server = Server::start(registry).await;
            let told = at(&server, "events").find(&SchemaRef::Version(PENDING)).await.unwrap_err();
            assert!(told.is_transient() && told.to_string().contains("not judged"), "{told}");
            let missing = at(&server, "nothing").ping().await.unwrap_err();
            assert!(
                matches!(&missing, SchemasError::Refused(why) if why.contains("SCHEMA_REGISTRY_URL")),
                "{missing:?}"
            );
            for (reply, is_transient, says) in [
                (
                    (|_: &Asked| error(500, "InternalServiceException")) as fn(&Asked) -> Reply,
                    true,
                    "InternalServiceException",
                ),
                (|_| error(400, "ThrottlingException"), true, "Throttling"),
                (|_| error(400, "ConcurrentModificationException"), true, "Concurrent"),
                (|_| Reply::Answer(200, "welcome".to_owned()), true, "does not answer"),
                (|_| Reply::HangUp, true, ""),
                (|_| Reply::Silent, true, "no answer within 1 s"),
                (|_| error(400, "AccessDeniedException"), false, "glue:GetSchemaVersion"),
                (|_| error(400, "ExpiredTokenException"), false, "no access"),
                (|_| error(403, "SomethingException"), false, "no access"),
                (|_| error(400, "InvalidInputException"), false, "refuses"),
            ] {
                let server = Server::start(reply).await;
                let told = at(&server, "events").find(&SchemaRef::Version(VERSION)).await.unwrap_err();
                assert!(told.is_transient() == is_transient && told.to_string().contains(says), "{says}: {told}");
            }
        });
    });
    suite.test("glue::a_schema_is_registered_as_a_version_or_makes_its_schema", &[], |_| {
        run(async {
            let server = Server::start(registry).await;
            let registry = at(&server, "events");
            let [first, second] = REGISTERED;
            assert_eq!(registry.look("known", first).await, Ok(Look::There(format!("version {VERSION}"))));
            assert_eq!(registry.look("known", second).await, Ok(Look::Unjudged("BACKWARD".to_owned())));
            assert_eq!(registry.look("new", first).await, Ok(Look::New));
            let there = Ok(Registered::As(format!("version {VERSION}")));
            assert_eq!(registry.register("known", second).await, there);
            assert_eq!(registry.register("new", first).await, there);
            let refused = registry.register("known", first).await.unwrap();
            assert!(matches!(refused, Registered::Incompatible(_)), "{refused:?}");
        });
    });
}
