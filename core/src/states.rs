//! The states that a decision is made on, and what it changes: each by kind and id, none by position, so that no two can be
//! swapped.

use smol_str::SmolStr;

use crate::outcome::Refusal;

/// One kind of aggregate: the type that is kept of it, within the type of all states of its family.
pub trait Aggregate: Sized {
    /// The state of any of the family's aggregates: [`StatefulFamily::State`](crate::family::StatefulFamily::State). A family with one kind
    /// names the type itself.
    type State;

    /// One of the family's [`FamilySpec::kinds`](crate::catalog::FamilySpec::kinds).
    const KIND: &'static str;

    /// What is kept of this kind; `None` where the state is of another one.
    fn of(state: &Self::State) -> Option<&Self>;

    /// As one of the family's states.
    fn into_state(self) -> Self::State;
}

/// The states of the aggregates that an event names.
#[derive(Debug)]
pub struct States<'a, S> {
    named: Vec<(&'a str, &'a str, Option<&'a S>)>,
}

impl<'a, S> States<'a, S> {
    /// Of these kinds and ids; `None` where nothing was kept yet.
    pub fn new(named: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a S>)>) -> Self {
        Self { named: named.into_iter().collect() }
    }

    /// The state of an aggregate; `None` where nothing was kept yet. To ask for one that the event does not name is a
    /// mistake of the family, and fails the record.
    pub fn get<T: Aggregate<State = S>>(&self, id: &str) -> Result<Option<&'a T>, Refusal> {
        let kind = T::KIND;
        let found = self.named.iter().find(|(of_kind, of_id, _)| *of_kind == kind && *of_id == id);
        match found {
            None => faulty(format!("it asked for the {kind} {id}, which the event does not name")),
            Some((_, _, None)) => Ok(None),
            Some((_, _, Some(state))) => match T::of(state) {
                Some(state) => Ok(Some(state)),
                None => faulty(format!("what is kept of the {kind} {id} is of another kind")),
            },
        }
    }

    /// Kinds, ids and states, in the order in which the event names them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str, Option<&'a S>)> {
        self.named.iter().copied()
    }
}

/// What becomes of the aggregates that an event names: each of them is put or kept, so that none is forgotten.
#[derive(Debug)]
pub struct Changes<S> {
    made: Vec<Change<S>>,
}

/// What becomes of one aggregate.
#[derive(Debug)]
pub struct Change<S> {
    /// Its kind.
    pub kind: &'static str,
    /// Its id.
    pub id: SmolStr,
    /// Its new state; `None` where it stays as it is.
    pub state: Option<S>,
}

impl<S> Default for Changes<S> {
    fn default() -> Self {
        Self { made: Vec::new() }
    }
}

impl<S> FromIterator<Change<S>> for Changes<S> {
    fn from_iter<I: IntoIterator<Item = Change<S>>>(made: I) -> Self {
        Self { made: made.into_iter().collect() }
    }
}

impl<S> IntoIterator for Changes<S> {
    type Item = Change<S>;
    type IntoIter = std::vec::IntoIter<Change<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.made.into_iter()
    }
}

impl<S> Changes<S> {
    /// Nothing is said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This is kept of the aggregate from now on.
    #[must_use]
    pub fn put<T: Aggregate<State = S>>(mut self, id: impl Into<SmolStr>, state: T) -> Self {
        self.made.push(Change { kind: T::KIND, id: id.into(), state: Some(state.into_state()) });
        self
    }

    /// The aggregate stays as it is.
    #[must_use]
    pub fn keep<T: Aggregate<State = S>>(mut self, id: impl Into<SmolStr>) -> Self {
        self.made.push(Change { kind: T::KIND, id: id.into(), state: None });
        self
    }

    /// One for each of the kinds and ids that the event names, in that order. One that is missing, twice, or not named by
    /// the event is a mistake of the family, and fails the record.
    pub fn of_each<'n>(
        mut self,
        named: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Result<Vec<Option<S>>, Refusal> {
        let mut states = Vec::with_capacity(self.made.len());
        for (kind, id) in named {
            let Some(at) = self.made.iter().position(|change| change.kind == kind && change.id == id) else {
                return faulty(format!("it neither put nor kept the {kind} {id}, which the event names"));
            };
            states.push(self.made.swap_remove(at).state);
        }
        match self.made.first() {
            None => Ok(states),
            Some(Change { kind, id, .. }) => {
                faulty(format!("it put or kept the {kind} {id}, which the event does not name, or twice"))
            }
        }
    }
}

fn faulty<T>(what: String) -> Result<T, Refusal> {
    Err(Refusal::Faulty { message: format!("the family decides wrongly: {what}; report it with the record's bytes") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum State {
        Seat(Seat),
        Room(Room),
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Seat(u8);

    #[derive(Clone, Debug, PartialEq)]
    struct Room(u8);

    impl Aggregate for Seat {
        type State = State;
        const KIND: &'static str = "seat";

        fn of(state: &State) -> Option<&Self> {
            if let State::Seat(seat) = state { Some(seat) } else { None }
        }

        fn into_state(self) -> State {
            State::Seat(self)
        }
    }

    impl Aggregate for Room {
        type State = State;
        const KIND: &'static str = "room";

        fn of(state: &State) -> Option<&Self> {
            if let State::Room(room) = state { Some(room) } else { None }
        }

        fn into_state(self) -> State {
            State::Room(self)
        }
    }

    const NAMED: [(&str, &str); 2] = [("seat", "a"), ("room", "a")];

    fn is_faulty<T>(result: Result<T, Refusal>) -> bool {
        matches!(result, Err(Refusal::Faulty { .. }))
    }

    #[test]
    fn states_are_found_by_kind_and_id_and_a_wrong_question_is_a_failure_of_the_record() {
        let (seat, room) = (State::Seat(Seat(1)), State::Room(Room(2)));
        let states = States::new([("room", "a", Some(&room)), ("seat", "a", Some(&seat)), ("seat", "b", None)]);
        assert_eq!(states.get::<Seat>("a"), Ok(Some(&Seat(1))));
        assert_eq!(states.get::<Room>("a"), Ok(Some(&Room(2))));
        assert_eq!(states.get::<Seat>("b"), Ok(None));
        assert!(is_faulty(states.get::<Seat>("c")));
        let mixed_up = States::new([("seat", "a", Some(&room))]);
        assert!(is_faulty(mixed_up.get::<Seat>("a")));
    }

    #[test]
    fn changes_come_in_the_order_of_the_events_names_whatever_their_own() {
        let changes = Changes::new().keep::<Room>("a").put("a", Seat(1));
        assert_eq!(changes.of_each(NAMED), Ok(vec![Some(State::Seat(Seat(1))), None]));
    }

    #[test]
    fn an_aggregate_that_is_forgotten_twice_there_or_not_named_is_a_failure_of_the_record() {
        let whole = || Changes::new().put("a", Seat(1)).put("a", Room(1));
        assert!(whole().of_each(NAMED).is_ok());
        assert!(is_faulty(Changes::new().put("a", Seat(1)).of_each(NAMED)));
        assert!(is_faulty(whole().put("a", Room(2)).of_each(NAMED)));
        assert!(is_faulty(whole().keep::<Room>("b").of_each(NAMED)));
    }
}
