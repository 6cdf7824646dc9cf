//! Numbers that a reader judges by: each with its change against the time before, and a way to where it comes from.

use maud::{Markup, html};

use super::count;

/// One number.
pub(super) struct Kpi {
    pub(super) label: String,
    pub(super) value: String,
    /// Against the time before; none where there is nothing to hold it against.
    pub(super) change: Option<String>,
    /// Where it comes from.
    pub(super) to: Option<String>,
    /// Whether something is to be done about it: only then it is red.
    pub(super) is_wrong: bool,
}

impl Kpi {
    pub(super) fn new(label: &str, value: impl Into<String>) -> Self {
        Self { label: label.to_owned(), value: value.into(), change: None, to: None, is_wrong: false }
    }

    pub(super) fn changed(self, change: Option<String>) -> Self {
        Self { change, ..self }
    }

    pub(super) fn leading(self, to: String) -> Self {
        Self { to: Some(to), ..self }
    }

    pub(super) fn wrong(self, is_wrong: bool) -> Self {
        Self { is_wrong, ..self }
    }
}

/// Numbers beside each other.
pub(super) fn render(kpis: &[Kpi]) -> Markup {
    html! {
        dl.numbers {
            @for kpi in kpis {
                div.wrong[kpi.is_wrong] {
                    dt { @if let Some(to) = &kpi.to { a href=(to) { (kpi.label) } } @else { (kpi.label) } }
                    dd {
                        span.value { (kpi.value) }
                        @if let Some(change) = &kpi.change { " " span.change { (change) } }
                    }
                }
            }
        }
    }
}

/// How much more or less it is than before: `+12 %`; of nothing there is no share.
pub(super) fn change(now: u64, before: u64) -> Option<String> {
    if before == 0 {
        return None;
    }
    let percent = ((now as f64 - before as f64) / before as f64 * 100.0).round();
    Some(match percent {
        0.0 => "±0 %".to_owned(),
        _ => format!("{}{} %", sign(percent), count(percent.abs() as i64)),
    })
}

/// How many points more or less: of a score, or of a rate in hundredths.
pub(super) fn points(now: Option<f64>, before: Option<f64>) -> Option<String> {
    let points = (now? - before?).round();
    Some(if points == 0.0 { "±0".to_owned() } else { format!("{}{}", sign(points), points.abs()) })
}

fn sign(number: f64) -> &'static str {
    if number < 0.0 { "−" } else { "+" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_its_sign_and_none_of_nothing() {
        assert_eq!(change(112, 100).as_deref(), Some("+12 %"));
        assert_eq!(change(88, 100).as_deref(), Some("−12 %"));
        assert_eq!(change(100, 100).as_deref(), Some("±0 %"));
        assert_eq!(change(5_000, 1).as_deref(), Some("+499,900 %"));
        assert_eq!((change(3, 0), change(0, 0)), (None, None));
        assert_eq!(points(Some(41.6), Some(44.0)).as_deref(), Some("−2"));
        assert_eq!((points(Some(1.0), Some(1.2)).as_deref(), points(None, Some(1.0))), (Some("±0"), None));
    }

    #[test]
    fn only_what_is_wrong_is_red() {
        let page = render(&[Kpi::new("a", "1"), Kpi::new("b", "2").wrong(true).leading("/x".to_owned())]).into_string();
        assert_eq!(page.matches("class=\"wrong\"").count(), 1);
        assert!(page.contains("<dt><a href=\"/x\">b</a></dt>"), "{page}");
    }
}
