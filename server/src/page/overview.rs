//! The overview: what happened in the last minutes, how far the inputs are, what failed.

use std::collections::{BTreeMap, HashMap};

use lyceum_core::outcome::DeadLetterKind;
use lyceum_core::record::Position;
use lyceum_xapi::utc_time::Day;
use maud::{Markup, html};
use serde_json::Value;

use super::alarms::{self, Signs};
use super::dead_letters::render_behind;
use super::fold::{Fold, fold};
use super::kpi::{self, Kpi};
use super::learning::{self, Compared};
use super::state::state_links;
use super::{Frame, count, layout, outcome_badge, plot, time, words};
use crate::consumers::{ConsumerState, ConsumerStatus};
use crate::dead_letters::letters::{Causes, DeadLetterCount};
use crate::live::history::{History, Reach};
use crate::live::{Counts, LiveEvent, OUTCOMES, Snapshot};
use crate::questions::About;

/// How many of the latest events are listed.
const EVENTS: usize = 30;
/// How many anomalies are listed.
pub const ANOMALIES: usize = 8;
/// How many events of a folded line are listed.
const FOLDED: usize = 12;
/// How many lines a ranking has.
const RANKS: usize = 8;

/// Everything that the overview shows. What could not be asked is the reason why.
pub struct Overview {
    /// Whether this process sees how events end; else the last minutes are not shown, and nothing changes until the page is loaded again.
    pub is_live: bool,
    /// Around it.
    pub frame: Frame,
    /// The tenants that have data, to choose from; `None` where the credential has chosen.
    pub tenants: Option<Vec<String>>,
    /// The last minutes.
    pub snapshot: Snapshot,
    /// How events ended in the last 24 hours, and in those before them.
    pub days: [Counts; 2],
    /// A longer time, where one is looked at.
    pub history: Option<History>,
    /// Dead letters that wait, by cause, and how many there are of each kind.
    pub letters: Result<Causes, String>,
    /// Whether there are letters that were not read yet, and so neither counted nor their tenants listed.
    pub is_behind: bool,
    /// The last days of learning, and those before them.
    pub learning: Result<Compared, String>,
    /// What the events are about after which something was odd.
    pub about: HashMap<Position, About>,
    /// How far each mapping has come.
    pub mappings: Result<Vec<ConsumerStatus>, String>,
    /// The answer to the question "platform".
    pub platform: Result<Value, String>,
    /// Each part of the system and, where it does not answer, why.
    pub health: Vec<(&'static str, Option<String>)>,
    /// Host and port of this server, for the commands that an empty page names.
    pub host: String,
}

impl Overview {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let parts: BTreeMap<&str, Markup> = self.render_parts().into_iter().collect();
        let part = |id: &'static str| html! { div id=(id) { @if let Some(part) = parts.get(id) { (part) } } };
        let bar = html! {
            (part("health"))
            @if let Some(tenants) = &self.tenants { (self.render_tenants(tenants)) }
            @else if let Some(tenant) = &self.frame.tenant { p.tenant { "Tenant " b { (tenant) } } }
            p.feed {
                span #feed-state role="status" {
                    "as of " (time(self.snapshot.at_ms)) @if !self.is_live { "; load it again for what came since" }
                }
                @if self.is_live { button #feed-pause type="button" hidden { "Pause" } }
            }
        };
        let section = |id: &'static str, title: &str, class: &str| {
            html! { section class=(class) aria-label=(title) { h2 { (title) } (part(id)) } }
        };
        let reach = self.history.as_ref().map(|history| [("reach", history.reach.name())]);
        let feed = self.frame.path("/live", reach.as_ref().map_or(&[], |reach| &reach[..]));
        let content = html! {
            h1.hidden { "Overview" }
            div.overview data-live=[self.is_live.then_some(feed)] {
                div #alarms.wide aria-live="polite" { @if let Some(part) = parts.get("alarms") { (part) } }
                section.wide aria-label=(learning::title(learning::DAYS[0])) {
                    h2 { (learning::title(learning::DAYS[0])) }
                    (part("learning"))
                }
                @if self.is_live {
                    section.wide aria-label="Events" { h2 { "Events" } (part("numbers")) (part("plot")) }
                    div.main {
                        (section("events", "Latest events", ""))
                    }
                    div.side {
                        (section("letters", "Dead letters", ""))
                        (section("anomalies", "Anomalies", ""))
                        (section("mappings", "Inputs", ""))
                        (section("rules", "Broken rules", ""))
                    }
                } @else {
                    section.wide aria-label="Events" {
                        h2 { "Events" }
                        p { "Functions process the events, and this page sees none of them end: how many a minute, how fast and with what outcome is on the stack's dashboard in CloudWatch." }
                    }
                    div.main { (section("letters", "Dead letters", "")) }
                    div.side { (section("mappings", "Inputs", "")) }
                }
                (section("totals", "Stored statements", "wide"))
            }
        };
        let title = match self.waiting().unwrap_or(0) {
            0 => "Overview".to_owned(),
            waiting => format!("{} waiting · Overview", count(waiting)),
        };
        layout(&self.frame, &title, &bar, &content)
    }

    /// The parts that the live feed keeps current, by element id.
    pub fn render_parts(&self) -> Vec<(&'static str, Markup)> {
        vec![
            ("health", self.render_health()),
            ("alarms", self.render_alarms()),
            ("learning", self.render_learning()),
            ("numbers", self.render_numbers()),
            ("plot", self.render_plot()),
            ("events", self.render_events()),
            ("mappings", self.render_mappings()),
            ("letters", self.render_letters()),
            ("rules", self.render_rules()),
            ("anomalies", self.render_anomalies()),
            ("totals", self.render_totals()),
        ]
    }

    fn render_tenants(&self, tenants: &[String]) -> Markup {
        let without_data = self.frame.tenant.as_ref().filter(|tenant| !tenants.contains(tenant));
        html! {
            form.tenant method="get" action="/" {
                label for="tenant" { "Tenant" }
                select #tenant name="tenant" {
                    option value="" { "all" }
                    @for tenant in tenants {
                        option value=(tenant) selected[self.frame.tenant.as_ref() == Some(tenant)] { (tenant) }
                    }
                    @if let Some(tenant) = without_data { option value=(tenant) selected { (tenant) " (no data)" } }
                }
                button type="submit" { "Show" }
            }
        }
    }

    fn render_health(&self) -> Markup {
        html! {
            ul.health aria-label="Health" {
                @for (name, error) in &self.health {
                    li title=[error.as_deref()] {
                        span.badge.up[error.is_none()].down[error.is_some()] { (name) @if error.is_some() { " is unavailable" } }
                    }
                }
            }
        }
    }

    fn render_alarms(&self) -> Markup {
        let signs = Signs {
            frame: &self.frame,
            now_ms: self.snapshot.at_ms,
            causes: self.letters.as_ref().map_or(&[], |letters| &letters.causes),
            health: &self.health,
            mappings: self.mappings.as_deref().unwrap_or_default(),
        };
        alarms::render(&signs.alarms())
    }

    fn render_learning(&self) -> Markup {
        match &self.learning {
            Ok(compared) => html! {
                (kpi::render(&compared.kpis(&self.frame)))
                p.quiet { a href=(self.frame.path("/learning", &[])) { "By day, department and survey" } }
            },
            Err(error) => unavailable(error),
        }
    }

    fn render_plot(&self) -> Markup {
        match &self.history {
            None => plot::render(&self.frame, &self.snapshot),
            Some(history) => plot::render_history(&self.frame, history),
        }
    }

    /// How many dead letters are not done with.
    fn waiting(&self) -> Option<u64> {
        let letters = self.letters.as_ref().ok()?;
        Some(letters.kinds.values().map(|count| count.waiting + count.parked).sum())
    }

    fn render_numbers(&self) -> Markup {
        let [day, before] = &self.days;
        let all = |counts: &Counts| counts.iter().sum::<u64>();
        let dead = |counts: &Counts| {
            OUTCOMES.iter().zip(counts).find(|(name, _)| **name == "dead_lettered").map_or(0, |(_, number)| *number)
        };
        let lag = self.mappings.as_ref().ok().map(|mappings| mappings.iter().map(ConsumerStatus::lag).sum::<i64>());
        let is_stuck = self.mappings.iter().flatten().any(|mapping| mapping.state != ConsumerState::Running);
        let waiting = self.waiting();
        let known = |number: Option<i128>| number.map_or("–".to_owned(), count);
        let kpis = [
            Kpi::new("events in 24 hours", count(all(day)))
                .changed(kpi::change(all(day), all(before)))
                .leading(self.frame.path("/", &[("reach", Reach::Day.name())])),
            Kpi::new("events per second", format!("{:.1}", self.snapshot.events_per_second())),
            Kpi::new("failed in 24 hours", count(dead(day)))
                .changed(kpi::change(dead(day), dead(before)))
                .leading(self.frame.path("/dead-letters", &[]))
                .wrong(dead(day) > 0),
            Kpi::new("dead letters to look at", known(waiting.map(i128::from)))
                .leading(self.frame.path("/dead-letters/list", &[]))
                .wrong(waiting.is_some_and(|waiting| waiting > 0)),
            Kpi::new("waiting to be processed", known(lag.map(i128::from)))
                .leading("#mappings".to_owned())
                .wrong(is_stuck),
            Kpi::new("statements stored", known(self.stored().map(i128::from))).leading("#totals".to_owned()),
        ];
        html! {
            (kpi::render(&kpis))
            p #title hidden data-waiting=(waiting.unwrap_or(0)) {}
        }
    }

    fn render_events(&self) -> Markup {
        let tenant = self.frame.tenant.as_deref().unwrap_or("this tenant");
        let shows_tenant = self.frame.tenant.is_none();
        html! {
            @if !self.snapshot.is_counted {
                p.empty { "Numbers are kept for the first tenants that were seen, and " b { (tenant) } " came after them. \
                    Events and dead letters are processed all the same; give the tenant a token of its own to see it here." }
            } @else if self.snapshot.events.is_empty() {
                (self.render_nothing())
            } @else {
                table.events {
                    caption.hidden { "The latest events, the newest first" }
                    thead { tr {
                        th scope="col" { "Time" } th scope="col" { "Event" } th scope="col" { "Outcome" }
                        @if shows_tenant { th.roomy scope="col" { "Tenant" } }
                        th.roomy scope="col" { "Record" }
                    } }
                    tbody {
                        @for fold in fold(&self.snapshot.events).iter().take(EVENTS) { (self.render_event(fold, shows_tenant)) }
                    }
                }
            }
        }
    }

    fn render_event(&self, fold: &Fold<'_>, shows_tenant: bool) -> Markup {
        let event = fold.newest();
        let number = fold.events.len();
        html! {
            tr id=(fold.id()) {
                td.time { (time(event.at_ms)) }
                td {
                    a href=(self.path_of(event)) { (event.event_type) }
                    @if let Some(finding) = event.findings.first() {
                        p.why {
                            (finding.message)
                            @if !finding.pointer.is_empty() { " " code { (finding.pointer) } }
                            @if event.findings_total > 1 { " and " (event.findings_total - 1) " more" }
                        }
                    } @else if let lyceum_core::outcome::Outcome::RetryLater { reason } = &event.outcome {
                        p.why { (reason) }
                    }
                    @if number > 1 {
                        details {
                            summary { (count(number as u64)) " times" @if let Some(first) = fold.events.last() { ", since " (time(first.at_ms)) } }
                            ul.plain {
                                @for event in fold.events.iter().take(FOLDED) { li { a href=(self.path_of(event)) { (event.position) } } }
                                @if number > FOLDED { li { "and " (number - FOLDED) " more" } }
                            }
                        }
                    }
                }
                td { (outcome_badge(event.outcome.name())) }
                @if shows_tenant { td.roomy { (event.tenant.as_deref().unwrap_or("–")) } }
                td.roomy.quiet { (event.position) }
            }
        }
    }

    fn path_of(&self, event: &LiveEvent) -> String {
        self.frame.path(&format!("/events/{}", event.position), &[])
    }

    /// How many statements are stored; `None` where the store does not say.
    fn stored(&self) -> Option<u64> {
        self.platform.as_ref().ok()?.get("total")?.as_u64()
    }

    /// What a page says that has no event to show: what came before the start of this process is still there.
    fn render_nothing(&self) -> Markup {
        let has_no_letter = self.letters.as_ref().is_ok_and(|letters| letters.kinds.is_empty()) && !self.is_behind;
        let has_nothing = self.stored() == Some(0) && has_no_letter;
        let others = self.tenants.iter().flatten().filter(|tenant| self.frame.tenant.as_ref() != Some(tenant));
        let others: Vec<&String> = if self.frame.tenant.is_some() { others.collect() } else { Vec::new() };
        html! {
            @if !has_nothing {
                p.empty { "Nothing has arrived since this process started, at " (time(self.snapshot.since_ms))
                    ". What came before is counted under “Stored statements” and “Dead letters”." }
            } @else if others.is_empty() {
                (self.render_first_steps())
            } @else {
                p.empty {
                    "Tenant " b { (self.frame.tenant.as_deref().unwrap_or_default()) } " has no data. There is data of "
                    @for (index, tenant) in others.iter().enumerate() {
                        @if index > 0 { ", " }
                        a href=(Frame { tenant: Some((*tenant).clone()), ..Frame::default() }.path("/", &[])) { (tenant) }
                    }
                    "."
                }
            }
        }
    }

    fn render_first_steps(&self) -> Markup {
        html! {
            div.empty {
                p { "Nothing has arrived yet. Any of these changes that:" }
                pre tabindex="0" {
                    "lyceum up --demo                    # made-up traffic, to look around\n"
                    "lyceum ingest statements.jsonl      # a file of xAPI statements\n"
                    "curl -H 'content-type: application/json' --data @statement.json \\\n"
                    "     http://" (self.host) "/events/nlj.xapi.statements"
                }
            }
        }
    }

    fn render_mappings(&self) -> Markup {
        let mappings = match &self.mappings {
            Ok(mappings) => mappings,
            Err(error) => return unavailable(error),
        };
        html! {
            @if mappings.is_empty() { p.empty { "No function is mapped to a topic." } }
            @else {
                table.mappings {
                    caption.hidden { "The topics that events come from, and how many wait there" }
                    thead { tr { th scope="col" { "Input" } th scope="col" { "State" } th.number scope="col" { "Waiting" } } }
                    tbody { @for mapping in mappings { (render_mapping(mapping)) } }
                }
            }
        }
    }

    fn render_letters(&self) -> Markup {
        let letters = match &self.letters {
            Ok(letters) => &letters.kinds,
            Err(error) => return unavailable(error),
        };
        let review = |kind: DeadLetterKind, number: &DeadLetterCount| {
            let state = if number.waiting > 0 { "waiting" } else { "parked" };
            self.frame.path("/dead-letters/list", &[("kind", kind.name()), ("state", state)])
        };
        html! {
            (render_behind(self.is_behind))
            @if letters.is_empty() && !self.is_behind { p.empty { "None: every record was processed or is still to come." } }
            @else {
                table {
                    caption.hidden { "Dead letters by kind" }
                    thead { tr {
                        th scope="col" { "Kind" } th.number scope="col" { "Waiting" } th.number scope="col" { "Parked" }
                        td { span.hidden { "Action" } }
                    } }
                    tbody {
                        @for (kind, number) in letters {
                            tr id={ "kind-" (kind.name()) } {
                                th scope="row" { (words(kind.name())) }
                                td.number { (count(number.waiting)) }
                                td.number { (count(number.parked)) }
                                td.action { a.button href=(review(*kind, number)) aria-label={ "Replay… " (words(kind.name())) ", after a look" } { "Replay…" } }
                            }
                        }
                    }
                }
                p.quiet { a href=(self.frame.path("/dead-letters", &[])) { "All of them by rule, topic and tenant" } }
            }
        }
    }

    fn render_rules(&self) -> Markup {
        let totals = &self.snapshot.totals;
        let rules = rank(totals.violations.iter().map(|(rule, number)| (rule.to_string(), *number)));
        html! {
            @if rules.is_empty() { p.empty { "None since the start." } }
            @else { (bars("Those that were broken most since the start", &rules)) }
        }
    }

    fn render_anomalies(&self) -> Markup {
        html! {
            @if self.snapshot.anomalies.is_empty() { p.empty { "None since the start." } }
            @else {
                ul.anomalies {
                    @for anomaly in self.snapshot.anomalies.iter().take(ANOMALIES) {
                        li {
                            (time(anomaly.at_ms)) " "
                            a href=(self.frame.path(&format!("/events/{}", anomaly.position), &[])) { (words(&anomaly.name)) }
                            " " (anomaly.message)
                            @if let Some(about) = self.about.get(&anomaly.position) {
                                @for link in state_links(about) { " · " (link) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn render_totals(&self) -> Markup {
        let answer = match &self.platform {
            Ok(answer) => answer,
            Err(error) => return unavailable(error),
        };
        let members: Vec<_> = answer.as_object().into_iter().flatten().collect();
        let numbers = members.iter().filter_map(|(name, value)| Some((words(name), value.as_number()?)));
        let groups = members.iter().map(|(name, value)| (words(name), rank(read_ranking(value).into_iter())));
        let groups: Vec<_> = groups.filter(|(_, ranking)| !ranking.is_empty()).collect();
        html! {
            dl.facts {
                @for (name, number) in numbers {
                    div { dt { (name) } dd { (number.as_u64().map_or_else(|| number.to_string(), count)) } }
                }
            }
            div.groups {
                @for (name, ranking) in &groups { (bars(name, ranking)) }
            }
        }
    }
}

fn render_mapping(mapping: &ConsumerStatus) -> Markup {
    let state = match mapping.state {
        ConsumerState::Running => "up",
        ConsumerState::BackingOff => "retry_later",
        ConsumerState::Stopped => "down",
    };
    html! {
        tr id={ "mapping-" (mapping.name) } {
            th scope="row" {
                details {
                    summary { (mapping.name) }
                    p.quiet { (mapping.topic) " → " (mapping.function) " as " (mapping.group) }
                    @if let Some(work) = &mapping.work {
                        p.quiet { (count(work.records)) " records in " (count(work.batches)) " batches, " (count(work.failed_batches)) " failed" }
                        @if let Some(error) = &work.last_error { p.why { (error) } }
                    }
                    table.partitions {
                        caption.hidden { "Partitions of " (mapping.topic) }
                        thead { tr {
                            th scope="col" { "Partition" } th.number scope="col" { "Processed" }
                            th.number scope="col" { "End" } th.number scope="col" { "Waiting" }
                        } }
                        tbody {
                            @for partition in &mapping.partitions {
                                tr {
                                    th scope="row" { (partition.partition) }
                                    td.number { (partition.committed.map_or("–".to_owned(), count)) }
                                    td.number { (count(partition.end)) }
                                    td.number { (count(partition.lag)) }
                                }
                            }
                        }
                    }
                }
            }
            td { span.badge.(state) { (mapping.state.label()) } }
            td.number { (count(mapping.lag())) }
        }
    }
}

fn unavailable(error: &str) -> Markup {
    html! { p.why role="alert" { (error) } }
}

/// The largest first, at most [`RANKS`]; of days the last ones, in their order.
fn rank(numbers: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut ranking: Vec<_> = numbers.collect();
    if ranking.iter().all(|(name, _)| name.parse::<Day>().is_ok()) {
        ranking.sort_by_key(|(name, _)| name.parse::<Day>().ok());
        return ranking.split_off(ranking.len().saturating_sub(RANKS));
    }
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranking.truncate(RANKS);
    ranking
}

/// Reads `{"name": 3}` and `[{"any": "name", "any": 3}]`; anything else is no ranking.
fn read_ranking(value: &Value) -> Vec<(String, u64)> {
    match value {
        Value::Object(members) => {
            members.iter().filter_map(|(name, number)| Some((name.clone(), number.as_u64()?))).collect()
        }
        Value::Array(items) => items
            .iter()
            .filter_map(|item| {
                let members = item.as_object()?;
                let name = members.values().find_map(Value::as_str)?;
                Some((name.to_owned(), members.values().find_map(Value::as_u64)?))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A ranking as bars; of an IRI the last segment is shown.
fn bars(title: &str, ranking: &[(String, u64)]) -> Markup {
    let most = ranking.iter().map(|(_, number)| *number).max().unwrap_or(0).max(1);
    html! {
        table.bars {
            caption { (title) }
            tbody {
                @for (name, number) in ranking {
                    tr {
                        th scope="row" title=(name) { (name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(name)) }
                        td {
                            svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
                                rect width={ (format!("{:.2}", *number as f64 / most as f64 * 100.0)) } height="1" {}
                            }
                        }
                        td.number { (count(*number)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rankings_are_read_in_either_shape_and_sorted_but_for_days() {
        let wanted = [("b".to_owned(), 3), ("a".to_owned(), 1), ("c".to_owned(), 1)];
        assert_eq!(rank(read_ranking(&json!({"a": 1, "b": 3, "c": 1})).into_iter()), wanted);
        let list = json!([{"verb": "a", "count": 1}, {"verb": "b", "count": 3}, {"verb": "c", "count": 1}]);
        assert_eq!(rank(read_ranking(&list).into_iter()), wanted);
        let days = json!({"2026-03-02": 1, "2026-03-01": 9});
        let wanted = [("2026-03-01".to_owned(), 9), ("2026-03-02".to_owned(), 1)];
        assert_eq!(rank(read_ranking(&days).into_iter()), wanted);
        assert_eq!(read_ranking(&json!(7)), []);
    }
}
