//! A temporary folder in which `lyceum` runs as a person would run it: files beside it, the data in `.lyceum`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;

/// So long a command may take until the test gives it up. Nothing is judged by time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// So long a connection may be idle before another one is made; less than the server leaves it open.
const IDLE: Duration = Duration::from_secs(2);

/// A folder of one's own, gone with its last user.
#[derive(Debug)]
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// An empty folder.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How much everything in it takes of the disk.
    pub fn megabytes(&self) -> u64 {
        fn bytes(of: &Path) -> u64 {
            let entries = of.read_dir().map(|entries| entries.flatten().map(|entry| bytes(&entry.path())).sum());
            // A file that goes meanwhile takes nothing any more.
            entries.unwrap_or_else(|_| of.symlink_metadata().map_or(0, |file| file.len()))
        }
        bytes(self.path()) >> 20
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path
    }

    /// Writes JSON lines into it.
    pub fn write_lines(&self, name: &str, events: &[Value]) -> PathBuf {
        self.write(name, events.iter().map(|event| format!("{event}\n")).collect::<String>())
    }

    /// The command with the folder as working directory, free of the variables that this test's own process has.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(binary::lyceum(), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        self.prepare(&mut command).args(arguments);
        command
    }

    /// Any command, prepared in the same way.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for variable in lyceum::config::variables() {
            command.env_remove(variable.name);
        }
        command.env_remove("ANALYTICS_GROUP_ID").current_dir(self.path())
    }

    /// Runs `lyceum` to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(&mut self.command(arguments)).wait()
    }

    /// Runs `lyceum` to its end with environment variables.
    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
        Running::start(self.command(arguments).envs(variables.iter().copied())).wait()
    }

    /// Starts `lyceum`; it is killed when the answer is dropped.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Starts `lyceum up --port 0` and waits until it listens.
    pub fn up(&self, variables: &[(&str, &str)]) -> Server {
        self.up_with(variables, &[])
    }

    /// The same with further arguments.
    pub fn up_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Server {
        self.up_of(binary::lyceum(), variables, arguments)
    }

    /// The same of another release.
    pub fn up_of(&self, program: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Server {
        let mut command = self.command_of(program, &["up", "--port", "0"]);
        let running = Running::start(command.args(arguments).envs(variables.iter().copied()));
        let line = running.wait_for_line("Lyceum is at http://");
        let base = line.split_whitespace().nth(3).expect("the line names the address").to_owned();
        // A connection that the server has closed meanwhile is found out by nobody while a command is waited for.
        let client = lyceum_https::builder().pool_idle_timeout(IDLE).build().expect("the client is configured well");
        Server { running, base, client }
    }
}

/// Looks again and again, until it is so.
///
/// # Panics
/// It takes too long.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process that came to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it reported.
    pub stderr: String,
}

impl Finished {
    /// Panics unless it ended with that exit code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless what it reported holds these words.
    #[track_caller]
    pub fn expect_report(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not in stderr:\n{}\nstdout:\n{}",
                self.stderr,
                self.stdout
            );
        }
        let told = self.stderr.lines().filter(|line| !line.contains(" WARN "));
        let is_raw =
            told.into_iter().any(|line| ["panicked at", "RUST_BACKTRACE", "Os {"].iter().any(|raw| line.contains(raw)));
        assert!(!is_raw, "a message for a person is no dump:\n{}", self.stderr);
        self
    }

    /// Panics unless it printed these words.
    #[track_caller]
    pub fn expect_print(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stdout.contains(word),
                "{word:?} is not in stdout:\n{}\nstderr:\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// Each printed line as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in line {line:?}"));
        self.stdout.lines().map(read).collect()
    }
}

/// A process under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a command, and reads what it says as it comes.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null());
        Self::of(command)
    }

    /// Starts a command and hands it its standard input.
    pub fn start_with_input(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Self::of(command.stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().expect("it is a pipe");
        stdin.write_all(input).expect("the process reads its standard input");
        running
    }

    fn of(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("it is a pipe"), &stdout),
            collect(child.stderr.take().expect("it is a pipe"), &stderr),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// Its number among the machine's processes.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        lock(&self.stdout)
    }

    /// What it reported so far.
    pub fn reported(&self) -> String {
        lock(&self.stderr)
    }

    /// Waits for a line that holds these words.
    pub fn wait_for_line(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(line) = self.printed().lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            let has_ended = self.readers.iter().all(JoinHandle::is_finished);
            assert!(
                !has_ended && started.elapsed() < PATIENCE,
                "no line with {words:?}; stdout:\n{}\nstderr:\n{}",
                self.printed(),
                self.reported()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has come to its end.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// Ends it at once, as `kill -9` does; returns whether it still ran.
    pub fn kill(mut self) -> bool {
        let ran = !self.has_ended();
        // An error says that it ended by itself in between.
        let _ = self.child.kill();
        let _ = self.child.wait();
        ran
    }

    /// The TCP sockets on which it listens, as Linux lists them.
    #[cfg(target_os = "linux")]
    pub fn listening_sockets(&self) -> Vec<String> {
        let process = format!("/proc/{}", self.child.id());
        let files = std::fs::read_dir(format!("{process}/fd")).expect("the process runs");
        let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let sockets: Vec<String> = names
            .filter_map(|name| Some(name.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let tables =
            ["tcp", "tcp6"].map(|of| std::fs::read_to_string(format!("{process}/net/{of}")).unwrap_or_default());
        let lines = tables.iter().flat_map(|table| table.lines().skip(1));
        // Its fields: a number, the local and the remote address, the state (0A is LISTEN) … and, as tenth, the inode.
        let listens = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(3) == Some(&"0A") && fields.get(9).is_some_and(|inode| sockets.iter().any(|of| of == inode))
        };
        lines.filter(listens).map(str::to_owned).collect()
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGINT cannot be sent");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Finished {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end; stderr:\n{}", self.reported());
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().expect("the reading went well");
        }
        Finished { code: status.code(), stdout: self.printed(), stderr: self.reported() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = into.clone();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

fn lock(text: &Mutex<String>) -> String {
    text.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// `lyceum up`, listening.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub running: Running,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    client: reqwest::Client,
}

impl Server {
    /// Its port.
    pub fn port(&self) -> u16 {
        self.base.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the address has a port")
    }

    /// Asks; the answer's status and its body, JSON or else text.
    pub async fn get(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        self.send(self.client.get(format!("{}{path}", self.base)), token).await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &Value, token: Option<&str>) -> (u16, Value) {
        self.send(self.client.post(format!("{}{path}", self.base)).json(body), token).await
    }

    /// Asks; the body of an answer that succeeds, as it came.
    pub async fn get_text(&self, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.expect("the server answers");
        let status = response.status();
        let body = response.text().await.expect("the answer is whole");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// Sends JSON that is written already.
    pub async fn post_text(&self, path: &str, body: String) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        self.send(request.body(body), None).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder, token: Option<&str>) -> (u16, Value) {
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let body = response.text().await.expect("the answer is whole");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Asks it to end and waits for that.
    pub fn stop(self) -> Finished {
        self.running.interrupt();
        self.running.wait()
    }
}
