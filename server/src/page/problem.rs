//! What went wrong, for a person with a browser: what a program gets as `application/problem+json`.

use maud::{Markup, html};

use super::{Frame, layout};
use crate::problem::Problem;

/// The whole document. It is also for who may see nothing here, so that it tells of no data.
pub fn render(problem: &Problem) -> Markup {
    let frame = Frame::default();
    let content = html! {
        article {
            h1 { (problem.kind.title) }
            p { (problem.detail) }
            p.quiet { "Status " (problem.kind.status.as_u16()) }
        }
    };
    layout(&frame, problem.kind.title, &html! {}, &content)
}
