//! Pages as people use them who see little, or have no pointer: judged by axe-core in light and dark at three widths, and walked by keys alone.

use std::process::Command;

use lyceum_given::binary::workspace;
use lyceum_tests::webhook::approval_invalid;
use lyceum_tests::workplace::Server;
use serde_json::{Value, json};

use super::{Browser, ENTER};

/// A telephone, a half of a screen, a whole one.
const WIDTHS: [u32; 3] = [320, 700, 1280];
/// The rules of WCAG 2.0 to 2.2, levels A and AA, and what axe-core holds for good practice.
const RULES: &str =
    "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations']}";
const FINGERPRINT: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The source of axe-core.
fn axe() -> String {
    let installed = Command::new("bash").arg(".ci/axe").current_dir(workspace()).output().expect("bash runs");
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(
        installed.status.success(),
        "{said}\n.ci/axe needs Node and npm (apt-get install nodejs npm), and fetches axe-core once; or set LYCEUM_TEST_BROWSER=skip"
    );
    let path = String::from_utf8(installed.stdout).expect("a path");
    std::fs::read_to_string(path.trim()).expect("axe-core is there")
}

impl Browser {
    async fn show(&self, server: &Server, path: &str) {
        self.client.goto(&format!("{}{path}", server.base)).await.expect("the page opens");
    }

    /// What axe-core finds wrong with the page that is open, a line each.
    async fn what_is_wrong(&self, axe: &str) -> Vec<String> {
        self.client.execute(axe, Vec::new()).await.expect("axe-core is loaded");
        let run = format!(
            "const done = arguments[arguments.length - 1]; axe.run(document, {RULES}).then(found => done(found.violations.map(of => \
             of.id + ': ' + of.help + ' ' + of.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | '))), error => \
             done(['axe-core failed: ' + error]))"
        );
        let found = self.client.execute_async(&run, Vec::new()).await.expect("axe-core runs");
        found.as_array().expect("a list").iter().map(Value::to_string).collect()
    }
}

/// Brute force and a failed diff, whose alerts are there when this comes back.
async fn raise_alerts(server: &Server) {
    let mut events: Vec<Value> = (0..6).map(|number| approval_invalid("demo", number, FINGERPRINT)).collect();
    let mut diff = approval_invalid("demo", 7, FINGERPRINT);
    diff["type"] = json!("ir.dag_diff_failed");
    diff["payload"] = json!({"ir_id": "ir-7", "before_hash": FINGERPRINT, "after_hash": FINGERPRINT.replace('b', "c")});
    events.push(diff);
    for event in events {
        assert_eq!(server.post("/events/governance.events.v1", &event, None).await.0, 202);
    }
    while server.get("/api/security", None).await.1["total"].as_u64().unwrap_or(0) < 8 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Each page at each width, light and dark: nothing that axe-core finds, and nothing wider than its window.
pub(super) async fn judge(browser: &Browser, server: &Server, replay: String) {
    let axe = axe();
    raise_alerts(server).await;
    // The audit log is read by another subscription than the one that raises alerts.
    let entry = loop {
        let (_, entries) = server.get("/api/audit?type=ir.approval_invalid&limit=1", None).await;
        if let Some(entry) = entries["entries"][0]["position"].as_str() {
            break entry.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let pages = [
        "/docs".to_owned(),
        "/docs?q=booking".to_owned(),
        "/docs/session.scheduled".to_owned(),
        "/audit".to_owned(),
        "/audit?kind=dead-letter".to_owned(),
        "/audit?correlation=deploy-1".to_owned(),
        format!("/audit/{entry}"),
        "/dead-letters".to_owned(),
        "/validation".to_owned(),
        "/validation?tenant=demo&since=2026-01-01&until=2026-01-05".to_owned(),
        "/security".to_owned(),
        "/replays".to_owned(),
        replay,
        "/security?tenant=demo&severity=critical".to_owned(),
        "/security?severity=medium".to_owned(),
    ];
    let shots = std::env::var_os("LYCEUM_TEST_SCREENSHOTS").map(std::path::PathBuf::from);
    let mut wrong = Vec::new();
    for scheme in ["light", "dark"] {
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.command("Emulation.setEmulatedMedia", feature).await;
        for width in WIDTHS {
            let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
            browser.command("Emulation.setDeviceMetricsOverride", metrics).await;
            for (number, page) in pages.iter().enumerate() {
                browser.show(server, page).await;
                browser.expect_no_overflow(page).await;
                if let Some(folder) = &shots {
                    let shot = browser.client.screenshot().await.expect("a picture");
                    std::fs::write(folder.join(format!("{number}-{scheme}-{width}.png")), shot).expect("it is written");
                }
                let found = browser.what_is_wrong(&axe).await;
                wrong.extend(found.into_iter().map(|found| format!("{page} {scheme} {width}: {found}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    browser.command("Emulation.clearDeviceMetricsOverride", json!({})).await;
}

/// From an alert to its timeline, to an entry, and from what broke to its letters: by keys alone.
pub(super) async fn walk_by_keyboard(browser: &Browser, server: &Server) {
    browser.show(server, "/security").await;
    browser.tab_to("form.filters select[name=severity]").await;
    browser.press("critical").await;
    browser.tab_to("form.filters button").await;
    browser.press(ENTER).await;
    browser.wait_for("critical alerts", "return location.search.includes('severity=critical')").await;
    browser.tab_to("tbody a[href^='/audit?']").await;
    browser.press(ENTER).await;
    browser
        .wait_for(
            "the timeline",
            "return location.search.includes('correlation=') && document.querySelectorAll('tbody tr').length > 1",
        )
        .await;
    assert!(browser.text("h1").await.starts_with("Timeline of"));
    browser.tab_to("tbody th a").await;
    browser.press(ENTER).await;
    browser.wait_for("the entry", "return location.pathname.startsWith('/audit/governance.events.v1/')").await;
    browser.tab_to("nav.views a[href^='/audit']").await;
    browser.press(ENTER).await;
    browser.wait_for("the audit log", "return location.pathname === '/audit'").await;
    browser.tab_to("form.filters input[name=correlation]").await;
    browser.press("deploy-2").await;
    browser.press(ENTER).await;
    browser
        .wait_for("the other timeline", "return document.querySelector('h1 code')?.textContent === 'deploy-2'")
        .await;
    browser.show(server, "/dead-letters").await;
    browser.tab_to("a[href^='/validation']").await;
    browser.press(ENTER).await;
    browser.wait_for("what broke", "return location.pathname === '/validation'").await;
    browser.tab_to("form.filters input[name=since]").await;
    browser.tab_to("svg[data-chart]").await;
    browser.show(server, "/validation").await;
    browser.tab_to("table.causes tbody th a").await;
    browser.press(ENTER).await;
    browser.wait_for("the letters", "return location.pathname === '/dead-letters/list'").await;
}
