//! What the code must not become: who may depend on whom, what stays pure, how files are named, and that the event table
//! of the documentation is the registry's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lyceum_core::catalog::{FamilySpec, ObjectIs};
use lyceum_core::subscription::Effect;
use lyceum_functions::{OTHERS, REGISTRY};
use toml::{Table, Value};

/// Folders that hold no source of this project.
const NOT_OURS: &[&str] = &[
    "target",
    "node_modules",
    ".git",
    ".venv",
    ".lyceum",
    ".lyceum-services",
    ".aws-sam",
    ".hypothesis",
    ".schemathesis",
];

/// What a pure module never mentions: it gets its bytes, its time and its luck as arguments.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::thread",
    "tokio",
    "SystemTime",
    "Instant",
    "now()",
    "now_v7",
    "new_v4",
    "aws_sdk",
    "redb",
    "tantivy",
    "reqwest",
    "rdkafka",
    "lyceum_https",
];

#[test]
fn crates_depend_downwards_only() {
    let crates = crates();
    let mut wrong = Vec::new();
    for (folder, manifest) in &crates {
        let built_with = dependencies(manifest, BUILT_WITH);
        for dependency in dependencies(manifest, TESTED_WITH) {
            let Some(target) = folder_of(&crates, &dependency) else { continue };
            let for_tests_alone = !built_with.contains(&dependency) && may_be_tested_with(folder, target);
            if !for_tests_alone && !may_depend(folder, target) {
                wrong.push(format!("{folder} depends on {target}; see who may in this test"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// tests → {local, dedicated, functions/lambda} → functions/http → server/deployed → functions → functions/<family> → functions/catalog → core → core/xapi; local → server → core; dedicated → {server, dedicated/consumer}; an adapter knows the core and what
/// it is made of. A family reaches no other family, and whoever stands above reaches a family through the registry alone, but for
/// a function's main, which names its own; a part of the local runner knows the core and Lambda's protocol alone.
fn may_depend(folder: &str, on: &str) -> bool {
    // It knows nothing of ours.
    if on == "core/xapi" && folder != "core/xapi" && !folder.starts_with("infra/") {
        return true;
    }
    let is_family = |folder: &str| {
        folder.starts_with("functions/")
            && !matches!(
                folder,
                "functions/lambda"
                    | "functions/catalog"
                    | "functions/documents"
                    | "functions/http"
                    | "functions/replay"
            )
    };
    let is_part_of_local = |folder: &str| folder.starts_with("local/");
    let is_adapter = |folder: &str| folder.starts_with("core/adapters/");
    let is_core = |folder: &str| matches!(folder, "core" | "core/lambda");
    match folder {
        // The consumer is for any program.
        "core" | "core/xapi" | "core/adapters/aws" | "core/adapters/https" | "dedicated/consumer" => false,
        "infra/services" => on == "core/adapters/https",
        "core/lambda" | "core/testing" => on == "core",
        "core/adapters/connect" => on == "core" || is_adapter(on) && on != "core/adapters/embedded",
        // What any process has, long-running or a function.
        "core/adapters/log" => on == "core",
        "core/adapters/secrets" => matches!(on, "core" | "core/adapters/aws"),
        // What a collector is shown changes as a store's credentials do.
        "core/adapters/spans" => matches!(on, "core" | "core/adapters/aws" | "core/adapters/around"),
        "core/adapters/embedded" => matches!(on, "core" | "core/adapters/dynamodb"),
        // Its key may be rotated.
        "core/adapters/content_generator" => matches!(on, "core" | "core/adapters/around" | "core/adapters/https"),
        "core/adapters/elasticsearch" => matches!(on, "core" | "core/adapters/aws" | "core/adapters/https"),
        _ if is_adapter(folder) => matches!(on, "core" | "core/adapters/aws"),
        "functions/catalog" => on == "core",
        // The audit log's function says of every record what it is: unlike a family's it is made of the registry.
        "functions/lambda" => {
            matches!(on, "functions" | "functions/catalog" | "functions/http" | "functions/replay" | "server")
                || is_core(on)
                || is_adapter(on) && on != "core/adapters/embedded"
                || is_family(on)
        }
        // The server's router by invocations: who runs them is `functions/lambda`.
        "functions/http" => {
            matches!(on, "functions" | "functions/catalog" | "server" | "server/deployed")
                || is_core(on)
                || is_adapter(on) && on != "core/adapters/embedded"
        }
        // Made of the families as data, and of who subscribes.
        "functions/documents" => matches!(on, "core" | "functions" | "functions/catalog"),
        // It says of every record what it is, and runs on Lambda: unlike a family it is made of the registry.
        "functions" => is_core(on) || on == "functions/catalog" || is_family(on),
        // It acts by the handlers of HTTP.
        "functions/replay" => matches!(on, "core" | "core/adapters/aws" | "functions/http" | "server"),
        // What the page and the API are made of where all stores are services.
        "server/deployed" => {
            matches!(on, "functions" | "functions/documents" | "server")
                || is_core(on)
                || matches!(on, "core/adapters/kafka" | "core/adapters/export")
        }
        // Who runs the process brings the functions.
        "server" => is_core(on) || is_adapter(on) && on != "core/adapters/embedded",
        "local" => {
            matches!(on, "functions" | "functions/catalog" | "functions/documents" | "server" | "server/deployed")
                || is_core(on)
                || is_adapter(on)
                || is_part_of_local(on)
        }
        // Its stores are services.
        "dedicated" => {
            matches!(on, "functions" | "functions/catalog" | "server" | "server/deployed" | "dedicated/consumer")
                || is_core(on)
                || is_adapter(on) && on != "core/adapters/embedded"
        }
        // It makes events of every family, and processes none.
        "local/generate" => matches!(on, "core" | "functions/catalog"),
        // Other programs link it: it judges events as every family does, and sends them to Kafka.
        "local/publisher" => {
            matches!(on, "core" | "core/adapters/around" | "core/adapters/kafka" | "functions" | "functions/catalog")
        }
        "local/event_source_mapping" => is_core(on) || matches!(on, "core/adapters/around" | "core/adapters/https"),
        _ if is_part_of_local(folder) => is_core(on) || on == "core/adapters/around",
        // Who reads topics of a family knows its events.
        _ if is_family(folder) => matches!(on, "core" | "functions/catalog") || reads_others(folder) && is_family(on),
        // It starts the command as a person does, in the same workplace.
        "tests/faults" => true,
        _ if folder == "tests" || folder.starts_with("tests/") => on != "tests",
        _ => panic!("{folder} is new: say here what it may depend on"),
    }
}

/// Whether a folder is that of a subscription to topics of others.
fn reads_others(folder: &str) -> bool {
    OTHERS.iter().any(|of| folder.strip_prefix("functions/") == Some(of.subscription.name))
}

/// Contracts, models and proxies are for tests; whose tests need a real service starts it; an adapter's tests compare it with its twin.
fn may_be_tested_with(folder: &str, on: &str) -> bool {
    // A server's tests show and replay what the registry's functions did.
    let tests_functions = folder == "server"
        && matches!(
            on,
            "functions" | "functions/catalog" | "functions/documents" | "functions/http" | "functions/replay"
        );
    // And the local runner's route the events of forms that no family of the release has.
    let tests_toys = folder == "local" && on == "tests/simulation";
    tests_functions
        || tests_toys
        || matches!(on, "core/testing" | "infra/services" | "tests/proxies")
        || folder.starts_with("core/adapters/") && matches!(on, "core/adapters/embedded" | "core/adapters/around")
}

#[test]
fn what_is_linked_is_what_is_needed() {
    for (package, never) in [
        ("lyceum-xapi", &["lyceum-", "tokio"][..]),
        ("lyceum-core", &["tokio", "aws-", "tantivy", "rdkafka", "axum", "reqwest", "lambda_runtime", "opentelemetry"]),
        ("lyceum-training", &["lyceum-survey", "lyceum-statement", "tokio", "aws-"]),
        ("lyceum-survey", &["lyceum-training", "lyceum-statement", "tokio", "aws-"]),
        // One of its binaries is the server's router; another one links none of it, since it names none of it.
        ("lyceum-lambda", &["lyceum-testing", "lyceum-embedded", "lyceum-consumer", "tantivy", "redb"]),
        ("lyceum-http", &["lyceum-testing", "lyceum-embedded", "lyceum-consumer", "tantivy", "redb", "tikv"]),
        ("lyceum-server", &["lyceum-functions", "lyceum-testing", "lyceum-embedded", "tantivy", "redb", "dynoxide"]),
        (
            "lyceum-publisher",
            &["lyceum-server", "lyceum-testing", "lyceum-embedded", "tantivy", "redb", "axum", "aws-sdk-dynamodb"],
        ),
        ("lyceum-dedicated", &["lyceum-testing", "lyceum-services", "lyceum-embedded", "tantivy", "redb", "dynoxide"]),
        ("lyceum", &["lyceum-testing", "lyceum-services", "lyceum-simulation"]),
    ] {
        let linked = linked(package);
        assert!(linked.len() > 5, "cargo tree tells of {package}: {linked:?}");
        let found: Vec<&String> =
            linked.iter().filter(|name| never.iter().any(|begin| name.starts_with(begin))).collect();
        assert!(found.is_empty(), "{package} links {found:?}");
    }
}

/// What a package is built with, itself apart, as `cargo tree` says.
fn linked(package: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}", "--locked", "--offline"];
    let output = std::process::Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    let names = text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned);
    names.filter(|name| name != package).collect()
}

#[test]
fn pure_modules_touch_neither_files_network_environment_nor_clock() {
    let core = root().join("core/src");
    let mut files = files_below(&root().join("core/xapi/src"));
    files.extend(files_below(&core.join("audit")));
    files.extend(files_below(&core.join("formats")));
    files.extend(files_below(&core.join("replay")));
    let of_the_core = [
        "catalog",
        "envelope",
        "family",
        "follow_up",
        "subscription",
        "states",
        "record",
        "outcome",
        "payload",
        "dead_letter",
        "reconcile",
        "retry",
        "trace",
    ];
    files.extend(of_the_core.map(|name| core.join(name).with_extension("rs")));
    files.extend(["event_log/rules.rs", "ledger/limits.rs"].map(|name| core.join("ports").join(name)));
    files.extend(files_below(&core.join("ports/statements")));
    for entry in REGISTRY {
        let folder = source_of(entry.spec);
        files.extend(files_below(&folder).into_iter().filter(|file| !file.ends_with("main.rs")));
        files.push(folder.with_file_name("catalog.rs"));
    }
    for of in OTHERS {
        let folder = root().join("functions").join(of.subscription.name).join("src");
        files.extend(files_below(&folder).into_iter().filter(|file| !file.ends_with("main.rs")));
    }
    let mut wrong = Vec::new();
    for file in &files {
        for (number, line) in (1..).zip(read(file).lines()) {
            let code = line.split("//").next().unwrap_or_default();
            let found = IMPURE.iter().filter(|name| mentions(code, name));
            wrong.extend(found.map(|name| format!("{}:{number} mentions {name}", file.display())));
        }
    }
    assert!(files.len() > 10 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn families_of_one_effect_have_the_same_files() {
    for entry in REGISTRY {
        let family = entry.spec;
        let wanted: &[&str] = match entry.subscription.effect {
            Effect::Stateful { .. } => &["decide.rs", "events.rs", "lib.rs", "state.rs"],
            Effect::Counted => &["events.rs", "lib.rs", "numbers.rs"],
            Effect::Documents | Effect::Reaction | Effect::Calling | Effect::Watching { .. } | Effect::Audit => {
                &["lib.rs"]
            }
        };
        let files: Vec<String> = fs::read_dir(source_of(family))
            .unwrap_or_else(|error| panic!("functions/{} is no folder: {error}", family.name))
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        for name in wanted {
            assert!(files.iter().any(|file| file == name), "functions/{}/src has no {name}", family.name);
        }
    }
}

#[test]
fn no_file_is_named_for_what_it_lacks() {
    let vague = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let is_vague = |file: &PathBuf| {
        let parts = file.strip_prefix(root()).unwrap_or(file).iter().map(|part| part.to_string_lossy().to_lowercase());
        parts.into_iter().any(|part| vague.contains(&part.split('.').next().unwrap_or_default()))
    };
    let found: Vec<_> = files_below(&root()).into_iter().filter(is_vague).collect();
    assert!(found.is_empty(), "name these for what they do: {found:?}");
}

/// A crate that names its tests' binaries itself has cargo overlook a file that nobody mentions.
#[test]
fn every_file_of_tests_is_compiled() {
    let mut overlooked = Vec::new();
    for (folder, manifest) in crates() {
        let is_listed = manifest["package"].get("autotests") == Some(&Value::Boolean(false));
        let listed = manifest.get("test").and_then(Value::as_array).into_iter().flatten();
        let paths: Vec<&str> = listed.filter_map(|test| test.get("path")?.as_str()).collect();
        let texts: String = paths.iter().map(|path| read(&root().join(&folder).join(path))).collect();
        let Ok(files) = fs::read_dir(root().join(&folder).join("tests")) else { continue };
        for file in files.map(|entry| entry.expect("an entry").path()) {
            let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { continue };
            let is_a_test = file.extension().is_some_and(|of| of == "rs") || file.join("main.rs").is_file();
            let is_built =
                paths.contains(&format!("tests/{name}.rs").as_str()) || texts.contains(&format!("mod {name};"));
            if is_listed && is_a_test && !is_built {
                overlooked.push(file);
            }
        }
    }
    assert!(overlooked.is_empty(), "add these as modules of a test that Cargo.toml names: {overlooked:?}");
}

/// The one crate with a module that may be unsafe, and the file that it is.
const UNSAFE: (&str, &str) = ("dedicated/consumer", "src/native.rs");

#[test]
fn every_crate_inherits_the_workspaces_lints() {
    let workspace: Table = read(&root().join("Cargo.toml")).parse().expect("the workspace's manifest is TOML");
    for (folder, manifest) in crates() {
        let lints =
            manifest.get("lints").unwrap_or_else(|| panic!("{folder}/Cargo.toml lacks [lints] workspace = true"));
        if folder == UNSAFE.0 {
            let mut same = workspace["workspace"]["lints"].clone();
            same["rust"]["unsafe_code"] = "deny".into();
            assert_eq!(lints, &same, "{folder} has the workspace's lints, but for unsafe_code, which it denies");
        } else {
            assert_eq!(
                lints.get("workspace"),
                Some(&Value::Boolean(true)),
                "{folder}/Cargo.toml lacks [lints] workspace = true"
            );
        }
    }
}

#[test]
fn what_is_unsafe_is_one_module() {
    let allowing: Vec<PathBuf> = crates()
        .keys()
        .flat_map(|folder| files_below(&root().join(folder)))
        .filter(|file| file.extension().is_some_and(|of| of == "rs") && !file.ends_with("architecture.rs"))
        .filter(|file| read(file).contains("allow(unsafe_code)"))
        .collect();
    let only = root().join(UNSAFE.0).join(UNSAFE.1);
    assert!(!allowing.is_empty() && allowing.iter().all(|file| *file == only), "{allowing:?}");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let paths = ["work", "root", "var/tmp"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for file in files_below(&root()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for path in &paths {
            let begins =
                |at: usize| !text[..at].ends_with(|before: char| before.is_alphanumeric() || "._-/}>".contains(before));
            if text.match_indices(path.as_str()).any(|(at, _)| begins(at)) {
                wrong.push(format!("{} names {path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_event_table_of_the_documentation_is_the_registrys() {
    let (begin, end) = ("<!-- begin event table -->\n", "<!-- end event table -->");
    let file = root().join("docs/events.md");
    let _alone = crate::EVENTS_DOCUMENT.lock();
    let text = read(&file);
    let (before, rest) = text.split_once(begin).expect("docs/events.md has the mark of the table's beginning");
    let (found, after) = rest.split_once(end).expect("docs/events.md has the mark of the table's end");
    let table = event_table();
    if std::env::var_os("LYCEUM_UPDATE_DOCS").is_some() {
        fs::write(&file, format!("{before}{begin}{table}{end}{after}")).expect("docs/events.md can be written");
        return;
    }
    let advice = "LYCEUM_UPDATE_DOCS=1 cargo test -p lyceum-events-tests architecture";
    assert!(found == table, "docs/events.md is not what the registry says; write it anew with {advice}\n{table}");
}

fn event_table() -> String {
    let mut table = "\n| family | topic | partitions | key | event type | verb | object | effect |\n".to_owned();
    table.push_str("|---|---|---|---|---|---|---|---|\n");
    for spec in REGISTRY.iter().map(|entry| entry.spec) {
        for topic in spec.topics {
            let mut row = |event_type: &str, verb: &str, object: &str, effect: &str| {
                let place = format!("{} | `{}` | {} | {}", spec.name, topic.name, topic.partitions, topic.key);
                table.push_str(&format!("| {place} | `{event_type}` | {verb} | {object} | {effect} |\n"));
            };
            if spec.event_types.is_empty() {
                row("statement", "any other", "any other", "stored for search and analytics");
            }
            for of in spec.event_types.iter().filter(|of| of.topic == topic.name) {
                let form = of.statement.as_ref();
                let verbs = form.map_or(&[][..], |form| form.verbs).iter();
                let verbs: Vec<String> = verbs.map(|verb| format!("`{}`", short(verb))).collect();
                let object = match form.map(|form| &form.object) {
                    Some(ObjectIs::Kind(kind)) => format!("`{kind}`"),
                    Some(ObjectIs::SurveyQuestion) => "a survey's question".to_owned(),
                    None => "—".to_owned(),
                };
                let verbs = if verbs.is_empty() { "—".to_owned() } else { verbs.join(", ") };
                row(of.name, &verbs, &object, of.effect);
            }
        }
    }
    table.push('\n');
    table
}

/// A verb as the table writes it.
fn short(verb: &str) -> String {
    let adl = verb.strip_prefix("http://adlnet.gov/expapi/verbs/").map(|name| format!("adl:{name}"));
    adl.unwrap_or_else(|| verb.trim_start_matches("http://nlj.platform/verbs/").to_owned())
}

fn source_of(family: &FamilySpec) -> PathBuf {
    root().join("functions").join(family.name).join("src")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is a folder")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The manifests of the workspace's members, by folder.
fn crates() -> BTreeMap<String, Table> {
    let manifest = |folder: &Path| -> Table {
        let file = folder.join("Cargo.toml");
        read(&file).parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().expect("the workspace lists its members");
    let folders = members.iter().filter_map(Value::as_str);
    folders.map(|folder| (folder.to_owned(), manifest(&root().join(folder)))).collect()
}

fn folder_of<'a>(crates: &'a BTreeMap<String, Table>, name: &str) -> Option<&'a str> {
    let is_it = |manifest: &Table| manifest["package"]["name"].as_str() == Some(name);
    crates.iter().find(|(_, manifest)| is_it(manifest)).map(|(folder, _)| folder.as_str())
}

/// The names of everything that a crate depends on, in whatever table; a renamed one by its own name.
const BUILT_WITH: &[&str] = &["dependencies", "build-dependencies"];
const TESTED_WITH: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

fn dependencies(manifest: &Table, kinds: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Value::Table(table) = value else { continue };
        match key.as_str() {
            key if kinds.contains(&key) => {
                let own_name = |(name, of): (&String, &Value)| {
                    of.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
                };
                names.extend(table.iter().map(own_name));
            }
            "target" => names.extend(table.values().filter_map(Value::as_table).flat_map(|of| dependencies(of, kinds))),
            _ => {}
        }
    }
    names
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Whether the code names it, and not only as a part of another name.
fn mentions(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(is_word) && !code[at + name.len()..].starts_with(is_word))
}
