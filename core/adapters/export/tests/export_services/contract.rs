//! One contract for the model, folders and S3.

use aws_sdk_s3::Client;
use lyceum_services::{Service, Suite};
use lyceum_testing::memory::sinks::MemorySinks;
use lyceum_testing::sink_contract;

use crate::failures::{client, make_bucket};
use crate::given::{files, is_data, positions, sinks};
use crate::run;

pub(crate) fn add(suite: &mut Suite) {
    suite.test("contract::in_memory", &[], |_| {
        let memory = MemorySinks::default();
        run(sink_contract::all(&memory, "memory", &|place| memory.positions(place)));
    });
    suite.test("contract::in_a_folder", &[], |_| {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |place: &str| {
            let data = files(place.as_ref()).into_iter().filter(|(name, _)| is_data(name));
            data.flat_map(|(name, bytes)| positions(&name, &bytes)).collect()
        };
        run(sink_contract::all(&sinks(), &folder.path().display().to_string(), &read));
    });
    suite.test("contract::in_s3", &[Service::Aws], |endpoints| {
        let endpoint = endpoints.url(Service::Aws).to_owned();
        run(async {
            let client = client(&endpoint).await;
            let bucket = format!("export-{}", std::process::id());
            make_bucket(&client, &bucket).await;
            let runtime = tokio::runtime::Handle::current();
            let read = |place: &str| {
                let objects = tokio::task::block_in_place(|| runtime.block_on(objects(&client, place)));
                objects.iter().flat_map(|(name, bytes)| positions(name, bytes)).collect()
            };
            sink_contract::all(&sinks().with_s3(client.clone()), &format!("s3://{bucket}/a prefix"), &read).await;
        });
    });
}

/// The files with rows at a place of S3.
async fn objects(client: &Client, place: &str) -> Vec<(String, Vec<u8>)> {
    let (bucket, prefix) = place.trim_start_matches("s3://").split_once('/').expect("a prefix");
    let listed = client.list_objects_v2().bucket(bucket).prefix(format!("{prefix}/data/")).send().await;
    let mut found = Vec::new();
    for key in listed.expect("a list").contents().iter().filter_map(|object| object.key()) {
        let object = client.get_object().bucket(bucket).key(key).send().await.expect("an object");
        found.push((key.to_owned(), object.body.collect().await.expect("its bytes").to_vec()));
    }
    found
}
