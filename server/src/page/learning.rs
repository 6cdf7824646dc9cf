//! Learning: how many people, what they completed and what they think of it, against the time before; by day, by what it belongs to,
//! and by survey.

use std::collections::BTreeMap;
use std::fmt::Write;

use lyceum_xapi::utc_time::{Day, UtcTime};
use maud::{Markup, html};
use serde_json::Value;

use super::kpi::{self, Kpi};
use super::plot::{Chart, Drawn, PARTS, day_label, parts_of, promotion_bar, render_csv};
use super::state::survey_path;
use super::{Frame, count, layout, percent};

/// The periods to choose from, in days; the first one stands on the overview.
pub const DAYS: [u32; 3] = [7, 30, 90];
const DAY_MS: i64 = 86_400_000;

/// A period and as long a time before it: the same days, as far as today has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// So many UTC days; the last one is today.
    pub days: u32,
    /// The present, to the minute, so that many who ask at once ask the same.
    to_ms: i64,
}

impl Period {
    /// The last so many days.
    pub fn last(days: u32, now_ms: i64) -> Self {
        Self { days, to_ms: (now_ms.div_euclid(60_000) + 1) * 60_000 }
    }

    /// Milliseconds, the first and the one behind the last.
    pub fn span(&self) -> (i64, i64) {
        (self.first_day().start().as_millis(), self.to_ms)
    }

    /// The same of the time before.
    pub fn span_before(&self) -> (i64, i64) {
        let (from_ms, to_ms) = self.span();
        let length_ms = i64::from(self.days) * DAY_MS;
        (from_ms - length_ms, to_ms - length_ms)
    }

    fn first_day(&self) -> Day {
        UtcTime::from_millis(self.to_ms - 1).day().plus(1 - i64::from(self.days))
    }

    /// Its days, the oldest first.
    fn days(&self) -> impl Iterator<Item = Day> + use<> {
        let first = self.first_day();
        (0..i64::from(self.days)).map(move |day| first.plus(day))
    }
}

/// Answers to the question "learning": of a period and of the time before it.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Of which time.
    pub period: Period,
    /// Its answer.
    pub now: Value,
    /// That of the time before.
    pub before: Value,
}

/// What the section on the overview is called.
pub(super) fn title(days: u32) -> String {
    format!("Learning in the last {days} days")
}

impl Compared {
    /// The numbers that a reader judges by.
    pub(super) fn kpis(&self, frame: &Frame) -> Vec<Kpi> {
        let Self { period, now, before } = self;
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
        let days = period.days.to_string();
        let to = |place: &str| frame.path("/learning", &[("days", &days)]) + place;
        let counted = |label: &str, name: &str, place: &str| {
            let (now, before) = (number(now, name), number(before, name));
            Kpi::new(label, count(now)).changed(kpi::change(now, before)).leading(to(place))
        };
        let score = |of: &Value| of["nps"].as_f64();
        let rate = |of: &Value| of["response_rate"].as_f64();
        let hundred = |of: &Value| rate(of).map(|rate| rate * 100.0);
        vec![
            counted("people active", "people", "#people"),
            counted("completions", "completions", "#completions"),
            Kpi::new("net promoter score", score(now).map_or("–".to_owned(), whole))
                .changed(kpi::points(score(now), score(before)))
                .leading(to("#opinion")),
            Kpi::new("surveys completed", rate(now).map_or("–".to_owned(), |rate| percent(Some(rate))))
                .changed(kpi::points(hundred(now), hundred(before)).map(|points| format!("{points} points")))
                .leading(to("#opinion")),
        ]
    }

    /// The days as lines of comma-separated values with a head.
    pub fn to_csv(&self) -> String {
        let by_day = by_day(&self.now);
        let mut text = "day,people,completions,statements\n".to_owned();
        for day in self.period.days() {
            let counts = by_day.get(&day.to_string()).copied().unwrap_or_default();
            let _ = writeln!(text, "{day},{},{},{}", counts.people, counts.completions, counts.statements);
        }
        text
    }
}

/// `-12` as `−12`.
fn whole(score: f64) -> String {
    count(score.round() as i64)
}

#[derive(Clone, Copy, Default)]
struct DayCounts {
    people: u64,
    completions: u64,
    statements: u64,
}

fn by_day(answer: &Value) -> BTreeMap<String, DayCounts> {
    let days = answer["by_day"].as_array().into_iter().flatten();
    let counts = days.filter_map(|day| {
        let number = |name: &str| day[name].as_u64().unwrap_or(0);
        let counts = DayCounts {
            people: number("people"),
            completions: number("completions"),
            statements: number("statements"),
        };
        Some((day["day"].as_str()?.to_owned(), counts))
    });
    counts.collect()
}

/// The page.
pub struct LearningView {
    /// Around it.
    pub frame: Frame,
    /// What it shows.
    pub compared: Compared,
}

impl LearningView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let Compared { period, now, .. } = &self.compared;
        let days = period.days;
        let (from_ms, _) = period.span();
        let from = UtcTime::from_millis(from_ms).day().to_string();
        let is_empty = now["statements"].as_u64() == Some(0);
        let content = html! {
            article.learning {
                h1 { "Learning" }
                nav aria-label="Period" {
                    ul.kinds {
                        @for choice in DAYS {
                            li { a href=(self.frame.path("/learning", &[("days", &choice.to_string())])) aria-current=[(choice == days).then_some("true")] { (choice) " days" } }
                        }
                    }
                }
                p.quiet { "From " (from) " to now, in days of UTC; changes are against the " (days) " days before, as far as today has come." }
                (kpi::render(&self.compared.kpis(&self.frame)))
                @if is_empty { p.empty { "No statement has a timestamp in this time." } }
                (self.render_days("people", "People active by day", |counts| counts.people))
                (self.render_days("completions", "Completions by day", |counts| counts.completions))
                (self.render_opinion())
                (self.render_parts())
            }
        };
        layout(&self.frame, "Learning", &html! {}, &content)
    }

    fn render_days(&self, id: &str, title: &str, number: impl Fn(&DayCounts) -> u64) -> Markup {
        let Compared { period, now, before } = &self.compared;
        let (now, before) = (by_day(now), by_day(before));
        let of = |days: &BTreeMap<String, DayCounts>, day: Day| days.get(&day.to_string()).map_or(0, &number);
        let length = i64::from(period.days);
        let days: Vec<(Day, u64, u64)> =
            period.days().map(|day| (day, of(&now, day), of(&before, day.plus(-length)))).collect();
        let bars = days.iter().enumerate().map(|(index, (day, number, before))| Drawn {
            left: index as f64 * 10.0,
            width: 10.0,
            at: day.to_string(),
            says: format!("{}, and {} on {}", count(*number), count(*before), day.plus(-length)),
            parts: Some(vec![*number as f64]),
        });
        let has_before = days.iter().any(|(_, _, before)| *before > 0);
        let most = days.iter().map(|(_, number, _)| *number).max().unwrap_or(0);
        let marks = days.len().min(7);
        let x = (0..marks).map(|mark| day_label(&days[mark * (days.len() - 1) / (marks - 1).max(1)].0.to_string()));
        let chart_id = format!("{id}-chart");
        let chart = Chart {
            id: &chart_id,
            title,
            text: format!("At most {} on one of {} days.", count(most), days.len()),
            width: days.len() as f64 * 10.0,
            bars: bars.collect(),
            told_together: 1,
            classes: &["applied"],
            line: if has_before {
                days.iter().map(|(_, _, before)| Some(*before as f64)).collect()
            } else {
                Vec::new()
            },
            x: x.collect(),
        };
        let to = self.frame.path("/learning.csv", &[("days", &period.days.to_string())]);
        html! {
            section id=(id) aria-label=(title) {
                h2 { (title) }
                figure.plot {
                    (chart.render())
                    figcaption {
                        @if has_before {
                            ul.legend aria-label="Legend" {
                                li { span.badge.applied { "these " (period.days) " days" } }
                                li { span.badge.line { "the " (period.days) " days before" } }
                            }
                        }
                        details {
                            summary { "Figures as a table" }
                            table {
                                caption { (title) }
                                thead { tr { th scope="col" { "Day" } th.number scope="col" { "These days" } th.number scope="col" { "The days before" } } }
                                tbody {
                                    @for (day, number, before) in days.iter().rev() {
                                        tr { th scope="row" { (day) } td.number { (count(*number)) } td.number { (count(*before)) } }
                                    }
                                }
                            }
                            (render_csv(&to))
                        }
                    }
                }
            }
        }
    }

    fn render_opinion(&self) -> Markup {
        let now = &self.compared.now;
        let surveys = now["surveys"].as_array().map_or(&[][..], Vec::as_slice);
        html! {
            section #opinion aria-label="Opinion" {
                h2 { "Opinion" }
                (render_promotion(&now["promotion"], now["nps"].as_f64()))
                @if surveys.is_empty() { p.empty { "No survey in this time." } }
                @else {
                    div.scroll role="region" aria-label="Surveys" tabindex="0" { table {
                        caption { "Surveys, those with the most statements first" }
                        thead { tr {
                            th scope="col" { "Survey" } th.number scope="col" { "Started" } th.number scope="col" { "Completed" }
                            th.number scope="col" { abbr title="net promoter score" { "NPS" } }
                        } }
                        tbody {
                            @for survey in surveys {
                                @let id = survey["survey"].as_str().unwrap_or_default();
                                tr {
                                    th scope="row" { a href=(self.frame.path(&survey_path(id), &[])) { (id) } }
                                    td.number { (count(survey["started"].as_u64().unwrap_or(0))) }
                                    td.number { (count(survey["completed"].as_u64().unwrap_or(0))) }
                                    td.number { (survey["nps"].as_f64().map_or("–".to_owned(), whole)) }
                                }
                            }
                        }
                    } }
                }
            }
        }
    }

    fn render_parts(&self) -> Markup {
        let parts = self.compared.now["belongs_to"].as_array().map_or(&[][..], Vec::as_slice);
        let number = |part: &Value, name: &str| part[name].as_u64().unwrap_or(0);
        let most = parts.iter().map(|part| number(part, "completions")).max().unwrap_or(0).max(1);
        html! {
            @if !parts.is_empty() {
                section #parts aria-label="Departments and courses" {
                    h2 { "Departments and courses" }
                    table.bars.parts {
                        caption { "By the activity that others belong to (contextActivities.parent), those with the most statements first" }
                        thead { tr { th scope="col" { "Activity" } td { span.hidden { "Completions as a bar" } } th.number scope="col" { "Completions" } th.number scope="col" { "People" } } }
                        tbody {
                            @for part in parts {
                                @let activity = part["activity"].as_str().unwrap_or_default();
                                tr {
                                    th scope="row" title=(activity) { (activity.rsplit('/').find(|end| !end.is_empty()).unwrap_or(activity)) }
                                    td {
                                        svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
                                            rect width=(format!("{:.1}", number(part, "completions") as f64 / most as f64 * 100.0)) height="1" {}
                                        }
                                    }
                                    td.number { (count(number(part, "completions"))) }
                                    td.number { (count(number(part, "people"))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A net promoter score with its three parts.
fn render_promotion(promotion: &Value, score: Option<f64>) -> Markup {
    let parts = parts_of(promotion);
    let answers: u64 = parts.iter().map(|(number, _)| number).sum();
    html! {
        @if let Some(score) = score {
            p { "Net promoter score " b { (whole(score)) } " of " (count(answers)) " answers" }
            (promotion_bar(promotion))
            ul.legend aria-label="Its parts" {
                @for ((name, answers), (number, share)) in PARTS.iter().zip(parts) {
                    li { span class={ "badge " (name) } { (name) ", " (answers) } " " b { (count(number)) } " " (format!("{share:.0} %")) }
                }
            }
        } @else { p.empty { "No question on a scale from 0 to 10 was answered, so that there is no net promoter score." } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-03-05T09:30:00Z
    const NOW_MS: i64 = 1_772_703_000_000;

    fn compared() -> Compared {
        let day =
            |day: &str, people: u64| json!({"day": day, "people": people, "completions": 1, "statements": 2 * people});
        Compared {
            period: Period::last(7, NOW_MS),
            now: json!({
                "people": 30, "statements": 90, "completions": 3, "nps": 25.0, "response_rate": 0.8,
                "promotion": {"promoters": 2, "passives": 1, "detractors": 1},
                "by_day": [day("2026-02-27", 10), day("2026-03-05", 20)],
                "belongs_to": [{"activity": "https://a.example/departments/nursing", "people": 4, "completions": 2}],
                "surveys": [{"survey": "https://s.example/one", "started": 5, "completed": 4, "nps": 25.0}],
            }),
            before: json!({"people": 20, "completions": 6, "nps": 30.0, "response_rate": 0.7, "by_day": [day("2026-02-20", 8)]}),
        }
    }

    #[test]
    fn a_period_is_held_against_the_same_days_before_as_far_as_today_has_come() {
        let period = Period::last(7, NOW_MS);
        let told = |(from, to)| [from, to].map(|ms| UtcTime::from_millis(ms).to_string());
        assert_eq!(told(period.span()), ["2026-02-27T00:00:00Z", "2026-03-05T09:31:00Z"]);
        assert_eq!(told(period.span_before()), ["2026-02-20T00:00:00Z", "2026-02-26T09:31:00Z"]);
        assert_eq!(period, Period::last(7, NOW_MS + 59_000), "who asks within the same minute asks the same");
    }

    #[test]
    fn numbers_have_their_change_and_lead_to_where_they_come_from() {
        let frame = Frame { tenant: Some("acme".to_owned()), ..Frame::default() };
        let page = kpi::render(&compared().kpis(&frame)).into_string();
        for part in [
            "30</span> <span class=\"change\">+50 %",
            "3</span> <span class=\"change\">−50 %",
            "25</span> <span class=\"change\">−5",
            "80.0 %</span> <span class=\"change\">+10 points",
            "href=\"/learning?days=7&amp;tenant=acme#opinion\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn a_day_without_anything_is_there_with_nothing() {
        assert_eq!(
            compared().to_csv(),
            "day,people,completions,statements\n2026-02-27,10,1,20\n2026-02-28,0,0,0\n2026-03-01,0,0,0\n2026-03-02,0,0,0\n\
             2026-03-03,0,0,0\n2026-03-04,0,0,0\n2026-03-05,20,1,40\n"
        );
        let page = LearningView { frame: Frame::default(), compared: compared() }.render().into_string();
        assert!(
            page.contains("<title>10, and 8 on 2026-02-20</title>") && page.contains("path class=\"before\""),
            "{page}"
        );
        assert!(page.contains("<a href=\"/surveys/https%3A%2F%2Fs.example%2Fone\">"), "{page}");
    }

    #[test]
    fn a_score_is_shown_with_its_three_parts() {
        let page = render_promotion(&compared().now["promotion"], Some(25.0)).into_string();
        for part in [
            "<rect class=\"detractors\" x=\"0.00\" width=\"25.00\"",
            "<rect class=\"promoters\" x=\"50.00\" width=\"50.00\"",
            "of 4 answers",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(render_promotion(&Value::Null, None).into_string().contains("there is no net promoter score"));
    }
}
