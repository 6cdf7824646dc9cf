//! The page in a browser: Debian's Chromium, driven over WebDriver.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::{Client, ClientBuilder, Locator};
use futures::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use lyceum_tests::academy::{booking, video_statements};
use lyceum_tests::workplace::{Running, Server, Workplace};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

mod accessibility;
mod replays;

/// Chromium does nothing but show the page.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// WebDriver's key code of Tab.
const TAB: &str = "\u{E004}";
/// And of Enter.
const ENTER: &str = "\u{E007}";

/// Where a program is on the path.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[tokio::test]
async fn the_page_lives_and_leads_to_every_event_and_back_from_dead_letters() {
    if std::env::var("LYCEUM_TEST_BROWSER").is_ok_and(|value| value == "skip") {
        eprintln!("NOT RUN: LYCEUM_TEST_BROWSER=skip; nothing is known of the page in a browser");
        return;
    }
    let (Some(chromium), Some(driver)) = (find_program("chromium"), find_program("chromedriver")) else {
        panic!(
            "this test needs a browser: `apt-get install chromium chromium-driver`, or set LYCEUM_TEST_BROWSER=skip and \
             know nothing of the page"
        );
    };
    let workplace = Workplace::new();
    let server = workplace.up_with(&[], &["--demo"]);
    let driver = Running::start(Command::new(driver).arg("--port=0").current_dir(workplace.path()));
    let line = driver.wait_for_line("started successfully on port");
    let port: u16 = line.trim_end_matches('.').rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    let browser = Browser::open(port, &chromium, &workplace).await;
    let walked = std::panic::AssertUnwindSafe(walk(&browser, &server)).catch_unwind().await;
    // However it went: the session's end is Chromium's end, and then the driver's.
    let closed = browser.client.clone().close().await;
    drop(driver);
    if let Err(panic) = walked {
        std::panic::resume_unwind(panic);
    }
    closed.expect("the browser ends");
    server.stop().expect_code(0);
}

struct Browser {
    client: Client,
    /// The driver's own commands, which WebDriver lacks.
    commands: String,
}

impl Browser {
    async fn open(port: u16, chromium: &std::path::Path, workplace: &Workplace) -> Self {
        let profile = format!("--user-data-dir={}", workplace.path().join("profile").display());
        let arguments: Vec<&str> = FLAGS.iter().copied().chain([profile.as_str()]).collect();
        let options = json!({"binary": chromium, "args": arguments});
        let capabilities = serde_json::Map::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let driver = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver).await;
        let client = client.expect("Chromium starts");
        let session = client.session_id().await.expect("the driver answers").expect("there is a session");
        Self { client, commands: format!("{driver}/session/{session}/goog/cdp/execute") }
    }

    /// A command of the Chrome DevTools Protocol.
    async fn command(&self, name: &str, parameters: Value) {
        let body = json!({"cmd": name, "params": parameters});
        let answer = lyceum_https::client().post(&self.commands).json(&body).send().await;
        assert!(answer.is_ok_and(|answer| answer.status().is_success()), "{name} failed");
    }

    /// Waits until a script gives something else than false, null or nothing, and returns that.
    async fn wait_for(&self, what: &str, script: &str) -> Value {
        for _ in 0..3_000 {
            let value = self.client.execute(script, Vec::new()).await.expect("the script runs");
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let page = self.client.source().await.unwrap_or_default();
        panic!("waited in vain for {what} in {page}");
    }

    async fn click(&self, selector: &str) {
        let element =
            self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    async fn point_at(&self, selector: &str) {
        let element =
            self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        let over = PointerAction::MoveToElement { element, duration: None, x: 0.0, y: 0.0 };
        let moved = self.client.perform_actions(MouseActions::new("mouse".to_owned()).then(over)).await;
        moved.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    async fn text(&self, selector: &str) -> String {
        let element =
            self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.text().await.expect("an element has a text")
    }

    async fn expect_no_overflow(&self, path: &str) {
        let wide = "const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth; \
                    return wide > 0 ? [...document.querySelectorAll('body *')].filter(of => of.getBoundingClientRect().right > \
                    innerWidth + 1).map(of => of.tagName + '.' + of.className).slice(0, 5).join(' ') || 'unknown' : ''";
        let wide = self.client.execute(wide, Vec::new()).await.expect("the script runs");
        assert_eq!(wide, json!(""), "{path} is wider than its window");
    }
}

async fn walk(browser: &Browser, server: &Server) {
    let client = &browser.client;
    let mut invalid = video_statements(1, 1).remove(0);
    invalid["actor"]["mbox"] = json!("nobody@academy.example");
    let rejected = booking(&mut StdRng::seed_from_u64(2), "confirmed", "booking-of-nobody", "session-of-nobody");
    assert_eq!(server.post("/events/nlj.xapi.statements", &invalid, None).await.0, 202);
    assert_eq!(server.post("/events/nlj.training.bookings", &rejected, None).await.0, 202);

    client.goto(&server.base).await.expect("the page opens");
    assert!(client.title().await.expect("a title").ends_with("Overview · Lyceum"));
    let number = "return Number(document.querySelector('#numbers dd .value').textContent.replaceAll(',', ''))";
    let before = client.execute(number, Vec::new()).await.expect("a number");
    browser.wait_for("numbers that move", &format!("{number} > {before} + 2")).await;
    browser.wait_for("an applied event", "return document.querySelector('#events .badge.applied') !== null").await;
    browser
        .wait_for(
            "both dead letters",
            "return !!document.querySelector('#kind-validation') && !!document.querySelector('#kind-rejected')",
        )
        .await;

    point_at_what_lives(browser).await;
    look_at_a_statement(browser).await;
    look_at_bytes(browser).await;
    reach_replay_by_keyboard(browser).await;
    replay(browser).await;
    try_an_event_by_keyboard(browser, server).await;
    look_in_the_dark(browser, server).await;
    look_through_a_narrow_window(browser, server).await;
    let replay = replays::walk_by_keyboard(browser, server).await;
    accessibility::judge(browser, server, replay).await;
    accessibility::walk_by_keyboard(browser, server).await;
}

async fn point_at_what_lives(browser: &Browser) {
    browser.point_at("#events tbody tr").await;
    browser
        .wait_for(
            "events that hold still",
            "return document.querySelector('#feed-state').textContent === 'holding still'",
        )
        .await;
    browser.point_at("#plot svg[data-chart] .hit:nth-of-type(9)").await;
    browser
        .wait_for(
            "a bar that is read out",
            "return document.querySelector('#plot-rates-reading').textContent.includes(':')",
        )
        .await;
    browser
        .wait_for("events that move again", "return document.querySelector('#feed-state').textContent === 'live'")
        .await;
    // Nine hours ahead of UTC, which stands beside it.
    browser.command("Emulation.setTimezoneOverride", json!({"timezoneId": "Asia/Tokyo"})).await;
    browser.client.refresh().await.expect("the page opens");
    let is_local = "const time = document.querySelector('#events time'); const utc = Number(time.title.slice(11, 13)); \
                    return time.title.endsWith('UTC') && Number(time.textContent.slice(0, 2)) === (utc + 9) % 24";
    browser.wait_for("times of the reader's zone", is_local).await;
}

/// A script that gives the path of the page of the first event that was applied and is of such a type.
fn first_event(types: &str) -> String {
    format!(
        "const of = row => row.querySelector('.badge.applied') && row.querySelector('a'); \
         const is_one = row => /^({types})$/.test(of(row)?.textContent.trim() || ''); \
         return [...document.querySelectorAll('#events tr')].find(is_one)?.querySelector('a').getAttribute('href')"
    )
}

async fn look_at_a_statement(browser: &Browser) {
    let first = first_event(r"booking\.(requested|confirmed|waitlisted)|session\.scheduled|survey\.(started|answered)");
    // What is paused holds still, too; what was just seen may be gone by then.
    let path = loop {
        browser.wait_for("a statement that was applied", &first).await;
        browser.click("#feed-pause").await;
        browser.wait_for("the pause", "return document.querySelector('#feed-state').textContent === 'paused'").await;
        match browser.client.execute(&first, Vec::new()).await.expect("the script runs") {
            Value::String(path) => break path,
            _ => browser.click("#feed-pause").await,
        }
    };
    let chosen = format!("#events a[href='{path}']");
    let name = browser.text(&chosen).await;
    browser.click(&chosen).await;
    browser.wait_for("the event's page", "return document.querySelector('article.record') !== null").await;
    assert!(browser.text("article.record h1").await.starts_with(&name));
    let statement = browser.text("article.record pre").await;
    for member in ["actor", "verb", "object"] {
        assert!(statement.contains(member), "{member} is missing: {statement}");
    }
    browser.client.back().await.expect("there is a way back");
}

/// An event in Avro, of whose bytes a person would read nothing. Some come in JSON: they tell it themselves.
async fn look_at_bytes(browser: &Browser) {
    browser.client.refresh().await.expect("the page opens");
    let first = first_event(r"question\.answered|session\.started|session\.ended|mastery\.updated");
    let path = browser.wait_for("an event of learning that was applied", &first).await;
    let path = path.as_str().expect("a path");
    let page = browser.client.current_url().await.expect("the page has an address").join(path).expect("a path");
    browser.client.goto(page.as_str()).await.expect("the page opens");
    let value = browser.text("article.record pre").await;
    assert!(value.contains("\"user_id\""), "who did it is missing: {value}");
    browser.client.back().await.expect("there is a way back");
}

async fn reach_replay_by_keyboard(browser: &Browser) {
    browser.wait_for("the overview", "return document.querySelector('#letters a.button') !== null").await;
    let is_reached = "return document.activeElement.matches('#letters a.button')";
    for _ in 0..300 {
        browser
            .client
            .active_element()
            .await
            .expect("something has the focus")
            .send_keys(TAB)
            .await
            .expect("Tab goes on");
        if browser.client.execute(is_reached, Vec::new()).await.expect("the script runs") == json!(true) {
            let outline = "return getComputedStyle(document.activeElement).outlineStyle";
            assert_eq!(
                browser.client.execute(outline, Vec::new()).await.expect("a style"),
                json!("solid"),
                "focus is seen"
            );
            return;
        }
    }
    panic!("Tab does not reach the replay button of a kind of dead letters");
}

impl Browser {
    /// Sends keys to what has the focus.
    async fn press(&self, keys: &str) {
        let focused = self.client.active_element().await.expect("something has the focus");
        focused.send_keys(keys).await.expect("keys are taken");
    }

    /// Goes on by Tab until what a selector means has the focus, which is seen.
    async fn tab_to(&self, selector: &str) {
        let is_reached = format!("return document.activeElement.matches({selector:?})");
        for _ in 0..200 {
            self.press(TAB).await;
            if self.client.execute(&is_reached, Vec::new()).await.expect("the script runs") == json!(true) {
                let outline = "return getComputedStyle(document.activeElement).outlineStyle";
                let outline = self.client.execute(outline, Vec::new()).await.expect("a style");
                assert_eq!(outline, json!("solid"), "the focus on {selector} is seen");
                return;
            }
        }
        panic!("Tab does not reach {selector}");
    }
}

/// Finds an event by a word, reads what it needs, and publishes its example: by keys alone.
async fn try_an_event_by_keyboard(browser: &Browser, server: &Server) {
    browser.client.goto(&format!("{}/docs", server.base)).await.expect("the page opens");
    browser.tab_to("form.docs input[type=search]").await;
    browser.press("program.created").await;
    browser.press(ENTER).await;
    browser
        .wait_for(
            "what was found",
            "return location.search.includes('q=') && document.querySelectorAll('tbody tr').length === 1",
        )
        .await;
    browser.tab_to("tbody th a").await;
    browser.press(ENTER).await;
    browser.wait_for("the form", "return document.querySelector('#try textarea') !== null").await;
    assert!(browser.text("#content").await.contains("program_id"), "its fields are told");
    browser.tab_to("#try textarea").await;
    browser.tab_to("#try button").await;
    browser.press(ENTER).await;
    browser.wait_for("the answer", "return document.querySelector('#try .sent') !== null").await;
    assert!(browser.text("#try .sent").await.contains("nlj.training.programs/"));
    browser.tab_to("#try .sent a").await;
    browser.press(ENTER).await;
    browser.wait_for("the record", "return location.pathname.startsWith('/events/nlj.training.programs/')").await;
}

async fn replay(browser: &Browser) {
    browser.click("#kind-validation a.button").await;
    browser.wait_for("the letters", "return document.querySelector('table.rows tbody tr') !== null").await;
    let findings = browser.client.execute("return document.body.innerText", Vec::new()).await.expect("a text");
    let named = |pointer| findings.as_str().is_some_and(|text| text.contains(pointer));
    assert!(named("/actor/mbox") || named("/timestamp"), "the violation is named: {findings}");
    // The page lists what is to be sent; its button is the confirmation.
    browser.click("article.letters > form.replay button.main").await;
    browser.wait_for("the confirmation", "return document.querySelector('.sent') !== null").await;
    let sent = browser.text(".sent").await;
    assert!(sent.contains("sent again") && !sent.starts_with('0'), "{sent}");
}

async fn look_in_the_dark(browser: &Browser, server: &Server) {
    let paper = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)";
    let ink = paper.replace("backgroundColor", "color");
    let brightness = async |script: &str| {
        let colour = browser.client.execute(script, Vec::new()).await.expect("a colour");
        colour.as_array().expect("three numbers").iter().filter_map(Value::as_f64).sum::<f64>() / 3.0
    };
    browser.client.goto(&server.base).await.expect("the page opens");
    for (scheme, is_dark) in [("light", false), ("dark", true)] {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.command("Emulation.setEmulatedMedia", feature).await;
        let (paper, ink) = (brightness(paper).await, brightness(&ink).await);
        assert_eq!(paper < ink, is_dark, "{scheme}: paper {paper}, ink {ink}");
        assert!((paper - ink).abs() > 150.0, "{scheme}: paper {paper}, ink {ink}");
    }
}

/// The page of a program, session, booking or response, to which the page of one of the latest events leads.
async fn find_a_state(server: &Server) -> String {
    let (_, overview) = server.get("/", None).await;
    let paths = |page: &Value, begin: &str| -> Vec<String> {
        let links = page.as_str().unwrap_or_default().split("href=\"").skip(1);
        let links = links.filter_map(|rest| rest.split('"').next()).filter(|path| path.starts_with(begin));
        links.map(str::to_owned).collect()
    };
    for event in paths(&overview, "/events/nlj.") {
        let (_, event) = server.get(&event, None).await;
        if let Some(state) = paths(&event, "/state/").pop() {
            return state;
        }
    }
    panic!("none of the latest events is about anything that is kept: {overview}")
}

async fn look_through_a_narrow_window(browser: &Browser, server: &Server) {
    let metrics = json!({"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": false});
    browser.command("Emulation.setDeviceMetricsOverride", metrics).await;
    let (_, letters) = server.get("/api/dead-letters", None).await;
    let letter = letters["dead_letters"][0]["position"].as_str().expect("a position").to_owned();
    let source = letters["dead_letters"][0]["source"].as_str().expect("a position").to_owned();
    let state = find_a_state(server).await;
    for path in [
        "/",
        "/dead-letters",
        "/dead-letters/list",
        &format!("/events/{letter}"),
        &format!("/events/{source}"),
        &state,
        "/docs",
        "/docs/session.scheduled",
        "/docs/question.answered",
        "/nowhere",
    ] {
        browser.client.goto(&format!("{}{path}", server.base)).await.expect("the page opens");
        let width = browser.client.execute("return innerWidth", Vec::new()).await.expect("a width");
        assert_eq!(width, json!(320));
        browser.expect_no_overflow(path).await;
    }
}
