//! AWS IAM, on the stand-in for the IAM listener of Amazon MSK. Credentials are those of a process's environment, so each
//! test has a process of its own: this binary again, with a story to tell.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lyceum_core::environment::Reading;
use lyceum_core::ports::event_log::{Administer, Change, EventLogError, Follow, Publish, Retention, TopicSpec};
use lyceum_kafka::KafkaEventLog;
use lyceum_kafka::settings::{KafkaSettings, Sasl};
use lyceum_services::{Endpoints, Service, Suite};

use super::{assert_unauthorized, connect, create, plaintext, read_all, record, refusal, run, text_of};

/// The variables by which a process learns its part.
pub(crate) const STORY: &str = "LYCEUM_TEST_IAM_STORY";
const TOPIC: &str = "LYCEUM_TEST_IAM_TOPIC";

const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "lyceum-iam-secret");
const USUAL: &[(&str, &str)] = &[REGION, ("AWS_ACCESS_KEY_ID", "AKIDLYCEUM"), SECRET];
/// As a role has them, with a session's token; what they sign is taken for eight seconds.
const BRIEF: &[(&str, &str)] =
    &[REGION, ("AWS_ACCESS_KEY_ID", "AKIDBRIEF"), SECRET, ("AWS_SESSION_TOKEN", "a/session+token==")];
const WRONG: &[(&str, &str)] = &[REGION, ("AWS_ACCESS_KEY_ID", "AKIDLYCEUM"), ("AWS_SECRET_ACCESS_KEY", "another")];
const ELSEWHERE: &[(&str, &str)] = &[("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "AKIDLYCEUM"), SECRET];
const NOBODY: &[(&str, &str)] = &[REGION, ("AWS_EC2_METADATA_DISABLED", "true")];

/// How long a client believes a token to last that is accepted for eight seconds.
const BRIEFLY: Duration = Duration::from_secs(4);
/// Longer than such a token is taken.
const FROZEN: Duration = Duration::from_secs(10);

type Variables = &'static [(&'static str, &'static str)];
type Story = fn(KafkaSettings);

const STORIES: &[(&str, Variables, Story)] = &[
    ("records_are_written_read_and_committed", USUAL, use_everything),
    ("a_token_that_ends_is_followed_by_the_next", BRIEF, outlive_a_token),
    ("a_process_frozen_past_the_end_of_its_token_goes_on", BRIEF, wake_with_an_old_token),
    ("a_wrong_secret_is_named_at_once", WRONG, be_refused_for_the_secret),
    ("a_token_for_another_region_is_refused", ELSEWHERE, be_refused_for_the_region),
    ("missing_credentials_are_named", NOBODY, be_refused_without_credentials),
    ("topics_are_told_and_how_they_are_made", USUAL, ask_for_topics),
];

pub(crate) fn add(suite: &mut Suite) {
    for &(name, variables, _) in STORIES {
        suite.test_where(format!("iam::{name}"), &[Service::Kafka], missing, move |endpoints| {
            let mut told = start(name, variables, endpoints);
            let mut output = BufReader::new(told.stdout.take().unwrap());
            let mut line = String::new();
            // A story that is to be frozen says when.
            if output.read_line(&mut line).unwrap() > 0 {
                signal(&told, "STOP");
                told.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
                thread::sleep(FROZEN);
                signal(&told, "CONT");
            }
            let mut said = String::new();
            told.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(told.wait().unwrap().success(), "{said}");
        });
    }
}

fn missing(endpoints: &Endpoints) -> Option<String> {
    let why = "the Kafka in use has no listener for IAM: start the project's own where Java and Maven are, or name one by LYCEUM_TEST_KAFKA_IAM";
    endpoints.kafka().iam.is_none().then(|| why.to_owned())
}

fn start(story: &str, variables: Variables, endpoints: &Endpoints) -> Child {
    let kafka = endpoints.kafka();
    let topic = run(async { create(&connect(&plaintext(endpoints)), 2).await });
    let mut process = Command::new(env::current_exe().unwrap());
    process.env_clear().envs(variables.iter().copied());
    process.envs([(STORY, story), (TOPIC, &topic), ("AWS_MSK_IAM", "true")]);
    process.env("KAFKA_BOOTSTRAP_SERVERS", kafka.iam.as_ref().unwrap());
    process.env("KAFKA_SSL_CA_LOCATION", text_of(kafka.ca_file.as_ref().unwrap()));
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status();
    assert!(sent.unwrap().success());
}

/// What the process of a test does.
pub(crate) fn tell(story: &str) {
    let (_, _, tell) = STORIES.iter().find(|(name, ..)| *name == story).expect("a story of the list");
    let variable = |name: &str| env::var(name).ok();
    let mut reading = Reading::new(&variable);
    let settings = KafkaSettings::read(&mut reading);
    tell(reading.finish(settings).unwrap().unwrap());
}

fn topic() -> String {
    env::var(TOPIC).unwrap()
}

fn brief(settings: KafkaSettings) -> KafkaSettings {
    let Some(Sasl::AwsIam { region, .. }) = settings.sasl else { panic!("{settings:?}") };
    KafkaSettings { sasl: Some(Sasl::AwsIam { region, token_lifetime: BRIEFLY }), ..settings }
}

fn use_everything(settings: KafkaSettings) {
    run(async {
        let (log, topic) = (connect(&settings), topic());
        let positions = log.produce(&topic, vec![record("one"), record("two"), record("three")]).await.unwrap();
        assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(read_all(&log, &topic, 0).await, ["one", "two", "three"]);
        log.commit(&topic, &topic, &[(0, 2)]).await.unwrap();
        assert_eq!(log.committed(&topic, &topic).await.unwrap(), [(0, 2)].into());
        let member = log.join(&topic, &topic, Duration::from_secs(30)).await.unwrap();
        assert_eq!(member.change().await.unwrap(), Change::Assigned(BTreeSet::from([0, 1])));
        member.commit(&[(0, 3)]).await.unwrap();
        member.leave().await;
        assert_eq!(log.committed(&topic, &topic).await.unwrap(), [(0, 3)].into());
    });
}

async fn write(log: &KafkaEventLog, topic: &str, written: &mut Vec<String>) -> Result<(), EventLogError> {
    let value = written.len().to_string();
    log.produce(topic, vec![record(value.clone())]).await?;
    written.push(value);
    Ok(())
}

fn outlive_a_token(settings: KafkaSettings) {
    run(async {
        let (log, topic) = (connect(&brief(settings)), topic());
        let (begun, mut written) = (Instant::now(), Vec::new());
        // Three ends of what the client may use, and one of what the broker takes.
        while begun.elapsed() < 3 * BRIEFLY {
            write(&log, &topic, &mut written).await.unwrap();
            assert_eq!(log.offsets(&topic).await.unwrap()[0].end, written.len() as i64);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(read_all(&log, &topic, 0).await, written);
    });
}

fn wake_with_an_old_token(settings: KafkaSettings) {
    run(async {
        let (log, topic) = (connect(&brief(settings)), topic());
        let mut written = Vec::new();
        write(&log, &topic, &mut written).await.unwrap();
        println!("freeze");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        // At once, while its connections are refused for the token that they have.
        assert_eq!(log.offsets(&topic).await.unwrap()[0].end, 1);
        write(&log, &topic, &mut written).await.unwrap();
        assert_eq!(read_all(&log, &topic, 0).await, written);
        log.commit(&topic, &topic, &[(0, 2)]).await.unwrap();
    });
}

fn be_refused_for_the_secret(settings: KafkaSettings) {
    let error = run(refusal(settings));
    assert_unauthorized(&error, "AWS_SECRET_ACCESS_KEY");
    assert!(!error.to_string().contains("KAFKA_SASL"), "{error}");
}

fn be_refused_for_the_region(settings: KafkaSettings) {
    assert_unauthorized(&run(refusal(settings)), "AWS_REGION");
}

fn be_refused_without_credentials(settings: KafkaSettings) {
    let error = run(refusal(settings));
    assert_unauthorized(&error, "no token from credentials of AWS");
    assert_unauthorized(&error, "AWS_ACCESS_KEY_ID");
}

fn ask_for_topics(settings: KafkaSettings) {
    run(async {
        let (log, topic) = (connect(&settings), topic());
        let told = TopicSpec { name: topic, partitions: 2, retention: Retention::default() };
        assert!(log.topics().await.unwrap().contains(&told));
        let wanted = TopicSpec { name: format!("{}.more", told.name), ..told };
        let error = log.create_topic(wanted).await.unwrap_err();
        assert!(matches!(&error, EventLogError::Refused(why) if why.contains("kafka-topics.sh")), "{error:?}");
    });
}
