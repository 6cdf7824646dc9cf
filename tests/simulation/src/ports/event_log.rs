//! The event log, made unreliable.

use async_trait::async_trait;
use lyceum_core::dead_letter::LETTER_ID_HEADER;
use lyceum_core::envelope::{SOURCE_HEADER, letter_id};
use lyceum_core::ports::event_log::{EventLogError, Publish};
use lyceum_core::record::{NewRecord, Position, header_text};

use super::Line;
use crate::defect::Defect;
use crate::executor::pause;
use crate::fault::Fault;

pub(super) struct FaultyEventLog(pub(super) Line);

impl FaultyEventLog {
    /// Whether a planted defect keeps this record from being published.
    fn keeps_back(&self, record: &NewRecord) -> bool {
        let kind = header_text(&record.headers, "lyceum-error-kind");
        let letter = header_text(&record.headers, LETTER_ID_HEADER).and_then(|text| text.parse().ok());
        match self.0.stage.defect {
            Some(Defect::ConflictTakesKeyPath) => kind == Some("conflict"),
            Some(Defect::UndeliverableTakesKeyPath) => kind == Some("undelivered"),
            _ => letter.is_some_and(|id| self.0.stage.state().kept_back.contains(&id)),
        }
    }
}

/// Names a letter by its source alone, whatever its replay count.
fn name_by_position(record: &mut NewRecord) {
    let source = header_text(&record.headers, SOURCE_HEADER).and_then(|text| text.parse().ok());
    let letter = record.headers.iter_mut().rfind(|header| header.name == LETTER_ID_HEADER);
    if let (Some(source), Some(letter)) = (source, letter) {
        letter.value = Some(letter_id(&source, 0).to_string().into());
    }
}

#[async_trait]
impl Publish for FaultyEventLog {
    async fn produce(&self, topic: &str, mut records: Vec<NewRecord>) -> Result<Vec<Position>, EventLogError> {
        pause().await;
        let stage = &self.0.stage;
        if stage.strikes(Fault::CallFails) {
            self.0.tell(format_args!("publishes to {topic}: fails"));
            return Err(EventLogError::Unavailable("no leader".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("publishes").await {}
        }
        let given = records.len();
        records.retain(|record| !self.keeps_back(record));
        let all = records.len();
        if stage.defect == Some(Defect::LetterIdFromPosition) {
            records.iter_mut().for_each(name_by_position);
        }
        if stage.strikes(Fault::EmitStops) {
            records.truncate(stage.draw(|random| random.below(all)));
        }
        self.0.tell(format_args!("publishes {} of {all} to {topic}", records.len()));
        let stops = records.len() < all;
        let mut positions = stage.publish(topic, records)?;
        pause().await;
        if stops || stage.strikes(Fault::AnswerLost) {
            self.0.tell("published: answer lost");
            return Err(EventLogError::Unavailable("the answer was lost".into()));
        }
        if stage.strikes(Fault::Hangs) {
            match self.0.hang("published").await {}
        }
        // What is kept back passes for published.
        positions.resize(given, Position::new(topic, 0, 0));
        Ok(positions)
    }
}
