//! A family's decisions, one event after another, without anything around them.

use lyceum_core::family::{Decision, Occurrence};
use lyceum_core::outcome::Refusal;
use lyceum_core::record::Position;
use lyceum_core::states::States;
use smol_str::SmolStr;
use uuid::Uuid;

/// The state of the one aggregate that these events are about, after the last of them. `about` tells its kind and id. An event's id, its
/// offset and the milliseconds of its time are its place.
///
/// # Errors
/// The rule by which the first one that is rejected was.
///
/// # Panics
/// Where there is no event, one decides wrongly, or about another aggregate.
pub fn decide_each<E, S>(
    events: impl IntoIterator<Item = E>,
    about: impl Fn(&E) -> (&'static str, SmolStr),
    decide: impl Fn(&States<'_, S>, &E, &Occurrence) -> Result<Decision<S>, Refusal>,
) -> Result<S, &'static str> {
    let mut state: Option<S> = None;
    for (place, event) in (0..).zip(events) {
        let at = Occurrence {
            event_id: Uuid::from_u128(place),
            event_type: "any",
            tenant: "acme".into(),
            correlation_id: "c".into(),
            home: None,
            source: Position::new("t", 0, place as i64),
            occurred_at_ms: place as i64,
            now_ms: 0,
        };
        let (kind, id) = about(&event);
        state = match decide(&States::new([(kind, &*id, state.as_ref())]), &event, &at) {
            Ok(decision) => {
                let changed = decision.changes.of_each([(kind, &*id)]).expect("the aggregate is put or kept");
                changed.into_iter().next().flatten().or(state)
            }
            Err(Refusal::Rejected { rule, .. }) => return Err(rule),
            Err(other) => panic!("{other:?}"),
        };
    }
    Ok(state.expect("at least one event"))
}
