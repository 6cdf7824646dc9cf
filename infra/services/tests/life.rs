//! What runs ends with whoever needs it, however that ends; and what is wrong with a machine is said plainly. On the one
//! service that needs nothing installed.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder of one test; what runs in it ends with the test.
struct Ground {
    folder: TempDir,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).output();
    }
}

impl Ground {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyceum-services"));
        command.arg("--folder").arg(self.path()).args(arguments);
        command.env_remove("LYCEUM_SERVICES_CACHE").env("LYCEUM_SERVICES_LINGER_S", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Runs, and has to end well; what it said.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Starts DynamoDB; where it answers, `host:port`.
    fn up(&self) -> String {
        let said = self.said(&["up", "dynamodb"]);
        let url = said.lines().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL_DYNAMODB=http://"));
        url.unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// The number after `word` in the status.
    fn process(&self, word: &str) -> u32 {
        let status = self.said(&["status"]);
        let rest = status.split(word).nth(1).unwrap_or_else(|| panic!("{status}")).trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
    }
}

fn answers(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

fn lives(process: u32) -> bool {
    // A zombie has ended; who started it has not looked yet.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits for what is bound to come; the limit is for a build that is broken.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(process: u32) {
    let pid = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
    kill_process(pid, Signal::KILL).expect("it can be killed");
}

/// A process that holds a lease until it is killed; the address of its DynamoDB.
fn holder(ground: &Ground) -> (Child, String) {
    let script = "echo $AWS_ENDPOINT_URL_DYNAMODB > $1.part && mv $1.part $1 && exec sleep 1000";
    let file = ground.path().join("address");
    let mut command =
        ground.command(&["with", "dynamodb", "--", "setpriv", "--pdeathsig", "KILL", "sh", "-c", script, "-"]);
    let child = command.arg(&file).stdout(Stdio::null()).spawn().expect("it starts");
    until("the lease", || file.exists());
    let url = fs::read_to_string(file).expect("an address");
    (child, url.trim().trim_start_matches("http://").to_owned())
}

#[test]
fn what_is_up_answers_and_what_is_down_is_gone() {
    let ground = Ground::new();
    let address = ground.up();
    assert!(answers(&address));
    assert_eq!(ground.up(), address, "what runs is not started again");
    let variables = fs::read_to_string(ground.path().join("environment")).expect("variables for a shell");
    assert!(variables.contains(&format!("export AWS_ENDPOINT_URL_DYNAMODB='http://{address}'")), "{variables}");
    let (keeper, service) = (ground.process("keeper"), ground.process("(process"));
    ground.said(&["down"]);
    assert!(!answers(&address) && !lives(service));
    until("the keeper's end", || !lives(keeper));
    assert!(ground.said(&["status"]).contains("nothing runs in"));
    assert!(ground.said(&["down"]).contains("nothing runs in"));
}

#[test]
fn a_command_runs_with_services_and_its_exit_code_is_handed_on() {
    let ground = Ground::new();
    let script = "test -n \"$AWS_ENDPOINT_URL_DYNAMODB\" && exit 7";
    let status = ground.run(&["with", "dynamodb", "--", "sh", "-c", script]).status;
    assert_eq!(status.code(), Some(7));
    until("the keeper's end", || ground.said(&["status"]).contains("nothing runs in"));
}

#[test]
fn a_caller_that_is_killed_leaves_nothing_behind() {
    let ground = Ground::new();
    let (mut caller, address) = holder(&ground);
    let (keeper, service) = (ground.process("keeper"), ground.process("(process"));
    caller.kill().expect("it is killed");
    caller.wait().expect("it ended");
    until("the end of the service", || !lives(service) && !answers(&address));
    until("the keeper's end", || !lives(keeper));
}

#[test]
fn what_another_caller_needs_goes_on() {
    let ground = Ground::new();
    let (mut first, address) = holder(&ground);
    fs::remove_file(ground.path().join("address")).expect("the file of the first");
    let (mut second, same) = holder(&ground);
    assert_eq!(address, same);
    first.kill().expect("it is killed");
    first.wait().expect("it ended");
    // Longer than a service stays that nobody needs.
    std::thread::sleep(Duration::from_secs(3));
    assert!(answers(&address));
    second.kill().expect("it is killed");
    second.wait().expect("it ended");
    until("the end of the service", || !answers(&address));
}

#[test]
fn a_keeper_that_is_killed_leaves_nothing_behind_and_the_next_start_is_clean() {
    let ground = Ground::new();
    let address = ground.up();
    let (keeper, service) = (ground.process("keeper"), ground.process("(process"));
    kill(keeper);
    until("the end of the service", || !lives(service) && !answers(&address));
    assert!(ground.said(&["status"]).contains("nothing runs in"));
    let private = ground.path().join("private/kafka-left");
    fs::create_dir_all(&private).expect("a folder that a killed test left");
    fs::write(private.with_extension("keeper"), "").expect("its lock");
    assert!(answers(&ground.up()));
    assert!(!private.exists(), "what a killed test left is gone");
}

#[test]
fn a_service_that_died_is_started_again_for_who_asks_next() {
    let ground = Ground::new();
    ground.up();
    kill(ground.process("(process"));
    until("the status", || ground.said(&["status"]).contains("DynamoDB ended with signal"));
    assert!(answers(&ground.up()));
    assert!(ground.said(&["status"]).contains("until `down`"), "it was up, and stays so");
}

#[test]
fn callers_that_start_at_once_share_one_keeper_and_one_service() {
    let ground = Ground::new();
    let addresses: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| ground.up())).collect();
        callers.into_iter().map(|caller| caller.join().expect("it runs")).collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
}

/// A folder for PATH with these programs of the machine and no others.
fn path_with(ground: &Ground, programs: &[&str]) -> PathBuf {
    let folder = ground.path().join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    for program in programs {
        let path = std::env::var_os("PATH").expect("a path");
        let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
        std::os::unix::fs::symlink(found.expect("the machine has it"), folder.join(program)).expect("a link");
    }
    folder
}

fn errors(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "it fails in order");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_machine_without_maven_is_told_so() {
    let ground = Ground::new();
    let path = path_with(&ground, &["sh", "setpriv"]);
    let said = errors(&ground.command(&["up", "kafka"]).env("PATH", path).output().expect("it runs"));
    assert!(said.contains("Maven is missing: install it"), "{said}");
}

#[test]
fn a_machine_without_python_is_told_so() {
    let ground = Ground::new();
    let path = path_with(&ground, &["sh", "setpriv"]);
    let said = errors(&ground.command(&["up", "aws"]).env("PATH", path).output().expect("it runs"));
    assert!(said.contains("python3 is missing: install it"), "{said}");
}

/// A Maven that puts half a program into the cache and then asks a server, which decides; and a Java that says what it was given.
fn path_with_maven(ground: &Ground, repository: &str) -> PathBuf {
    let path = path_with(ground, &["sh", "bash", "setpriv", "ls", "chmod", "cat"]);
    let maven = "#!/usr/bin/env bash\nfor a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done\n\
                 echo \"found $(ls $d)\"; echo half > $d/half.jar\n\
                 exec 3<>/dev/tcp/REPOSITORY; printf 'GET / HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n' >&3; read -r _ status _ <&3\n\
                 case $status in 200) echo whole > $d/quarkus-run.jar;; *) echo \"Could not transfer artifact: $status\"; exit 1;; esac\n";
    let (host, port) = repository.split_once(':').expect("an address");
    let java = "#!/bin/sh\nfor a; do last=$a; done; echo \"it was given: $(cat \"$last\")\"; exit 1\n";
    let home = ground.path().join("java");
    fs::create_dir_all(home.join("bin")).expect("a folder");
    fs::write(home.join("release"), "JAVA_VERSION=\"21.0.1\"").expect("a file");
    let maven = maven.replace("REPOSITORY", &format!("{host}/{port}"));
    for (file, script) in [(path.join("mvn"), maven.as_str()), (home.join("bin/java"), java)] {
        fs::write(&file, script).expect("a script");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can run");
    }
    path
}

/// A repository that fails that many times and then hands out what it is asked for; how often it was asked.
fn repository(failures: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, asked) = (listener.local_addr().expect("an address").to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
            assert!(request.any(|line| line.is_empty()), "a whole request");
            let fails = counted.fetch_add(1, Ordering::SeqCst) < failures;
            let status = if fails { "503 Service Unavailable" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("an answer");
        }
    });
    (address, asked)
}

/// What `up registry` says with programs of that path.
fn up_with(ground: &Ground, path: &Path) -> String {
    let mut command = ground.command(&["up", "registry"]);
    command.env("PATH", path).env("LYCEUM_SERVICES_RETRY_S", "0");
    errors(&command.env("LYCEUM_JAVA_HOME", ground.path().join("java")).output().expect("it runs"))
}

#[test]
fn an_archive_without_the_checksum_that_is_pinned_is_not_unpacked() {
    let ground = Ground::new();
    let (path, home) = (path_with(&ground, &["sh", "bash", "setpriv", "mkdir"]), ground.path().join("java"));
    let maven = "#!/usr/bin/env bash\nfor a; do case $a in -DoutputDirectory=*) d=${a#*=};; *:unpack) echo unpacked; exit 1;; esac; done\n\
                 mkdir -p $d; echo -n abc > $d/elasticsearch.zip\n";
    fs::write(path.join("mvn"), maven).expect("a script");
    fs::set_permissions(path.join("mvn"), fs::Permissions::from_mode(0o755)).expect("it can run");
    fs::create_dir_all(home.join("bin")).expect("a folder");
    fs::write(home.join("bin/java"), "").expect("a file");
    fs::write(home.join("release"), "JAVA_VERSION=\"21.0.1\"").expect("a file");
    let mut command = ground.command(&["up", "elasticsearch"]);
    command.env("PATH", path).env("LYCEUM_JAVA_HOME", home).env("LYCEUM_TEST_ELASTICSEARCH_MAJOR", "9");
    let said = errors(&command.output().expect("it runs"));
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(said.contains(&format!("elasticsearch.zip has the SHA-256 {abc}, and ")), "{said}");
    assert!(!said.contains("unpacked") && !said.contains("is tried again"), "{said}");
}

#[test]
fn a_repository_that_fails_twice_is_asked_a_third_time_and_what_it_then_hands_out_is_run() {
    let (ground, (repository, asked)) = (Ground::new(), repository(2));
    let said = up_with(&ground, &path_with_maven(&ground, &repository));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert!(said.contains("a schema registry ended with") && said.contains("it was given: whole"), "{said}");
    assert!(!said.contains("could not be fetched"), "{said}");
}

#[test]
fn a_repository_that_keeps_failing_is_asked_three_times_more_and_named_apart_from_what_failed() {
    let (ground, (repository, asked)) = (Ground::new(), repository(usize::MAX));
    let path = path_with_maven(&ground, &repository);
    for tries in [4, 8] {
        let said = up_with(&ground, &path);
        assert_eq!(asked.load(Ordering::SeqCst), tries);
        assert!(said.contains("could not be fetched, after three more tries"), "{said}");
        assert!(said.contains("Could not transfer artifact: 503") && !said.contains("registry ended with"), "{said}");
        assert!(said.contains("found \n"), "half a program stayed: {said}");
    }
}

#[test]
fn whoever_removes_the_folder_ends_what_runs_in_it() {
    let ground = Ground::new();
    let address = ground.up();
    fs::remove_dir_all(ground.path()).expect("it is removed");
    until("the end of the service", || !answers(&address));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let ground = Ground::new();
    let file = ground.path().join("file");
    fs::write(&file, "no folder").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyceum-services"));
    let output = command.arg("--folder").arg(file.join("below")).args(["up", "dynamodb"]).output().expect("it runs");
    let said = errors(&output);
    assert!(said.contains("cannot write to") && said.contains("name another folder by --folder"), "{said}");
}
