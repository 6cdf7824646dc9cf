//! What each failure says, and that nothing is lost by it.

use std::fs;

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use lyceum_core::replay::sink::File;
use lyceum_core::replay::{FileFormat, Sinks};
use lyceum_services::{Service, Suite};
use lyceum_testing::sink_contract::{chunk, records};
use serde_json::json;
use uuid::Uuid;

use crate::given::{files, sinks};
use crate::run;

const REGION: &str = "eu-central-1";

pub(crate) async fn client(endpoint: &str) -> Client {
    let key = Credentials::new("test", "test", None, None, "test");
    let loader = lyceum_aws::loader().endpoint_url(endpoint).region(Region::new(REGION)).credentials_provider(key);
    let config: SdkConfig = loader.load().await;
    Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build())
}

pub(crate) async fn make_bucket(client: &Client, name: &str) {
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
    client.create_bucket().bucket(name).create_bucket_configuration(place).send().await.expect("a bucket");
}

pub(crate) fn add(suite: &mut Suite) {
    suite.test("failures::a_folder_with_other_files_is_refused_and_keeps_them", &[], |_| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.doc"), "of years").expect("a file");
        let before = files(folder.path());
        let of = file(&folder.path().display().to_string());
        for refused in [run(sinks().check(&of)).err(), run(sinks().begin(&of)).err()] {
            let error = refused.expect("it is refused");
            assert!(!error.is_transient() && error.to_string().contains("thesis.doc"), "{error}");
        }
        assert_eq!(files(folder.path()), before);
    });
    suite.test("failures::what_is_no_folder_is_refused_by_its_name", &[], |_| {
        let folder = tempfile::tempdir().expect("a folder");
        let a_file = folder.path().join("file");
        fs::write(&a_file, "").expect("a file");
        for place in [a_file.display().to_string(), a_file.join("below").display().to_string()] {
            for refused in [run(sinks().check(&file(&place))).err(), run(sinks().begin(&file(&place))).err()] {
                let error = refused.expect("it is refused");
                assert!(!error.is_transient() && error.to_string().contains("file"), "{error}");
            }
        }
        for place in ["s3:///prefix", "http://example.com/a"] {
            let error = run(sinks().check(&file(place))).expect_err("it is refused");
            assert!(!error.is_transient() && error.to_string().contains("s3://bucket/prefix"), "{error}");
        }
    });
    suite.test("failures::a_file_that_was_taken_away_is_missed_when_all_is_finished", &[], |_| {
        let folder = tempfile::tempdir().expect("a folder");
        let of = file(&folder.path().display().to_string());
        run(async {
            let mut sink = sinks().begin(&of).await.expect("it begins");
            sink.append(&chunk(0, 0, 9), &records(0, 0, 9)).await.expect("it is appended");
            let (gone, _) = files(folder.path()).into_iter().find(|(name, _)| name.contains("data")).expect("data");
            fs::remove_file(folder.path().join(&gone)).expect("it goes");
            let error = sink.finish().await.expect_err("it is missed");
            assert!(!error.is_transient() && error.to_string().contains(&gone), "{error}");
        });
    });
    #[cfg(target_os = "linux")]
    suite.test("failures::a_full_disk_may_pass_and_takes_nothing_of_what_counts", &[], |_| full_disk());
    suite.test("failures::a_bucket_that_is_not_there_is_named", &[Service::Aws], |endpoints| {
        let endpoint = endpoints.url(Service::Aws).to_owned();
        run(async {
            let (sinks, of) = (sinks().with_s3(client(&endpoint).await), file("s3://no-such-bucket/a"));
            for refused in [sinks.check(&of).await.err(), sinks.begin(&of).await.err()] {
                let error = refused.expect("it is refused");
                assert!(!error.is_transient() && error.to_string().contains("no bucket no-such-bucket"), "{error}");
            }
        });
    });
}

fn file(place: &str) -> File {
    let records = json!({"topics": ["nlj.contract"]});
    File { place: place.to_owned(), format: FileFormat::Jsonl, request: Uuid::from_u128(9), records }
}

/// `/dev/full` answers every write as a full disk does: it stands where the next chunk's file is to be written.
#[cfg(target_os = "linux")]
fn full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = file(&folder.path().display().to_string());
    run(async {
        let mut sink = sinks().begin(&of).await.expect("it begins");
        sink.append(&chunk(0, 0, 9), &records(0, 0, 9)).await.expect("it is appended");
        let before = files(folder.path());
        let next = |ending: &str| folder.path().join(format!("data/day=2026-11-30/nlj.contract/{ending}"));
        let unfinished = next(".1-000000000000-000000000002.jsonl.part");
        std::os::unix::fs::symlink("/dev/full", &unfinished).expect("a link");
        let error = sink.append(&chunk(1, 0, 2), &records(1, 0, 2)).await.expect_err("the disk is full");
        assert!(error.is_transient() && error.to_string().contains("make room"), "{error}");
        assert!(!unfinished.exists(), "what was not finished takes no room");
        assert_eq!(files(folder.path()), before);
        sink.append(&chunk(1, 0, 2), &records(1, 0, 2)).await.expect("there is room again");
        assert_eq!(sink.finish().await.expect("it ends")["rows"], 11);
    });
}
