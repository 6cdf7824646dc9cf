//! Security: alerts about approvals and diffs, the newest first.

use maud::{Markup, html};

use super::filters::Filters;
use super::{Frame, capital, count, layout, moment, words};
use crate::security::{Cause, SecurityAlert, SecurityAlerts, Severity};

/// Alerts that were asked for.
pub struct SecurityView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for, by the names of the parameters.
    pub asked: Vec<(&'static str, String)>,
    /// What was found.
    pub found: SecurityAlerts,
    /// Whether these are the newest.
    pub is_first: bool,
}

impl SecurityView {
    /// The whole document.
    pub fn render(&self) -> Markup {
        let SecurityAlerts { alerts, total, next } = &self.found;
        let has_tenants = self.frame.tenant.is_none();
        let content = html! {
            article.security {
                h1 { "Security" }
                p.quiet { "Alerts about approvals that could not be used and diffs that failed. About the same one a quarter of an hour is raised, and of a tenant \
                    at most ten; many invalid approvals at once are brute force." }
                (self.render_form())
                @if alerts.is_empty() {
                    p.empty { @if next.is_some() { "None of those that were looked at is like that; older ones may be." } @else { "No alert." } }
                } @else {
                    p { (alerts.len()) " of " (count(i128::from(*total))) ", newest first." }
                    div.scroll tabindex="0" role="region" aria-label="Alerts" {
                        table.causes {
                            caption.hidden { "Security alerts" }
                            thead {
                                tr {
                                    th scope="col" { "What" }
                                    th scope="col" { "Severity" }
                                    @if has_tenants { th scope="col" { "Tenant" } }
                                    th scope="col" { "Actor" }
                                    th scope="col" { "Time" }
                                    th scope="col" { "Look at" }
                                }
                            }
                            tbody { @for alert in alerts { (self.render_row(alert, has_tenants)) } }
                        }
                    }
                }
                nav.pages aria-label="Pages" {
                    @if !self.is_first { a href=(self.filters().path(&[])) { "Newest" } }
                    @if let Some(next) = next { a href=(self.filters().path(&[("cursor", next)])) { "Older" } }
                }
            }
        };
        layout(&self.frame, "Security", &html! {}, &content)
    }

    fn filters(&self) -> Filters<'_> {
        Filters { frame: &self.frame, path: "/security", asked: &self.asked }
    }

    fn render_form(&self) -> Markup {
        let filters = self.filters();
        let severities: Vec<_> = Severity::ALL.iter().map(|of| of.name()).collect();
        let causes: Vec<_> = Cause::ALL.iter().map(|of| of.name()).collect();
        filters.form(&[
            filters.choice("severity", "Severity", "every severity", &severities, words),
            filters.choice("cause", "Cause", "every cause", &causes, words),
            filters.text("actor", "Actor", ""),
            filters.text("from", "From", "2026-01-31"),
            filters.text("to", "To", "2026-01-31"),
        ])
    }

    fn render_row(&self, alert: &SecurityAlert, has_tenants: bool) -> Markup {
        let is_bad = matches!(alert.severity, Severity::High | Severity::Critical);
        let to_event = self.frame.path(
            &format!("/events/{}", alert.position),
            &[("tenant", alert.tenant.as_str())][..usize::from(has_tenants)],
        );
        html! {
            tr {
                th scope="row" {
                    (words(alert.cause.name()))
                    @if let Some(about) = &alert.about { " " code { (about) } }
                    div.quiet { (capital(&alert.to_string())) "." }
                    @if let Some(fingerprint) = &alert.token_fingerprint { div.quiet { "token " code.fingerprint title=(fingerprint) { (fingerprint.chars().take(15).collect::<String>()) "…" } } }
                }
                td data-name="severity" { @if is_bad { b.severe { (alert.severity.name()) } } @else { (alert.severity.name()) } }
                @if has_tenants { td data-name="tenant" { (alert.tenant) } }
                td data-name="actor" {
                    @match &alert.actor {
                        Some(actor) => a href=(self.frame.path("/security", &[("actor", actor.as_str())])) { (actor) },
                        None => span.quiet { "nobody named" },
                    }
                }
                td.moment { (moment(&alert.at)) }
                td {
                    a href=(to_event) aria-label={ "Event of the alert " (alert.position) } { "event" }
                    @if let Some(id) = &alert.correlation_id {
                        " · "
                        a href=(self.frame.path("/audit", &[("correlation", id.as_str()), ("tenant", alert.tenant.as_str())][..1 + usize::from(has_tenants)])) aria-label={ "Timeline of " (id) } { "timeline" }
                    }
                }
            }
        }
    }
}
