//! The page: HTML from plain data, no store and no clock. One file a view, and `layout` around them.
//!
//! The overview is made of parts with an id each. The live feed renders the same parts again and sends those that changed,
//! so that what a browser without script sees and what `live.js` patches come from one template. Everything that a sender
//! wrote is escaped by maud, and the content security policy forbids anything inline.

use std::sync::LazyLock;

use lyceum_xapi::utc_time::UtcTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

pub mod audit;
pub mod dead_letters;
pub mod docs;
pub mod event;
pub mod learning;
pub mod overview;
pub mod problem;
pub mod replays;
pub mod search;
pub mod security;
pub mod state;
pub mod statement;
pub mod validation;

mod alarms;
mod filters;
mod fold;
mod json;
mod kpi;
mod plot;

/// A file that the page loads, from this server; its path changes with its content, so that it can be cached for good.
pub struct Asset {
    /// The path below `/assets/`.
    pub file: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let version: String = Sha256::digest(content)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { file: format!("{name}-{version}.{extension}"), media_type, content }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("live.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The asset of that file name, in its present version only.
pub fn find_asset(file: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.file == file)
}

/// What stands around every view.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The tenant that is looked at; `None` is every one.
    pub tenant: Option<String>,
    /// Where the data is.
    pub data: String,
}

impl Frame {
    /// A path of this server that keeps the tenant that is looked at, whoever chose it and whatever was seen of it.
    pub(crate) fn path(&self, path: &str, query: &[(&str, &str)]) -> String {
        let tenant = self.tenant.as_deref().map(|tenant| ("tenant", tenant));
        let query: Vec<_> = query.iter().copied().chain(tenant).collect();
        match serde_urlencoded::to_string(&query) {
            Ok(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path.to_owned(),
        }
    }
}

/// The pages that every page leads to.
const PAGES: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/learning", "Learning"),
    ("/dead-letters", "Dead letters"),
    ("/security", "Security"),
    ("/audit", "Audit"),
];

/// A whole document. `bar` stands in the head line, at its right.
fn layout(frame: &Frame, title: &str, bar: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Lyceum" }
                link rel="icon" href={ "/assets/" (ICON.file) };
                link rel="stylesheet" href={ "/assets/" (STYLE.file) };
                script src={ "/assets/" (SCRIPT.file) } defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.bar {
                    a.name href=(frame.path("/", &[])) { (PreEscaped(include_str!("icon.svg"))) "Lyceum" }
                    nav.views aria-label="Views" {
                        @for (path, name) in PAGES {
                            a href=(frame.path(path, &[])) aria-current=[(title == name || title.ends_with(&format!("· {name}"))).then_some("page")] { (name) }
                        }
                    }
                    form.search role="search" method="get" action="/search" {
                        @if let Some(tenant) = &frame.tenant { input type="hidden" name="tenant" value=(tenant); }
                        input type="search" name="q" aria-label="Search for an event, a learner, a survey, a booking …" placeholder="event id, learner, survey, position";
                        button type="submit" { "Search" }
                    }
                    (bar)
                }
                main #content { (content) }
                footer {
                    p { @if !frame.data.is_empty() { "Data: " code { (frame.data) } " · " } span #zone { "times are UTC" } }
                    nav aria-label="Interfaces" {
                        a href="/health" { "health" } " "
                        a href="/metrics" { "metrics" } " "
                        a href=(frame.path("/docs", &[])) { "events" } " "
                        a href=(frame.path("/replays", &[])) { "replays" } " "
                        a href="/openapi.json" { "API" }
                    }
                }
            }
        }
    }
}

/// `1234567` as `1,234,567`.
fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage with one digit, never rounded up to 100.
fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(share) if share >= 1.0 => "100 %".to_owned(),
        Some(share) => format!("{:.1} %", (share * 1000.0).floor() / 10.0),
    }
}

/// What a name of an outcome, a kind or a field reads like.
fn words(name: &str) -> String {
    match name {
        "active_learners" => "actors".to_owned(),
        "skipped_tombstone" => "empty record".to_owned(),
        "retry_later" => "will be retried".to_owned(),
        other => other.replace(['_', '-'], " "),
    }
}

/// The text with a capital at its beginning.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An instant in UTC, with the whole in the element, so that the script can say it in the reader's zone: as a `moment`, or its
/// `hour`, `day` or `clock` alone.
fn instant(at: &str, shown: &str) -> Markup {
    let part = |range: std::ops::Range<usize>| at.get(range).unwrap_or(at).replacen('T', " ", 1);
    let text = match shown {
        "clock" => part(11..19),
        "hour" => part(11..16),
        "day" => part(5..10),
        _ => part(0..16),
    };
    html! { time datetime=(at) title={ (part(0..19)) " UTC" } data-shown=(shown) { (text) } }
}

/// A time of day.
fn time(at_ms: i64) -> Markup {
    instant(&crate::live::format_time(at_ms), "clock")
}

/// A moment as people read it.
fn moment(at: &str) -> Markup {
    instant(at, "moment")
}

/// A text that may be a moment, as people read one.
fn moment_of(text: &str) -> Option<Markup> {
    let at = text.parse::<UtcTime>().ok().filter(|_| text.contains('T'))?;
    Some(moment(&crate::live::format_time(at.as_millis())))
}

/// An outcome as a dot and a word; the colour says nothing that the word does not.
fn outcome_badge(name: &str) -> Markup {
    html! { span class={ "badge " (name) } { (words(name)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(-12_345), "−12,345");
        assert_eq!([None, Some(1.0), Some(0.9999), Some(0.0)].map(percent), ["–", "100 %", "99.9 %", "0.0 %"]);
    }

    #[test]
    fn a_moment_is_read_whatever_zone_it_is_told_in_and_a_day_is_none() {
        let read = |text: &str| moment_of(text).map(Markup::into_string);
        let shown = read("2026-11-25T12:00:00.5+01:00").unwrap();
        assert!(shown.contains("datetime=\"2026-11-25T11:00:00") && shown.contains(">2026-11-25 11:00<"), "{shown}");
        assert_eq!([read("2026-11-25"), read("ses-1"), read("")], [None, None, None]);
    }

    #[test]
    fn every_path_keeps_the_tenant_that_is_looked_at() {
        let frame = Frame { tenant: Some("a&b".to_owned()), ..Frame::default() };
        assert_eq!(frame.path("/live", &[]), "/live?tenant=a%26b");
        assert_eq!(frame.path("/dead-letters", &[("kind", "decode")]), "/dead-letters?kind=decode&tenant=a%26b");
        assert_eq!(Frame::default().path("/live", &[]), "/live");
    }

    #[test]
    fn an_asset_is_found_under_its_present_version_only() {
        assert!(find_asset(&STYLE.file).is_some());
        assert!(find_asset("style.css").is_none());
    }

    #[test]
    fn nothing_that_the_page_loads_comes_from_elsewhere() {
        for asset in [&*STYLE, &*SCRIPT, &*ICON] {
            let foreign = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("//") || asset.media_type.starts_with("text/javascript"), "{}", asset.file);
            assert!(!foreign.contains("http"), "{}", asset.file);
        }
        assert!(SCRIPT.content.lines().count() <= 220);
    }
}
