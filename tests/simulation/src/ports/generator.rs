//! A port that is asked, made unreliable: slow, failing, hanging, and with another answer to every call.

use async_trait::async_trait;
use lyceum_core::ports::call::{CallError, CallPort, Progress};
use uuid::Uuid;

use super::Line;
use crate::check::{Check, Violation};
use crate::executor::pause;
use crate::fault::Fault;
use crate::stage::{Call, Stage};

pub(super) struct FaultyGenerator<R, A> {
    pub(super) line: Line,
    pub(super) event_id: fn(&R) -> Uuid,
    pub(super) answer: fn(&R, usize) -> A,
}

/// A call that is under way; it ends with its worker.
struct UnderWay<'s> {
    stage: &'s Stage,
    call: usize,
}

impl<'s> UnderWay<'s> {
    /// Whoever asks holds a lease, and no other one that is still asking does.
    fn begin(stage: &'s Stage, event_id: Uuid) -> Self {
        let now_ms = stage.now_ms();
        let mut state = stage.state();
        let until_ms = state.leases.get(&event_id).copied().unwrap_or(now_ms);
        let other = state.calls.iter().find(|of| of.event_id == event_id && !of.ended && of.until_ms > now_ms);
        let asked_at_once = other.is_some();
        state.calls.push(Call { event_id, until_ms, ended: false });
        let call = state.calls.len() - 1;
        drop(state);
        if asked_at_once {
            let detail = format!("two workers ask about {event_id} at once, each under a lease that lasts");
            stage.notice(Violation { check: Check::AskedAtOnce, detail });
        }
        Self { stage, call }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.stage.state().calls[self.call].ended = true;
    }
}

#[async_trait]
impl<R: Send + Sync + 'static, A: Send + Sync + 'static> CallPort<R, A> for FaultyGenerator<R, A> {
    async fn call(&self, request: &R, progress: &dyn Progress) -> Result<A, CallError> {
        pause().await;
        let stage = &self.line.stage;
        if stage.strikes(Fault::CallFails) {
            self.line.tell("asks: fails");
            return Err(CallError("529: overloaded".into()));
        }
        let event_id = (self.event_id)(request);
        let under_way = UnderWay::begin(stage, event_id);
        for step in 0..stage.draw(|random| random.below(6)) {
            pause().await;
            progress.at(u8::try_from(step * 20).unwrap_or(100)).await;
        }
        if stage.strikes(Fault::Hangs) {
            match self.line.hang("asks").await {}
        }
        let answer = (self.answer)(request, under_way.call);
        self.line.tell(format_args!("asks about {event_id}: answer {}", under_way.call));
        pause().await;
        if stage.strikes(Fault::AnswerLost) {
            self.line.tell("asked: answer lost");
            return Err(CallError("the connection broke".into()));
        }
        Ok(answer)
    }
}
