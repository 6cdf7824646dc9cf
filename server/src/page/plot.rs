//! The plot of events per second by outcome: stacked columns of five seconds over the last ten minutes.

use maud::{Markup, html};

use super::{count, words};
use crate::live::{Counts, OUTCOMES, SECONDS, Snapshot};

/// The seconds of one column.
const COLUMN: usize = 5;
/// How much of a column is drawn; the rest is the gap to the next.
const DRAWN: f64 = 4.2;
/// The drawing's height; its width is [`SECONDS`], and the style stretches both.
const HEIGHT: f64 = 100.0;

/// The plot, its legend, and its figures as a table.
pub(super) fn render(snapshot: &Snapshot) -> Markup {
    let columns = make_columns(snapshot);
    let peak = columns.iter().map(|(_, rates)| rates.iter().sum()).fold(0.0, f64::max);
    let top = round_up(peak);
    let ended: Counts = sum(&snapshot.seconds);
    let total: u64 = ended.iter().sum();
    let shown: Vec<_> = OUTCOMES.iter().enumerate().filter(|(index, _)| ended[*index] > 0).collect();
    html! {
        figure.plot {
            div.frame {
                div.y aria-hidden="true" { span { (axis(top)) } span { (axis(top / 2.0)) } span { "0" } }
                svg viewBox={ "0 0 " (SECONDS) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby="plot-title plot-text" {
                    title #plot-title { "Events per second by outcome, last ten minutes" }
                    desc #plot-text {
                        (count(total)) " events ended in the last ten minutes"
                        @for (index, name) in &shown { ", " (count(ended[*index])) " " (words(name)) }
                        ". The busiest five seconds had " (axis(peak)) " a second."
                    }
                    path.grid d={ "M0 .5H" (SECONDS) "M0 " (HEIGHT / 2.0) "H" (SECONDS) "M0 99.500H" (SECONDS) } {}
                    @for (index, name) in &shown {
                        path class=(name) d=(draw(&columns, *index, top)) {}
                    }
                }
                div.x aria-hidden="true" {
                    span { "10 min ago" } span { "7½" } span { "5 min ago" } span { "2½" } span { "now" }
                }
            }
            figcaption {
                ul.legend aria-label="Legend" {
                    @for (index, name) in OUTCOMES.iter().enumerate() {
                        li { (super::outcome_badge(name)) " " b { (count(ended[index])) } }
                    }
                }
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
                }
            }
        }
    }
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

/// One outcome's share of every column, on top of those before it.
fn draw(columns: &[(f64, [f64; OUTCOMES.len()])], index: usize, top: f64) -> String {
    let y = |rate: f64| HEIGHT - rate / top * HEIGHT;
    let mut path = String::new();
    for (left, rates) in columns.iter().filter(|(_, rates)| rates[index] > 0.0) {
        let below: f64 = rates[..index].iter().sum();
        let (low, high) = (y(below), y(below + rates[index]));
        path.push_str(&format!("M{left} {high:.1}h{DRAWN}V{low:.1}h-{DRAWN}z"));
    }
    path
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
        let columns = [(10.0, [1.0, 2.0, 0.0, 0.0, 0.0, 1.0])];
        assert_eq!(draw(&columns, 0, 10.0), "M10 90.0h4.2V100.0h-4.2z");
        assert_eq!(draw(&columns, 1, 10.0), "M10 70.0h4.2V90.0h-4.2z");
        assert_eq!(draw(&columns, 2, 10.0), "");
        assert_eq!(draw(&columns, 5, 10.0), "M10 60.0h4.2V70.0h-4.2z");
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 0.3, 1.1, 3.0, 77.0, 100.0, 100.1].map(round_up), [1.0, 1.0, 2.0, 5.0, 100.0, 100.0, 200.0]);
    }
}
