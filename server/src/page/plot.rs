//! Charts: stacked bars in SVG with a value for each bar under the pointer or the arrow keys, and all figures as a table.
//!
//! What happened in the last ten minutes is a rate by the second; what happened before is counted by bars of a history, in which a
//! time without a process is a gap. A line may stand behind the bars: the same of the time before.

use std::fmt::Write;

use lyceum_xapi::utc_time::UtcTime;
use maud::{Markup, html};
use serde_json::Value;

use super::{Frame, count, instant, outcome_badge, words};
use crate::live::history::{Bar, History, Reach};
use crate::live::{Counts, OUTCOMES, SECONDS, Snapshot, format_time};

/// The seconds of one column.
const COLUMN: usize = 5;
/// The drawing's height; the style stretches it.
const HEIGHT: f64 = 100.0;
/// So many columns are told together: what lives is sent every second.
const TOLD_TOGETHER: usize = 4;
/// How much of a bar's width is drawn; the rest is the gap to the next.
const DRAWN: f64 = 0.84;

/// One bar.
pub(super) struct Drawn {
    /// Its left edge and its width.
    pub(super) left: f64,
    pub(super) width: f64,
    /// The moment that it is of, and what it says; of several that are told together the first one says it.
    pub(super) at: String,
    pub(super) says: String,
    /// From below; `None` is a gap.
    pub(super) parts: Option<Vec<f64>>,
}

/// A drawing with its axes.
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What it shows, in a sentence.
    pub(super) text: String,
    pub(super) width: f64,
    pub(super) bars: Vec<Drawn>,
    /// So many bars are told together.
    pub(super) told_together: usize,
    /// The class of each part of a bar.
    pub(super) classes: &'a [&'a str],
    /// Values at the middles of bars, behind them.
    pub(super) line: Vec<Option<f64>>,
    /// Below it, from left to right.
    pub(super) x: Vec<Markup>,
}

impl Chart<'_> {
    /// The largest value.
    fn peak(&self) -> f64 {
        let bars = self.bars.iter().flat_map(|bar| &bar.parts).map(|parts| parts.iter().sum());
        bars.chain(self.line.iter().flatten().copied()).fold(0.0, f64::max)
    }

    pub(super) fn render(&self) -> Markup {
        let Self { id, width, .. } = self;
        let top = round_up(self.peak());
        html! {
            div.frame {
                div.y aria-hidden="true" { span { (axis(top)) } span { (axis(top / 2.0)) } span { "0" } }
                svg data-chart=(id) tabindex="0" viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby={ (id) "-title " (id) "-text" } {
                    title id={ (id) "-title" } { (self.title) }
                    desc id={ (id) "-text" } { (self.text) }
                    path.grid d={ "M0 .5H" (width) "M0 " (HEIGHT / 2.0) "H" (width) "M0 99.500H" (width) } {}
                    @let gaps = self.draw_gaps();
                    @if !gaps.is_empty() { path.gap d=(gaps) {} }
                    @for (index, class) in self.classes.iter().enumerate() {
                        @let drawn = draw(&self.bars, index, top);
                        @if !drawn.is_empty() { path class=(class) d=(drawn) {} }
                    }
                    @let line = self.draw_line(top);
                    @if !line.is_empty() { path.before d=(line) {} }
                    @for bar in self.bars.iter().filter(|bar| !bar.says.is_empty()) {
                        @let hit = (bar.width * self.told_together as f64).min(self.width - bar.left);
                        rect.hit x=(short(bar.left)) width=(short(hit)) height=(HEIGHT) data-at=(bar.at) { title { (bar.says) } }
                    }
                }
                div.x aria-hidden="true" { @for label in &self.x { span { (label) } } }
            }
            p.reading id={ (id) "-reading" } role="status" data-keep {}
        }
    }

    fn draw_gaps(&self) -> String {
        let mut path = String::new();
        for bar in self.bars.iter().filter(|bar| bar.parts.is_none()) {
            let (left, width) = (short(bar.left), short(bar.width));
            let _ = write!(path, "M{left} 0h{width}V{HEIGHT}h-{width}z");
        }
        path
    }

    fn draw_line(&self, top: f64) -> String {
        let mut path = String::new();
        let mut is_down = false;
        for (bar, value) in self.bars.iter().zip(&self.line) {
            match value {
                Some(value) => {
                    let (x, y) = (short(bar.left + bar.width / 2.0), short(HEIGHT - value / top * HEIGHT));
                    let _ = write!(path, "{}{x} {y}", if is_down { "L" } else { "M" });
                    is_down = true;
                }
                None => is_down = false,
            }
        }
        path
    }
}

/// One part of every bar, on top of those before it.
fn draw(bars: &[Drawn], index: usize, top: f64) -> String {
    let y = |value: f64| HEIGHT - value / top * HEIGHT;
    let mut path = String::new();
    for bar in bars {
        let Some(parts) = bar.parts.as_ref().filter(|parts| parts[index] > 0.0) else { continue };
        let below: f64 = parts[..index].iter().sum();
        let (low, high) = (y(below), y(below + parts[index]));
        let (left, drawn) = (short(bar.left), short(bar.width * DRAWN));
        let _ = write!(path, "M{left} {high:.1}h{drawn}V{low:.1}h-{drawn}z");
    }
    path
}

/// The ways to the other reaches.
fn render_reaches(frame: &Frame, chosen: Reach) -> Markup {
    html! {
        nav aria-label="How far back" {
            ul.kinds {
                @for reach in Reach::ALL {
                    @let query = [("reach", reach.name())];
                    @let query = if reach == Reach::default() { &query[..0] } else { &query[..] };
                    li { a href=(frame.path("/", query)) aria-current=[(reach == chosen).then_some("true")] { (reach.label()) } }
                }
            }
        }
    }
}

fn render_legend(ended: &Counts, has_gaps: bool) -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            @for (index, name) in OUTCOMES.iter().enumerate() {
                li { (outcome_badge(name)) " " b { (count(ended[index])) } }
            }
            @if has_gaps { li { span.badge.gap { "no process ran" } } }
        }
    }
}

/// Where the figures can be had as a file.
pub(super) fn render_csv(to: &str) -> Markup {
    html! { p { a href=(to) download { "Download as CSV" } } }
}

/// The last ten minutes as rates.
pub(super) fn render(frame: &Frame, snapshot: &Snapshot) -> Markup {
    let columns = make_columns(snapshot);
    let peak = columns.iter().map(|(_, rates)| rates.iter().sum()).fold(0.0, f64::max);
    let ended: Counts = sum(&snapshot.seconds);
    let total: u64 = ended.iter().sum();
    let mut text = format!("{} events ended in the last ten minutes", count(total));
    for (name, number) in OUTCOMES.iter().zip(ended).filter(|(_, number)| *number > 0) {
        let _ = write!(text, ", {} {}", count(number), words(name));
    }
    let _ = write!(text, ". The busiest five seconds had {} a second.", axis(peak));
    let first_ms = (snapshot.at_ms.div_euclid(1000) - (SECONDS as i64 - 1)) * 1000;
    let bars = columns.iter().enumerate().map(|(index, (left, rates))| Drawn {
        left: *left,
        width: COLUMN as f64,
        at: format_time(first_ms + *left as i64 * 1000),
        says: match index % TOLD_TOGETHER {
            0 => tell_columns(&columns[index..columns.len().min(index + TOLD_TOGETHER)]),
            _ => String::new(),
        },
        parts: Some(rates.to_vec()),
    });
    let x = ["10 min ago", "7½", "5 min ago", "2½", "now"];
    let chart = Chart {
        id: "plot-rates",
        title: "Events per second by outcome, last ten minutes",
        text,
        width: SECONDS as f64,
        bars: bars.collect(),
        told_together: TOLD_TOGETHER,
        classes: &OUTCOMES,
        line: Vec::new(),
        x: x.map(|label| html! { (label) }).to_vec(),
    };
    html! {
        (render_reaches(frame, Reach::Minutes))
        figure.plot {
            (chart.render())
            figcaption {
                (render_legend(&ended, false))
                details #plot-figures {
                    summary { "Figures as a table" }
                    table {
                        caption { "Events that ended, by minute" }
                        thead { tr { th scope="col" { "Minutes ago" } @for name in OUTCOMES { th scope="col" { (words(name)) } } } }
                        tbody {
                            @for (index, minute) in snapshot.seconds.chunks(60).rev().enumerate() {
                                tr {
                                    th scope="row" { (index) "–" (index + 1) }
                                    @for number in sum(minute) { td.number { (count(number)) } }
                                }
                            }
                        }
                    }
                    (render_csv(&frame.path("/history.csv", &[("reach", Reach::Minutes.name())])))
                }
            }
        }
    }
}

/// What ended in a few columns, and at which rate.
fn tell_columns(columns: &[(f64, [f64; OUTCOMES.len()])]) -> String {
    let ended: [f64; OUTCOMES.len()] =
        std::array::from_fn(|index| columns.iter().map(|(_, rates)| rates[index]).sum::<f64>() * COLUMN as f64);
    let seconds = (columns.len() * COLUMN) as f64;
    told(&format!("{} a second", axis(ended.iter().sum::<f64>() / seconds)), ended.into_iter())
}

/// `3 applied, 1 dead lettered`, behind what is said of all of them.
fn told(all: &str, counts: impl Iterator<Item = f64>) -> String {
    let parts = OUTCOMES.iter().zip(counts).filter(|(_, number)| *number > 0.0);
    let parts: Vec<String> =
        parts.map(|(name, number)| format!("{} {}", count(number.round() as i64), words(name))).collect();
    if parts.is_empty() { all.to_owned() } else { format!("{all}: {}", parts.join(", ")) }
}

/// A longer time, in bars.
pub(super) fn render_history(frame: &Frame, history: &History) -> Markup {
    let ended = history.sum();
    let (bar_ms, number) = history.reach.bars();
    let total: u64 = ended.iter().sum();
    let mut text = format!("{} events ended", count(total));
    for (name, number) in OUTCOMES.iter().zip(ended).filter(|(_, number)| *number > 0) {
        let _ = write!(text, ", {} {}", count(number), words(name));
    }
    let gaps = history.bars.iter().filter(|bar| bar.counts.is_none()).count();
    if gaps > 0 {
        let _ = write!(text, "; no process ran in {gaps} of {number} parts of this time");
    }
    text.push('.');
    let bars = history.bars.iter().enumerate().map(|(index, bar)| Drawn {
        left: index as f64 * 10.0,
        width: 10.0,
        at: format_time(bar.start_ms),
        says: match bar.counts {
            None => "no process ran".to_owned(),
            Some(counts) => {
                let all: u64 = counts.iter().sum();
                told(&format!("{} events", count(all)), counts.iter().map(|number| *number as f64))
            }
        },
        parts: bar.counts.map(|counts| counts.map(|number| number as f64).to_vec()),
    });
    let marks = if number > 60 { 5 } else { 4 };
    let x = (0..marks).map(|mark| {
        let at = &history.bars[mark * (number - 1) / (marks - 1)];
        instant(&format_time(at.start_ms), if bar_ms < 3_600_000 { "hour" } else { "day" })
    });
    let chart = Chart {
        id: "plot-history",
        title: &format!("Events by outcome, {}", history.reach.label()),
        text,
        width: number as f64 * 10.0,
        bars: bars.collect(),
        told_together: 1,
        classes: &OUTCOMES,
        line: Vec::new(),
        x: x.collect(),
    };
    html! {
        (render_reaches(frame, history.reach))
        figure.plot {
            (chart.render())
            figcaption {
                (render_legend(&ended, gaps > 0))
                @if !history.is_durable {
                    p.quiet { "This process has no folder of its own: its history is in memory, and begins anew with it." }
                }
                details id={ "history-" (history.reach.name()) } {
                    summary { "Figures as a table" }
                    table {
                        caption { "Events that ended, by " (span_of(bar_ms)) ", the latest first; those without any are together" }
                        thead { tr { th scope="col" { "From" } @for name in OUTCOMES { th scope="col" { (words(name)) } } } }
                        tbody {
                            @for run in runs(&history.bars).into_iter().rev() { (render_run(run)) }
                        }
                    }
                    (render_csv(&frame.path("/history.csv", &[("reach", history.reach.name())])))
                }
            }
        }
    }
}

/// Bars that are told in one line: one with events, or all behind each other that have none or are a gap.
fn runs(bars: &[Bar]) -> Vec<&[Bar]> {
    let events = |bar: &Bar| bar.counts.map(|counts| counts.iter().sum::<u64>());
    bars.chunk_by(|a, b| events(a) == events(b) && events(a).unwrap_or(0) == 0).collect()
}

fn render_run(run: &[Bar]) -> Markup {
    let from = instant(&format_time(run[0].start_ms), "moment");
    html! {
        tr {
            th scope="row" { (from) }
            @match run[0].counts {
                Some(counts) if counts.iter().any(|number| *number > 0) => @for number in counts { td.number { (count(number)) } },
                Some(_) => td.quiet colspan=(OUTCOMES.len()) { "no event" },
                None => td.quiet colspan=(OUTCOMES.len()) { "no process ran" },
            }
        }
    }
}

fn span_of(bar_ms: i64) -> &'static str {
    match bar_ms / 60_000 {
        15 => "quarter of an hour",
        360 => "six hours",
        1 => "minute",
        _ => "week",
    }
}

/// The day of an instant as the axis has it.
pub(super) fn day_label(day: &str) -> Markup {
    let at = day.parse::<lyceum_xapi::utc_time::Day>().map(|day| UtcTime::to_string(&day.start()));
    html! { time datetime=(day) title=[at.ok()] { (day.get(5..).unwrap_or(day)) } }
}

/// A number for a path, in few digits.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// Columns with their left edge and the rate of each outcome. They start at full multiples of their width, so that they
/// wander instead of flickering; the second that is under way belongs to none yet.
fn make_columns(snapshot: &Snapshot) -> Vec<(f64, [f64; OUTCOMES.len()])> {
    let first = snapshot.at_ms.div_euclid(1000) - (SECONDS as i64 - 1);
    let complete = &snapshot.seconds[..snapshot.seconds.len().saturating_sub(1)];
    let lead = (COLUMN as i64 - first.rem_euclid(COLUMN as i64)) as usize % COLUMN;
    let (head, rest) = complete.split_at(lead.min(complete.len()));
    let lefts = std::iter::once(lead as f64 - COLUMN as f64).chain((lead..).step_by(COLUMN).map(|left| left as f64));
    let columns = std::iter::once(head).chain(rest.chunks(COLUMN));
    let filled = lefts.zip(columns).filter(|(_, seconds)| !seconds.is_empty());
    filled.map(|(left, seconds)| (left, sum(seconds).map(|number| number as f64 / seconds.len() as f64))).collect()
}

fn sum(seconds: &[Counts]) -> Counts {
    seconds.iter().fold(Counts::default(), |sum, counts| std::array::from_fn(|index| sum[index] + counts[index]))
}

/// The next of 1, 2, 5, 10, 20 …
fn round_up(rate: f64) -> f64 {
    let mut step = 1.0;
    loop {
        if let Some(top) = [1.0, 2.0, 5.0].map(|factor| factor * step).into_iter().find(|top| *top >= rate) {
            return top;
        }
        step *= 10.0;
    }
}

fn axis(rate: f64) -> String {
    if rate.fract() < 0.05 { count(rate as i64) } else { format!("{rate:.1}") }
}

/// The three parts of a net promoter score, and the answers that they are of.
pub(super) const PARTS: [(&str, &str); 3] =
    [("detractors", "0 to 6"), ("passives", "7 or 8"), ("promoters", "9 or 10")];

/// How many answers each of [`PARTS`] has, and its share of all in percent.
pub(super) fn parts_of(promotion: &Value) -> [(u64, f64); 3] {
    let numbers = PARTS.map(|(name, _)| promotion[name].as_u64().unwrap_or(0));
    let answers: u64 = numbers.iter().sum();
    numbers.map(|number| (number, if answers == 0 { 0.0 } else { number as f64 / answers as f64 * 100.0 }))
}

/// The three parts as one bar.
pub(super) fn promotion_bar(promotion: &Value) -> Markup {
    let mut left = 0.0;
    let parts = PARTS.iter().zip(parts_of(promotion)).map(|((name, _), (_, share))| {
        left += share;
        (name, left - share, share)
    });
    html! {
        svg.promotion viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
            @for (name, left, share) in parts { rect class=(name) x=(format!("{left:.2}")) width=(format!("{share:.2}")) height="1" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::live::Totals;

    fn snapshot(at_s: i64) -> Snapshot {
        Snapshot {
            at_ms: at_s * 1000,
            since_ms: 0,
            is_counted: true,
            seconds: vec![Counts::default(); SECONDS],
            totals: Totals { outcomes: BTreeMap::new(), ..Totals::default() },
            events: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    #[test]
    fn every_complete_second_is_in_one_column_whatever_the_time() {
        for at_s in 1_000_000..1_000_010 {
            let mut snapshot = snapshot(at_s);
            snapshot.seconds = (0..SECONDS as u64).map(|second| [second, 0, 0, 0, 0, 0]).collect();
            let columns = make_columns(&snapshot);
            let wanted: f64 = (0..SECONDS as u64 - 1).sum::<u64>() as f64;
            let first = columns[0].0;
            let edges = columns.iter().map(|(left, _)| *left).chain([(SECONDS - 1) as f64]);
            let widths = edges.clone().zip(edges.skip(1)).map(|(left, right)| right - left.max(0.0));
            let found: f64 = columns.iter().zip(widths).map(|((_, rates), width)| rates[0] * width).sum();
            assert!((found - wanted).abs() < 1e-6, "{at_s}: {found} instead of {wanted}");
            assert!(first > -(COLUMN as f64) && (first as i64 + at_s - (SECONDS as i64 - 1)) % COLUMN as i64 == 0);
        }
    }

    #[test]
    fn outcomes_stand_on_each_other() {
        let parts = Some(vec![1.0, 2.0, 0.0, 0.0, 0.0, 1.0]);
        let columns = [Drawn { left: 10.0, width: 5.0, at: String::new(), says: String::new(), parts }];
        assert_eq!(draw(&columns, 0, 10.0), "M10 90.0h4.2V100.0h-4.2z");
        assert_eq!(draw(&columns, 1, 10.0), "M10 70.0h4.2V90.0h-4.2z");
        assert_eq!(draw(&columns, 2, 10.0), "");
        assert_eq!(draw(&columns, 5, 10.0), "M10 60.0h4.2V70.0h-4.2z");
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 0.3, 1.1, 3.0, 77.0, 100.0, 100.1].map(round_up), [1.0, 1.0, 2.0, 5.0, 100.0, 100.0, 200.0]);
    }

    #[test]
    fn columns_are_told_together_with_their_rate_and_what_ended_in_them() {
        let columns = [(0.0, [1.0, 0.0, 0.0, 0.0, 0.0, 0.2]), (5.0, [0.0; 6])];
        assert_eq!(tell_columns(&columns), "0.6 a second: 5 applied, 1 dead lettered");
        assert_eq!(tell_columns(&columns[1..]), "0 a second");
    }

    #[test]
    fn a_gap_is_drawn_as_one_and_told_apart_from_nothing() {
        let bar = |start_ms: i64, counts| Bar { start_ms, counts };
        let mut bars = vec![bar(0, None); 120];
        bars[118] = bar(118, Some([0; 6]));
        bars[119] = bar(119, Some([2, 0, 0, 0, 0, 1]));
        let history = History { reach: Reach::Month, bars, is_durable: true };
        let page = render_history(&Frame::default(), &history).into_string();
        for part in [
            "path class=\"gap\" d=\"M0 0h10V100h-10z",
            "no process ran in 118 of 120 parts",
            "3 events: 2 applied, 1 dead lettered",
            "<td class=\"quiet\" colspan=\"6\">no event</td>",
            "/history.csv?reach=month",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(
            page.matches("<td class=\"quiet\" colspan=\"6\">no process ran</td>").count(),
            1,
            "they are together"
        );
        assert!(!page.contains("in memory"));
    }

    #[test]
    fn a_line_of_the_time_before_stops_where_nothing_is_known() {
        let bar =
            |left: f64| Drawn { left, width: 10.0, at: String::new(), says: String::new(), parts: Some(vec![1.0]) };
        let chart = Chart {
            id: "c",
            title: "",
            text: String::new(),
            width: 40.0,
            bars: [0.0, 10.0, 20.0, 30.0].map(bar).into_iter().collect(),
            told_together: 1,
            classes: &["applied"],
            line: vec![Some(1.0), Some(2.0), None, Some(4.0)],
            x: Vec::new(),
        };
        assert_eq!(chart.draw_line(4.0), "M5 75L15 50M35 0");
        assert_eq!(chart.peak(), 4.0);
    }
}
