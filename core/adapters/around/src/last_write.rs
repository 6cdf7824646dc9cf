//! A store whose health knows of its writes. One that is asked on a full disk answers well, since to answer it writes nothing:
//! so the last write's failure is remembered until a write succeeds, and a ping is answered with it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::around::{Around, Call, PING, StoreError, Wrapped};
use lyceum_core::ports::Effect;

/// A store that is asked for its health as often as a process likes, and not written to meanwhile, would never be well again where
/// whoever sends it work goes by its health: so long after the last failure it is tried again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// These succeed also where there is nothing to be written.
const MAY_WRITE_NOTHING: [&str; 2] = ["apply_retention", "create_topic"];

/// An adapter whose pings know of its writes.
pub type KnowingItsWrites<S> = Wrapped<S, LastWrite>;

/// Remembers how the last write ended.
#[derive(Debug, Default)]
pub struct LastWrite(Mutex<Option<(Instant, String)>>);

impl<S> KnowingItsWrites<S> {
    /// Remembers the writes of the adapter that comes from there.
    pub fn of(source: S) -> Self {
        Self::around(source, LastWrite::default())
    }
}

impl LastWrite {
    fn note<A, E: StoreError>(&self, call: Call, answer: &Result<A, E>, outage: impl Fn(&A) -> Option<String>) {
        let why = match answer {
            Ok(answer) => match outage(answer) {
                Some(why) => format!("it took nothing: {why}"),
                None if MAY_WRITE_NOTHING.contains(&call.operation) => return,
                None => return *self.0.lock() = None,
            },
            Err(error) if error.is_outage() => reason_of(error),
            Err(_) => return,
        };
        *self.0.lock() = Some((Instant::now(), why));
    }

    /// Why the last write failed, where it did not long ago.
    fn failure(&self) -> Option<String> {
        let failed = self.0.lock();
        let (at, why) = failed.as_ref()?;
        (at.elapsed() < REMEMBERED).then(|| format!("it cannot be written to: {why}"))
    }
}

/// What an error says beside that the store is unavailable, which a ping's own says.
fn reason_of<E: StoreError>(error: &E) -> String {
    let (told, beginning) = (error.to_string(), E::not_made(String::new()).to_string());
    told.strip_prefix(beginning.trim_end()).map_or(told.as_str(), str::trim_start).to_owned()
}

impl Around for LastWrite {
    async fn call<A: Send, E: StoreError>(
        &self,
        call: Call,
        work: impl Future<Output = Result<A, E>> + Send,
        outage: impl Fn(&A) -> Option<String> + Send,
    ) -> Result<A, E> {
        let answer = work.await;
        match call.effect {
            Effect::Write => self.note(call, &answer, outage),
            Effect::Read if call.operation == PING && answer.is_ok() => {
                if let Some(why) = self.failure() {
                    return Err(E::not_made(why));
                }
            }
            Effect::Read => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lyceum_core::ports::ledger::LedgerError;

    type Answer = Result<(), LedgerError>;

    async fn call(store: &LastWrite, call: Call, answer: Answer) -> Answer {
        store.call(call, async { answer }, |()| None).await
    }

    fn full() -> Answer {
        Err(LedgerError::Unavailable("the disk is full".to_owned()))
    }

    async fn ping(store: &LastWrite) -> Answer {
        call(store, Call::read("ledger", PING), Ok(())).await
    }

    const COMMIT: Call = Call::write("ledger", "commit");

    #[tokio::test(start_paused = true)]
    async fn a_store_whose_last_write_failed_is_not_well_until_one_succeeds() {
        let store = LastWrite::default();
        assert_eq!(ping(&store).await, Ok(()));
        assert_eq!(call(&store, COMMIT, full()).await, full(), "who writes is answered as ever");
        let told = ping(&store).await.unwrap_err();
        assert_eq!(told, LedgerError::Unavailable("it cannot be written to: the disk is full".to_owned()));
        assert_eq!(call(&store, Call::read("ledger", "load"), Ok(())).await, Ok(()), "what it holds is read");
        let refused = Err(LedgerError::Conflict);
        assert_eq!(call(&store, COMMIT, refused.clone()).await, refused);
        assert!(ping(&store).await.is_err(), "a refusal says nothing of the disk");
        assert_eq!(call(&store, Call::write("event_log", "apply_retention"), Ok(())).await, Ok(()));
        assert!(ping(&store).await.is_err(), "nothing had to be written");
        assert_eq!(call(&store, COMMIT, Ok(())).await, Ok(()));
        assert_eq!(ping(&store).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_no_more_because_it_is_not_well_tries_it_again() {
        let store = LastWrite::default();
        call(&store, COMMIT, full()).await.unwrap_err();
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(ping(&store).await, Ok(()));
        call(&store, COMMIT, full()).await.unwrap_err();
        assert!(ping(&store).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_takes_no_document_of_many_is_not_well() {
        let store = LastWrite::default();
        let all: Answer =
            store.call(Call::write("statements", "store"), async { Ok(()) }, |()| Some("full".to_owned())).await;
        let why = "it cannot be written to: it took nothing: full".to_owned();
        assert_eq!((all, ping(&store).await), (Ok(()), Err(LedgerError::Unavailable(why))));
    }
}
