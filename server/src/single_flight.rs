//! Questions over statements are expensive: the same one is answered once for all who ask it at the same time, and only so
//! many different ones are worked on at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use lyceum_core::analytics::nps::Scale;
use serde_json::Value;

use crate::questions::{Analytics, AskError, Span};
use crate::shares::{NoneLeft, Shares};

/// How many different questions are worked on at once, and of one tenant.
const AT_ONCE: [usize; 2] = [4, 2];
/// How many more may wait for their turn, and of one tenant.
const WAITING: [usize; 2] = [256, 64];

/// A question in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Platform(Span),
    Learning(Span),
    /// With the bits of the ends of the scale that was asked for.
    Survey(String, Span, Option<[u64; 2]>),
    Learner(String, Span),
}

impl Question {
    fn tenant(&self) -> Option<&str> {
        let (Self::Platform(span) | Self::Learning(span) | Self::Survey(_, span, _) | Self::Learner(_, span)) = self;
        span.tenant.as_deref()
    }

    async fn ask(&self, analytics: &dyn Analytics) -> Result<Option<Value>, AskError> {
        match self {
            Self::Platform(span) => analytics.platform(span).await.map(Some),
            Self::Learning(span) => analytics.learning(span).await.map(Some),
            Self::Survey(survey, span, ends) => {
                let scale = ends.map(|ends| ends.map(f64::from_bits)).map(|[min, max]| Scale { min, max });
                analytics.survey(survey, span, scale).await
            }
            Self::Learner(learner, span) => analytics.learner(learner, span).await,
        }
    }
}

/// What many ask at the same time and is worked on once. It ends where nobody waits for it any more.
pub(crate) struct Flights<Q, A>(Arc<Mutex<HashMap<Q, WeakShared<Flight<A>>>>>);

type Flight<A> = BoxFuture<'static, A>;

/// An answer on its way.
pub(crate) struct Joined<A> {
    /// Comes with it.
    pub(crate) answering: Shared<Flight<A>>,
    /// Whether nobody had asked before.
    pub(crate) is_first: bool,
}

impl<Q, A> Default for Flights<Q, A> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Q: Clone + Eq + Hash + Send + 'static, A: Clone + Send + Sync + 'static> Flights<Q, A> {
    /// The answer that is on its way already, or the one that is begun now.
    pub(crate) fn join<E>(&self, question: Q, begin: impl FnOnce() -> Result<Flight<A>, E>) -> Result<Joined<A>, E> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answering) = asked.get(&question).and_then(WeakShared::upgrade) {
            return Ok(Joined { answering, is_first: false });
        }
        let (flight, all, key) = (begin()?, self.0.clone(), question.clone());
        let answering = async move {
            let answer = flight.await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            answer
        };
        let answering = answering.boxed().shared();
        // What nobody waits for any more was dropped before it could say so.
        asked.retain(|_, answering| answering.upgrade().is_some());
        asked.extend(answering.downgrade().map(|answering| (question, answering)));
        Ok(Joined { answering, is_first: true })
    }
}

type Answer = Result<Option<Value>, AskError>;

/// Asks another for each question once.
pub(crate) struct SingleFlight {
    inner: Arc<dyn Analytics>,
    flights: Flights<Question, Answer>,
    turns: Arc<Shares>,
    places: Arc<Shares>,
}

impl SingleFlight {
    /// Nothing is asked yet.
    pub(crate) fn new(inner: Arc<dyn Analytics>) -> Self {
        Self::within(inner, AT_ONCE, WAITING)
    }

    fn within(inner: Arc<dyn Analytics>, at_once: [usize; 2], waiting: [usize; 2]) -> Self {
        Self {
            inner,
            flights: Flights::default(),
            turns: Arc::new(Shares::new(at_once[0], at_once[1])),
            places: Arc::new(Shares::new(at_once[0] + waiting[0], at_once[1] + waiting[1])),
        }
    }

    async fn ask(&self, question: Question) -> Answer {
        let joined = self.flights.join(question.clone(), || self.begin(question));
        joined?.answering.await
    }

    fn begin(&self, question: Question) -> Result<Flight<Answer>, AskError> {
        let place = self.places.try_acquire(question.tenant(), 1);
        let place = place.map_err(|none_left| match none_left {
            NoneLeft::OfTenant => {
                AskError::TooMany("you ask too many questions at once: wait for an answer".to_owned())
            }
            NoneLeft::OfAll => AskError::Busy("too many questions are asked at once: ask again".to_owned()),
        })?;
        let (inner, turns) = (self.inner.clone(), self.turns.clone());
        let answering = async move {
            let _place = place;
            let _turn = turns.acquire(question.tenant()).await;
            question.ask(&*inner).await
        };
        Ok(answering.boxed())
    }
}

#[async_trait]
impl Analytics for SingleFlight {
    async fn platform(&self, span: &Span) -> Result<Value, AskError> {
        let answer = self.ask(Question::Platform(span.clone())).await?;
        answer.ok_or_else(|| AskError::Failed("there is no answer".to_owned()))
    }

    async fn learning(&self, span: &Span) -> Result<Value, AskError> {
        let answer = self.ask(Question::Learning(span.clone())).await?;
        answer.ok_or_else(|| AskError::Failed("there is no answer".to_owned()))
    }

    async fn survey(&self, survey: &str, span: &Span, scale: Option<Scale>) -> Result<Option<Value>, AskError> {
        let ends = scale.map(|Scale { min, max }| [min, max].map(f64::to_bits));
        self.ask(Question::Survey(survey.to_owned(), span.clone(), ends)).await
    }

    async fn learner(&self, learner: &str, span: &Span) -> Result<Option<Value>, AskError> {
        self.ask(Question::Learner(learner.to_owned(), span.clone())).await
    }

    /// Read from the index alone: it costs little.
    async fn tenants(&self) -> Result<Vec<String>, AskError> {
        self.inner.tenants().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{join_all, pending};
    use serde_json::json;

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers once it is allowed to; counts how often it was asked.
    struct Slow {
        asked: AtomicUsize,
        allowed: Semaphore,
    }

    impl Slow {
        fn new() -> Arc<Self> {
            Arc::new(Self { asked: AtomicUsize::new(0), allowed: Semaphore::new(0) })
        }
    }

    #[async_trait]
    impl Analytics for Slow {
        async fn platform(&self, span: &Span) -> Result<Value, AskError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            drop(self.allowed.acquire().await);
            Ok(json!(span.tenant))
        }

        async fn learning(&self, _: &Span) -> Result<Value, AskError> {
            Ok(json!(null))
        }

        async fn survey(&self, _: &str, _: &Span, _: Option<Scale>) -> Result<Option<Value>, AskError> {
            pending().await
        }

        async fn learner(&self, _: &str, _: &Span) -> Result<Option<Value>, AskError> {
            Ok(None)
        }

        async fn tenants(&self) -> Result<Vec<String>, AskError> {
            Ok(Vec::new())
        }
    }

    fn span(tenant: &str) -> Span {
        Span { tenant: Some(tenant.to_owned()), ..Span::default() }
    }

    #[tokio::test]
    async fn the_same_question_of_many_is_answered_once_and_another_tenants_is_another() {
        let slow = Slow::new();
        let analytics = SingleFlight::new(slow.clone());
        let spans: Vec<Span> = (0..100).map(|at| span(if at % 2 == 0 { "acme" } else { "globex" })).collect();
        let allow = async { slow.allowed.add_permits(1) };
        let (answers, ()) = tokio::join!(join_all(spans.iter().map(|span| analytics.platform(span))), allow);
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
        for (span, answer) in spans.iter().zip(answers) {
            assert_eq!(answer, Ok(json!(span.tenant)));
        }
        assert_eq!(analytics.platform(&span("acme")).await, Ok(json!("acme")), "a later one is asked anew");
        assert_eq!(slow.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn who_asks_what_is_being_asked_is_told_that_somebody_does_and_gets_the_same_answer() {
        let flights: Flights<&str, u32> = Flights::default();
        let join = |answer: u32| flights.join("how many", || Ok::<_, ()>(async move { answer }.boxed())).unwrap();
        let (first, second) = (join(1), join(2));
        assert_eq!((first.is_first, second.is_first), (true, false));
        assert_eq!((second.answering.await, first.answering.await), (1, 1));
        assert!(join(3).is_first, "what nobody waited for is asked anew");
        assert_eq!(join(4).answering.await, 4);
        assert!(flights.join("how many", || Err(())).is_err_and(|()| true), "where it cannot begin, it is told why");
    }

    #[tokio::test]
    async fn more_questions_than_there_are_places_for_are_refused_and_who_goes_away_makes_room() {
        let analytics = SingleFlight::within(Slow::new(), [1, 1], [1, 1]);
        let ask = async |survey: &str| analytics.survey(survey, &Span::default(), None).await;
        let mut first = Box::pin(ask("a"));
        let mut second = Box::pin(ask("b"));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        assert!(matches!(ask("c").await, Err(AskError::Busy(_))));
        assert!(matches!(analytics.platform(&span("acme")).await, Err(AskError::Busy(_))));
        assert!(futures::poll!(&mut Box::pin(ask("a"))).is_pending(), "the same one takes no place");
        drop(first);
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(futures::poll!(&mut Box::pin(analytics.learner("l", &Span::default()))), std::task::Poll::Pending);
        drop(second);
        assert_eq!(analytics.learner("l", &Span::default()).await, Ok(None));
    }
}
