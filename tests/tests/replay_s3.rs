//! A replay into S3 by the command, against the stand-in of AWS: the same rows as in a folder, killed and gone on with, and refused where others'
//! objects are.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use lyceum_services::{Endpoints, Service, Suite};
use lyceum_tests::academy::booking;
use lyceum_tests::aws;
use lyceum_tests::workplace::Workplace;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

const BOOKINGS: &str = "nlj.training.bookings";
const RECORDS: usize = 400;

pub(crate) fn add(suite: &mut Suite) {
    suite.test("a_replay_to_s3_has_the_rows_of_a_folder_and_goes_on_where_it_was_killed", &[Service::Aws], to_s3);
}

/// What is below a prefix.
async fn objects(client: &Client, bucket: &str, prefix: &str) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.expect("the bucket is listed").contents() {
            let key = object.key().expect("it has a name");
            let got = client.get_object().bucket(bucket).key(key).send().await.expect("it is there");
            let bytes = got.body.collect().await.expect("it is whole").to_vec();
            objects.insert(key.strip_prefix(prefix).expect("it is below").to_owned(), bytes);
        }
    }
    objects
}

/// The files with rows in a folder.
fn rows_below(folder: &Path, from: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in folder.read_dir().expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            rows_below(&path, from, found);
        } else {
            let name = path.strip_prefix(from).expect("it is below").display().to_string();
            found.insert(name, std::fs::read(path).expect("it is read"));
        }
    }
}

fn to_s3(endpoints: &Endpoints) {
    // One for all calls: a client's connections belong to the runtime that they were made in.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = endpoints.url(Service::Aws);
    let bucket = format!("replays-{}", Uuid::new_v4().simple());
    let config = runtime.block_on(aws::config(url));
    let client = Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
    let made = runtime.block_on(client.create_bucket().bucket(&bucket).create_bucket_configuration(place).send());
    made.expect("a bucket");

    let variables = [&aws::VARIABLES[..], &[("AWS_ENDPOINT_URL", url)]].concat();
    let workplace = Workplace::new();
    let mut random = StdRng::seed_from_u64(5);
    let lines: Vec<Value> = (0..RECORDS)
        .map(|number| booking(&mut random, "requested", &format!("b{number}"), &format!("s{}", number % 7)))
        .collect();
    workplace.write_lines("bookings.jsonl", &lines);
    workplace.run_with(&variables, &["ingest", "bookings.jsonl"]).expect_code(0);
    let replay = |place: &str, more: &[&str]| {
        let command = ["replay", "--topic", BOOKINGS, "--to-file", place];
        workplace.run_with(&variables, &[&command, more].concat())
    };

    for format in ["jsonl", "parquet"] {
        let prefix = format!("day/{format}/");
        let name = format!("s3://{bucket}/day/{format}");
        let done = replay(&name, &["--as-file", format, "--format", "json"]).expect_code(0).json();
        assert_eq!((&done["state"], &done["counts"]["sent"]), (&json!("done"), &json!(RECORDS)), "{done:#}");
        let folder = format!("out-{format}");
        replay(&folder, &["--as-file", format]).expect_code(0);
        let mut there = runtime.block_on(objects(&client, &bucket, &prefix));
        let manifest: Value = serde_json::from_slice(&there["manifest.json"]).expect("it is JSON");
        let asked = json!({"topics": [BOOKINGS], "range": {"times": {}}, "filter": {}});
        assert_eq!((&manifest["rows"], &manifest["records"]), (&json!(RECORDS), &asked), "{manifest:#}");
        there.retain(|name, _| name.starts_with("data/"));
        let (mut here, folder) = (BTreeMap::new(), workplace.path().join(&folder));
        rows_below(&folder.join("data"), &folder, &mut here);
        assert!(!here.is_empty() && here == there, "{:?} and {:?}", here.keys(), there.keys());
    }

    // A process that is killed on the way: the next one goes on, and the rows are those.
    let slow = format!("s3://{bucket}/slow");
    let server = workplace.up(&variables);
    let begun = replay(&slow, &["--rate", "150", "--format", "json"]).expect_code(0).json();
    let id = begun["id"].as_str().expect("it has an id").to_owned();
    let state = || workplace.run_with(&variables, &["replay", "status", &id, "--format", "json"]).json();
    while state()["counts"]["sent"].as_u64() == Some(0) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(server.running.kill(), "it was at work");
    assert_eq!(state()["state"], "running");
    let server = workplace.up(&variables);
    workplace.run_with(&variables, &["replay", "status", &id, "--wait"]).expect_code(0).expect_print(&["done"]);
    server.stop().expect_code(0);
    let [whole, resumed] = ["day/jsonl/", "slow/"].map(|prefix| {
        let mut there = runtime.block_on(objects(&client, &bucket, prefix));
        there.retain(|name, _| name.starts_with("data/"));
        there
    });
    assert!(!whole.is_empty() && whole == resumed, "{:?} and {:?}", whole.keys(), resumed.keys());

    // What is another request's, no replay's, or not there.
    replay(&slow, &["--limit", "5"]).expect_code(1).expect_report(&["are of another request", "name another place"]);
    runtime.block_on(client.put_object().bucket(&bucket).key("mine/thesis.doc").send()).expect("it is written");
    let mine = format!("s3://{bucket}/mine");
    replay(&mine, &[]).expect_code(1).expect_report(&["thesis.doc", "name a place where nothing is"]);
    replay("s3://there-is-no-such-bucket-of-ours/x", &["--dry-run"])
        .expect_code(1)
        .expect_report(&["there-is-no-such-bucket-of-ours"]);
}
