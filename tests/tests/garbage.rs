//! What is broken gets a clear message and a code that is not zero; what is valid around it is stored.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use flate2::write::GzEncoder;
use lyceum_tests::academy::video_statements;
use lyceum_tests::workplace::{Finished, Running, Server, Workplace};
use serde_json::{Value, json};

/// Three valid statements.
fn write_good(workplace: &Workplace, name: &str, seed: u64) {
    workplace.write_lines(name, &video_statements(seed, 3));
}

/// Garbage on a line of its own, a valid statement before and after it.
fn between(garbage: &[u8]) -> Vec<u8> {
    let statements = video_statements(7, 2);
    [format!("{}\n", statements[0]).as_bytes(), garbage, format!("\n{}\n", statements[1]).as_bytes()].concat()
}

fn ingest(workplace: &Workplace, files: &[&str]) -> Finished {
    workplace.run(&[&["ingest", "--format", "json"], files].concat())
}

fn stored(workplace: &Workplace) -> u64 {
    let platform = workplace.run(&["query", "platform", "--format", "json"]).expect_code(0).json();
    platform["total"].as_u64().expect("a number")
}

fn findings(workplace: &Workplace) -> Vec<Value> {
    let letters = workplace.run(&["dead-letters", "list", "--tenant", "*", "--format", "json"]).expect_code(0).json();
    letters["dead_letters"].as_array().expect("a list").clone()
}

#[test]
fn an_empty_file_holds_nothing_and_that_is_no_error() {
    let workplace = Workplace::new();
    write_good(&workplace, "good.jsonl", 1);
    workplace.write("empty.jsonl", "");
    let summary = ingest(&workplace, &["empty.jsonl"]).expect_code(0).json();
    assert_eq!((&summary["read"], &summary["applied"]), (&json!(0), &json!(0)));
    assert_eq!(summary["empty_files"], json!(["empty.jsonl"]));
    workplace.run(&["ingest", "empty.jsonl"]).expect_code(0).expect_print(&["empty.jsonl is empty"]);
    let summary = ingest(&workplace, &["empty.jsonl", "good.jsonl"]).expect_code(0).json();
    assert_eq!(summary["applied"], json!(3));
    workplace.run(&["validate", "empty.jsonl"]).expect_code(0).expect_print(&["0 valid, 0 invalid"]);
}

#[test]
fn binary_and_invalid_utf_8_become_dead_letters_byte_for_byte_and_their_neighbours_are_stored() {
    let workplace = Workplace::new();
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').cycle().skip(128).take(5_000).collect();
    for (name, garbage, number) in [
        ("binary.jsonl", &bytes[..], 1),
        ("utf8.jsonl", b"{\"verb\": \"\xff\xfe\"}", 2),
        ("text.jsonl", b"not json", 3),
    ] {
        workplace.write(name, between(garbage));
        let summary = ingest(&workplace, &[name]).expect_code(3).json();
        assert_eq!(summary["dead_lettered"], json!({"decode": 1}), "{name}: {summary}");
        assert_eq!(stored(&workplace), 2, "{name}");
        let letters = findings(&workplace);
        assert_eq!(letters.len(), number, "{name}");
        assert!(!letters[0]["findings"].as_array().unwrap().is_empty(), "{name}: {}", letters[0]);
        workplace.run(&["validate", name]).expect_code(1).expect_print(&["2 valid, 1 invalid", &format!("{name}:2")]);
    }
}

#[test]
fn a_line_of_100_megabytes_is_reported_and_passed_over() {
    let workplace = Workplace::new();
    workplace.write("long.jsonl", between(&vec![b'x'; 100 << 20]));
    let finished = ingest(&workplace, &["long.jsonl"]).expect_code(1);
    let summary = finished.json();
    assert_eq!((&summary["read"], &summary["applied"]), (&json!(3), &json!(2)), "{summary}");
    assert_eq!(summary["not_published_total"], json!(1));
    let told = summary["not_published"][0].as_str().unwrap();
    assert!(told.contains("long.jsonl, line 2") && told.contains("104857601 bytes"), "{told}");
    assert_eq!(stored(&workplace), 2);
    workplace.run(&["validate", "long.jsonl"]).expect_code(1).expect_print(&["2 valid, 1 invalid", "long.jsonl:2"]);
}

#[test]
fn an_event_that_the_log_would_refuse_is_reported_and_its_neighbours_are_stored() {
    let workplace = Workplace::new();
    let mut statements = video_statements(11, 3);
    // Kafka takes records up to 1 MiB by default.
    statements[1]["result"] = json!({"response": "x".repeat(1 << 20)});
    workplace.write_lines("large.jsonl", &statements);
    let finished = ingest(&workplace, &["large.jsonl"]).expect_code(1);
    let told = finished.json()["not_published"][0].clone();
    assert!(told.as_str().is_some_and(|told| told.starts_with("large.jsonl, line 2: ")), "{told}");
    assert_eq!(stored(&workplace), 2);
}

#[test]
fn ten_thousand_levels_end_no_stack() {
    let workplace = Workplace::new();
    let deep = [r#"{"a":"#.repeat(10_000), "1".to_owned(), "}".repeat(10_000)].concat();
    let deep_array = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    for (name, garbage) in [("deep.jsonl", deep), ("deep-array.jsonl", format!("{{\"x\": {deep_array}}}"))] {
        workplace.write(name, between(garbage.as_bytes()));
        let summary = ingest(&workplace, &[name]).expect_code(3).json();
        let dead = summary["dead_lettered"].as_object().unwrap();
        assert_eq!(dead.values().filter_map(Value::as_u64).sum::<u64>(), 1, "{summary}");
        assert_eq!(stored(&workplace), 2);
        workplace.run(&["validate", name]).expect_code(1).expect_print(&["2 valid, 1 invalid"]);
    }
    workplace.write("batch.json", format!("{{\"records\": {deep_array}}}"));
    workplace.run(&["invoke", "statement", "batch.json"]).expect_code(2).expect_report(&["batch.json"]);
}

#[test]
fn of_a_truncated_gzip_file_what_came_before_the_cut_is_stored() {
    let workplace = Workplace::new();
    let statements = video_statements(3, 2_000);
    let mut file = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    statements.iter().for_each(|statement| writeln!(file, "{statement}").unwrap());
    let whole = file.finish().unwrap();
    workplace.write("cut.jsonl.gz", &whole[..whole.len() / 2]);
    write_good(&workplace, "good.jsonl", 4);
    let finished = ingest(&workplace, &["cut.jsonl.gz", "good.jsonl"]).expect_code(2);
    let applied = finished.json()["applied"].as_u64().unwrap();
    assert!((500..2_000).contains(&applied), "{applied}");
    assert_eq!(stored(&workplace), applied);
    finished.expect_report(&["cannot read cut.jsonl.gz after", "events before it were accepted"]);
    let judged = workplace.run(&["validate", "cut.jsonl.gz"]).expect_code(2);
    judged.expect_report(&["cut.jsonl.gz"]).expect_print(&[" valid, 0 invalid"]);
}

#[test]
fn arrays_behind_each_other_are_read_to_the_end_and_what_cannot_be_read_is_told_with_line_and_byte() {
    let workplace = Workplace::new();
    let statements: Vec<String> = video_statements(9, 4).iter().map(Value::to_string).collect();
    let [a, b, c, d] = &statements[..] else { unreachable!() };
    workplace.write("arrays.json", format!("\u{feff}[{a}]\r\n[{b},\n{c}]\n{d}\n"));
    workplace.run(&["validate", "arrays.json"]).expect_code(0).expect_print(&["4 valid, 0 invalid"]);
    let summary = ingest(&workplace, &["arrays.json"]).expect_code(0).json();
    assert_eq!((&summary["read"], &summary["applied"]), (&json!(4), &json!(4)), "{summary}");

    workplace.write("open.json", format!("[{a} {b},\n{c},"));
    let told = [
        format!("open.json, line 1, byte {}: a comma is missing", a.len() + 2),
        format!("open.json, line 2, byte {}: the file ends here", a.len() + b.len() + c.len() + 5),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    workplace.run(&["validate", "open.json"]).expect_code(2).expect_report(&told).expect_print(&["3 valid, 0 invalid"]);
    let finished = ingest(&workplace, &["open.json"]).expect_code(2).expect_report(&told);
    assert_eq!(finished.json()["duplicate"], json!(3));

    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(a.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    workplace.write("wide.json", wide);
    for command in ["validate", "ingest"] {
        workplace.run(&[command, "wide.json"]).expect_code(2).expect_report(&["wide.json", "UTF-16"]);
    }
}

#[test]
fn statements_of_one_line_are_told_apart_by_their_bytes() {
    let workplace = Workplace::new();
    workplace.write("line.json", "[{},{}]");
    workplace
        .run(&["validate", "line.json"])
        .expect_code(1)
        .expect_print(&["line.json:1: (whole)", "line.json:1: byte 4: (whole)"]);
    let verdicts = workplace.run(&["validate", "line.json", "--format", "json"]).expect_code(1).json_lines();
    assert_eq!((&verdicts[0]["byte"], &verdicts[1]["byte"]), (&Value::Null, &json!(4)));
}

#[test]
fn what_only_begins_like_gzip_is_named() {
    let workplace = Workplace::new();
    workplace.write("odd.gz", [0x1f, 0x8b, 0xff, 0xff, 0xff]);
    write_good(&workplace, "good.jsonl", 4);
    let finished = ingest(&workplace, &["odd.gz", "good.jsonl"]).expect_code(2).expect_report(&["odd.gz"]);
    assert_eq!(finished.json()["applied"], json!(3));
}

#[test]
fn a_missing_file_and_a_folder_are_named_and_the_others_are_stored() {
    let workplace = Workplace::new();
    write_good(&workplace, "good.jsonl", 5);
    std::fs::create_dir(workplace.path().join("folder")).unwrap();
    let finished = ingest(&workplace, &["missing.jsonl", "good.jsonl", "folder"]).expect_code(2);
    assert_eq!(finished.json()["applied"], json!(3));
    finished.expect_report(&["cannot open missing.jsonl", "cannot open folder", "name the files in it"]);
    assert_eq!(stored(&workplace), 3);
    workplace.run(&["validate", "missing.jsonl"]).expect_code(2).expect_report(&["cannot open missing.jsonl"]);
    workplace.run(&["invoke", "statement", "missing.json"]).expect_code(2).expect_report(&["cannot open missing.json"]);
}

#[test]
fn where_no_file_can_be_read_nothing_is_made() {
    let workplace = Workplace::new();
    ingest(&workplace, &["missing.jsonl"]).expect_code(2).expect_report(&["cannot open missing.jsonl"]);
    assert!(!workplace.path().join(".lyceum").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let workplace = Workplace::new();
    write_good(&workplace, "good.jsonl", 6);
    // A file in the folder's place stops every user, root as well.
    for arguments in
        [&["ingest", "good.jsonl", "--data", "good.jsonl/data"][..], &["up", "--port", "0", "--data", "good.jsonl"]]
    {
        let finished = workplace.run(arguments).expect_code(1);
        finished.expect_report(&["cannot use the data folder good.jsonl", "--data"]);
    }
    let locked = workplace.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    let mut command = Command::new("sh");
    // As nobody, since root may write everywhere; where this test is no root, it is nobody special already.
    command.args(["-c", "chmod 555 locked && if [ $(id -u) = 0 ]; then chmod 755 . && exec setpriv --reuid=65534 --clear-groups \"$@\"; else exec \"$@\"; fi", "sh"]);
    command.arg(copy_binary(&workplace)).args(["ingest", "good.jsonl", "--data", "locked/data"]);
    let finished = Running::start(workplace.prepare(&mut command)).wait().expect_code(1);
    finished.expect_report(&["cannot use the data folder locked/data", "ermission denied"]);
}

/// The binary where every user can reach it.
fn copy_binary(workplace: &Workplace) -> std::path::PathBuf {
    let copy = workplace.path().join("lyceum");
    std::fs::copy(lyceum_tests::binary::lyceum(), &copy).expect("the binary can be copied");
    copy
}

/// A disk of 6 MB: a file system of its own where one may be mounted, else a limit on the size of every file.
struct SmallDisk<'a> {
    workplace: &'a Workplace,
    is_mounted: bool,
}

impl<'a> SmallDisk<'a> {
    fn new(workplace: &'a Workplace) -> Self {
        std::fs::create_dir(workplace.path().join("small")).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs", "small"]);
        let is_mounted = workplace.prepare(&mut mount).output().is_ok_and(|mount| mount.status.success());
        Self { workplace, is_mounted }
    }

    fn ingest(&self, file: &str) -> Finished {
        let arguments = ["ingest", file, "--format", "json", "--data", "small/data"];
        if self.is_mounted {
            return self.workplace.run(&arguments);
        }
        let mut command = Command::new("sh");
        // In blocks of 512 bytes; a signal that nobody ignores would end the process before it can say a word.
        command.args(["-c", "trap '' XFSZ; ulimit -f 8192 || exit 99; exec \"$@\"", "sh"]);
        command.arg(lyceum_tests::binary::lyceum()).args(arguments);
        let finished = Running::start(self.workplace.prepare(&mut command)).wait();
        assert_ne!(finished.code, Some(99), "this test needs the right to mount, or a shell with ulimit -f");
        finished
    }

    /// Makes room, as a person would.
    fn grow(&self) {
        if self.is_mounted {
            let mut mount = Command::new("mount");
            mount.args(["-o", "remount,size=400m", "small"]);
            assert!(self.workplace.prepare(&mut mount).status().is_ok_and(|status| status.success()));
        }
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            let mut unmount = Command::new("umount");
            let _ = self.workplace.prepare(unmount.arg("small")).status();
        }
    }
}

#[test]
fn a_full_disk_is_reported_and_once_there_is_room_everything_is_stored_once() {
    let workplace = Workplace::new();
    let statements = video_statements(8, 20_000);
    workplace.write_lines("many.jsonl", &statements);
    let disk = SmallDisk::new(&workplace);
    let finished = disk.ingest("many.jsonl");
    assert_ne!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.code.is_some(), "a signal ended it: {}", finished.stderr);
    finished.expect_report(&["error: ", "the disk", "full", "ingest the files once more"]);
    disk.grow();
    let arguments = ["ingest", "many.jsonl", "--format", "json", "--data", "small/data"];
    let summary = workplace.run(&arguments).expect_code(0).json();
    assert_eq!(summary["dead_lettered"], json!({}), "{summary}");
    let platform =
        workplace.run(&["query", "platform", "--format", "json", "--data", "small/data"]).expect_code(0).json();
    assert_eq!(platform["total"], json!(statements.len()));
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let workplace = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let finished = workplace.run(&["up", "--port", &port]).expect_code(1);
    finished.expect_report(&["cannot listen on 127.0.0.1", &port, "--port 0"]);
    // Nothing is left held: the next start on the same folder works.
    workplace.up(&[]).stop().expect_code(0);
}

#[test]
fn a_wrong_flag_a_wrong_command_and_a_wrong_value_end_with_code_2_and_a_hint() {
    let workplace = Workplace::new();
    for (arguments, words) in [
        (&["ingest", "--tpoic", "x", "f"][..], "--topic"),
        (&["injest"][..], "ingest"),
        (&["up", "--port", "99999"][..], "99999"),
        (&["validate", "f", "--xapi-version", "3.0"][..], "1.0.3"),
        (&["dead-letters", "list", "--kind", "nope"][..], "validation"),
        (&["dead-letters", "show", "nowhere"][..], "nowhere"),
        (&["ingest"][..], "FILE"),
    ] {
        workplace.run(arguments).expect_code(2).expect_report(&["error:", words]);
    }
    assert!(!workplace.path().join(".lyceum").exists(), "a wrong command makes nothing");
}

#[test]
fn every_wrong_variable_is_reported_at_once() {
    let workplace = Workplace::new();
    let variables = [("BATCH_SIZE", "many"), ("API_TOKENS", "acme:root:0123456789abcdef"), ("LOG_FORMAT", "xml")];
    let finished = workplace.run_with(&variables, &["status"]).expect_code(1);
    assert!(!finished.stderr.contains("0123456789abcdef"), "a secret is in the message: {}", finished.stderr);
    finished.expect_report(&["BATCH_SIZE", "API_TOKENS", "LOG_FORMAT"]);
}

#[test]
fn an_unknown_topic_is_named_with_those_that_there_are() {
    let workplace = Workplace::new();
    write_good(&workplace, "good.jsonl", 9);
    let finished = ingest(&workplace, &["good.jsonl", "--topic", "nlj.nope"]).expect_code(1);
    finished.expect_report(&["nlj.nope", "lyceum topics"]);
    workplace
        .run(&["tail", "nlj.nope", "--from", "beginning"])
        .expect_code(1)
        .expect_report(&["nlj.nope", "lyceum topics"]);
    // A topic that is there, and that no function reads, would wait for ever.
    let finished = ingest(&workplace, &["good.jsonl", "--topic", "nlj.errors.validation"]).expect_code(1);
    finished.expect_report(&["no function reads topic nlj.errors.validation"]);
    assert_eq!(stored(&workplace), 0);
}

#[test]
fn an_unknown_function_a_wrong_batch_and_an_unknown_record_are_named() {
    let workplace = Workplace::new();
    workplace.write("batch.json", "{}");
    workplace.write("no.json", "{");
    workplace.run(&["invoke", "nope", "batch.json"]).expect_code(1).expect_report(&["nope"]);
    workplace.run(&["invoke", "statement", "no.json"]).expect_code(2).expect_report(&["no.json is no JSON"]);
    workplace.run(&["invoke", "statement", "batch.json"]).expect_code(1).expect_report(&["statement"]);
    write_good(&workplace, "good.jsonl", 1);
    ingest(&workplace, &["good.jsonl"]).expect_code(0);
    workplace
        .run(&["dead-letters", "show", "nlj.errors.validation/0/7"])
        .expect_code(1)
        .expect_report(&["dead-letters list"]);
}

#[tokio::test]
async fn a_running_process_says_the_same_of_garbage() {
    let workplace = Workplace::new();
    let server: Server = workplace.up(&[]);
    workplace.write("odd.jsonl", between(b"\xff\x00{"));
    workplace.write("long.jsonl", between(&vec![b'x'; 9 << 20]));
    let summary = ingest(&workplace, &["odd.jsonl"]).expect_code(3).json();
    assert_eq!((&summary["applied"], &summary["dead_lettered"]), (&json!(2), &json!({"decode": 1})));
    let finished = ingest(&workplace, &["long.jsonl", "missing.jsonl"]).expect_code(2);
    assert_eq!((&finished.json()["read"], &finished.json()["not_published_total"]), (&json!(3), &json!(1)));
    finished.expect_report(&["cannot open missing.jsonl"]);
    let (status, problem) = server.post("/events/nlj.nope", &json!({}), None).await;
    assert_eq!(
        (status, problem["detail"].as_str().is_some_and(|detail| detail.contains("nlj.xapi.statements"))),
        (404, true)
    );
    assert_eq!(server.get("/health", None).await.0, 200);
    server.stop().expect_code(0);
}
