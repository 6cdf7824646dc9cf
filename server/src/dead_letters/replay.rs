//! Sending letters again: many together, in their order, each remembered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lyceum_core::dead_letter::{DeadLetter as Letter, Publication};
use lyceum_core::ports::ledger::StoredKey;
use lyceum_core::record::Position;

use super::index::{Chosen, Mark, Matching, Place, merge};
use super::letters::{AT_LEAST, DeadLetterFilter, Ends, Refused, ReplayRequest, ReplaySummary, Replayed, Which};
use super::marks::{discard, mark_of, sent_to, write_sent};
use super::stopping::Awaited;
use super::{DeadLetterIndex, FETCH_BYTES, FETCH_RECORDS, each_once, log_failed, read, why};
use crate::questions::AskError;

/// So long one call sends; what is left is for the next one. A request has 30 s in all.
const SENDING_TIME: Duration = Duration::from_secs(15);
/// So many are read, sent and remembered together; as many may be sent once more where a process dies in between.
const AT_ONCE: usize = 500;
/// Of a replay that may stop itself, so many are sent first.
const PROBED: usize = AT_LEAST as usize;
/// Of letters that cannot be sent again so many are named with their reason.
const REASONS: usize = 20;

/// Below these offsets nothing waits that the filter of the last replay matches: what is done with stays so.
#[derive(Default)]
pub(super) struct Behind {
    filter: Option<DeadLetterFilter>,
    offsets: BTreeMap<Place, i64>,
}

/// A letter on its way.
struct Outgoing {
    letter: Letter,
    publication: Publication,
    /// What was remembered of it.
    key: Option<StoredKey>,
}

impl DeadLetterIndex {
    pub(super) async fn send_again(&self, request: &ReplayRequest) -> Result<ReplaySummary, AskError> {
        let started = Instant::now();
        let mut behind = self.replaying.lock().await;
        let mut summary = ReplaySummary { is_dry_run: request.is_dry_run, ..ReplaySummary::default() };
        let chosen = self.choose(request, &mut behind, &mut summary).await?;
        let is_named = matches!(request.which, Which::Positions(_));
        if is_named {
            self.check_positions(&chosen.waiting, request.again).await?;
        } else if request.up_to.is_none() {
            // Known once, at the beginning of a replay.
            let reasons: Vec<Position> = chosen.unsendable.into_iter().take(REASONS).collect();
            for (position, (letter, _)) in self.read_all(&reasons).await? {
                if let Err(reason) = self.publication(&letter).await? {
                    summary.refused.push(Refused { position, reason });
                }
            }
        }
        let mut waiting = chosen.waiting.as_slice();
        let stop_at = request.stop_at.filter(|_| !is_named && !request.is_dry_run);
        summary.ends = request.ends;
        summary.stopped = stop_at.and_then(|at| request.ends.stops(at));
        // The first part is small: where all fails, little was sent.
        let mut at_once = if stop_at.is_some() { PROBED.max(as_many_as_known(request.ends)) } else { AT_ONCE };
        while summary.stopped.is_none()
            && summary.replayed.len() < request.limit
            && !waiting.is_empty()
            && started.elapsed() < SENDING_TIME
        {
            let most = AT_ONCE.min(at_once).min(request.limit - summary.replayed.len()).min(waiting.len());
            let (part, rest) = waiting.split_at(most);
            waiting = rest;
            let outgoing = self.prepare(part, is_named, &mut summary).await?;
            let awaited: Vec<Awaited> = match stop_at {
                Some(_) => outgoing.iter().map(|of| Awaited::of(&of.letter)).collect(),
                None => Vec::new(),
            };
            let sent = if request.is_dry_run { vec![None; outgoing.len()] } else { self.send(&outgoing).await? };
            for (Outgoing { letter, .. }, sent_to) in outgoing.into_iter().zip(sent) {
                summary.replayed.push(Replayed {
                    kind: letter.kind,
                    topic: letter.source.topic.to_string(),
                    why: why(&letter),
                    next_id: letter.next_id(),
                    position: letter.position,
                    sent_to,
                    ended: None,
                });
            }
            if let Some(at) = stop_at {
                summary.ends = summary.ends.plus(self.ends(awaited).await?);
                summary.stopped = summary.ends.stops(at);
                at_once = at_once.saturating_mul(2);
            }
        }
        summary.remaining += waiting.len() as u64;
        Ok(summary)
    }

    async fn choose(
        &self,
        request: &ReplayRequest,
        behind: &mut Behind,
        summary: &mut ReplaySummary,
    ) -> Result<Chosen, AskError> {
        let (index, up_to) = self.begin_act(request.up_to.as_ref()).await?;
        summary.up_to = up_to;
        let filter = match &request.which {
            Which::Positions(positions) => {
                return Ok(Chosen { waiting: each_once(positions), ..Chosen::default() });
            }
            Which::Matching(filter) => filter,
        };
        let matching = index.matching(filter);
        let mut chosen = index.choose(&matching, request.up_to.as_ref(), request.limit);
        summary.not_indexed = index.not_indexed(&matching);
        if summary.not_indexed > 0 {
            // The oldest are not in the index, and order is kept: they are looked for on the topics.
            let topics = index.topics().to_vec();
            drop(index);
            let known = chosen.waiting.len() as u64 + chosen.further;
            let (waiting, is_all) = self.find_oldest(&topics, filter, &summary.up_to, request.limit, behind).await?;
            let left = (known + summary.not_indexed).saturating_sub(waiting.len() as u64);
            chosen.further = if is_all { 0 } else { left.max(1) };
            chosen.waiting = waiting;
        }
        (summary.parked, summary.remaining) = (chosen.parked, chosen.further);
        summary.unsendable = chosen.unsendable.len() as u64;
        Ok(chosen)
    }

    /// The oldest that wait and match, read from the topics, and whether these are all.
    async fn find_oldest(
        &self,
        topics: &[String],
        filter: &DeadLetterFilter,
        up_to: &BTreeMap<String, i64>,
        limit: usize,
        behind: &mut Behind,
    ) -> Result<(Vec<Position>, bool), AskError> {
        if behind.filter.as_ref() != Some(filter) {
            *behind = Behind { filter: Some(filter.clone()), offsets: BTreeMap::new() };
        }
        let matching = Matching::by_name(filter);
        let mut queues: Vec<Vec<(i64, (Place, i64))>> = Vec::new();
        let mut is_all = true;
        for (topic, name) in topics.iter().enumerate() {
            for (partition, range) in self.partitions(name).await? {
                let place = (topic, partition);
                let end = up_to.get(&format!("{name}/{partition}")).copied().unwrap_or(0).min(range.end);
                let mut next = behind.offsets.get(&place).copied().unwrap_or(0).max(range.start);
                let mut queue: Vec<(i64, (Place, i64))> = Vec::new();
                while next < end && queue.len() < limit {
                    let fetched = self.event_log.fetch(name, partition, next, FETCH_RECORDS, FETCH_BYTES).await;
                    let records = fetched.map_err(log_failed)?;
                    let Some(last) = records.last() else { break };
                    next = last.position.offset + 1;
                    let letters = records.iter().filter_map(read).filter(|(letter, at_ms)| {
                        letter.position.offset < end && is_waiting(letter) && matching.fits_letter(letter, *at_ms)
                    });
                    let letters: Vec<(Letter, i64)> = letters.collect();
                    let keys = self.marks(letters.iter().map(|(letter, _)| letter)).await?;
                    let waiting = letters.iter().zip(keys).filter(|(_, key)| key.is_none());
                    queue.extend(waiting.map(|((letter, at_ms), _)| (*at_ms, (place, letter.position.offset))));
                    let first = queue.first().map_or(next.min(end), |(_, (_, offset))| *offset);
                    behind.offsets.insert(place, first);
                }
                is_all &= next >= end;
                queues.push(queue);
            }
        }
        let (oldest, left) = merge(queues, limit);
        let position =
            |((topic, partition), offset): (Place, i64)| Position::new(topics[topic].as_str(), partition, offset);
        Ok((oldest.into_iter().map(position).collect(), is_all && left == 0))
    }

    /// Looks before anything is sent: every position must hold a letter that can be sent and, unless `again`, was not.
    async fn check_positions(&self, positions: &[Position], again: bool) -> Result<(), AskError> {
        for (letter, key) in self.letters_named(positions).await? {
            let position = &letter.position;
            if let Err(why) = self.publication(&letter).await? {
                return Err(AskError::Invalid(format!("{position} cannot be sent again: {why}")));
            }
            let Some(key) = key.filter(|_| !again) else { continue };
            let insist = "say so with --again (\"again\": true) if it shall be sent";
            if let Some(discard) = discard(&key) {
                let (at, by) = (discard.at, discard.by);
                return Err(AskError::Invalid(format!(
                    "{position} was discarded at {at} by {by}; {insist} nonetheless"
                )));
            }
            let failed_again = self.index.lock().await.find(letter.next_id());
            let advice = match failed_again {
                Some(newer) => format!("it failed again, and that letter is at {newer}: send that one"),
                None => format!("{insist} once more"),
            };
            let sent_to = sent_to(&key).unwrap_or_default();
            return Err(AskError::Invalid(format!("{position} was sent again already, to {sent_to}; {advice}")));
        }
        Ok(())
    }

    /// Reads letters that are to be sent. Those that were done with meanwhile, or cannot be sent, are noted and left out.
    async fn prepare(
        &self,
        positions: &[Position],
        is_named: bool,
        summary: &mut ReplaySummary,
    ) -> Result<Vec<Outgoing>, AskError> {
        let letters = self.letters_at(positions).await?;
        let mut outgoing = Vec::with_capacity(letters.len());
        for (letter, key) in letters {
            if key.is_some() && !is_named {
                // Another process did something with it since it was indexed.
                self.index.lock().await.mark(&letter.position, mark_of(key.as_ref()));
                continue;
            }
            match self.publication(&letter).await? {
                Ok(publication) => outgoing.push(Outgoing { letter, publication, key }),
                Err(reason) => {
                    self.index.lock().await.cannot_send(&letter.position);
                    summary.unsendable += 1;
                    summary.refused.push(Refused { position: letter.position, reason });
                }
            }
        }
        Ok(outgoing)
    }

    /// Sends letters again, topic by topic, each topic in order, and remembers them; where each stands now.
    async fn send(&self, outgoing: &[Outgoing]) -> Result<Vec<Option<Position>>, AskError> {
        let mut by_topic: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, of) in outgoing.iter().enumerate() {
            by_topic.entry(&of.publication.topic).or_default().push(number);
        }
        let mut sent = vec![None; outgoing.len()];
        for (topic, numbers) in by_topic {
            let records = numbers.iter().map(|number| outgoing[*number].publication.record.clone()).collect();
            let positions = self.event_log.produce(topic, records).await.map_err(log_failed)?;
            if positions.len() != numbers.len() {
                return Err(AskError::Failed("the log did not give a position for each record".to_owned()));
            }
            // Sent, then remembered: cut off in between they are sent once more, and the event's own key makes that harmless.
            let of = || numbers.iter().map(|number| &outgoing[*number]).zip(&positions);
            self.write_marks(of().map(|(of, at)| write_sent(&of.letter, of.key.as_ref(), at)).collect()).await?;
            let mut index = self.index.lock().await;
            of().for_each(|(of, _)| index.mark(&of.letter.position, Mark::Sent));
            for (number, position) in numbers.iter().zip(positions) {
                sent[*number] = Some(position);
            }
        }
        Ok(sent)
    }
}

/// As many again as the calls before have seen the end of.
fn as_many_as_known(ends: Ends) -> usize {
    usize::try_from(ends.known).unwrap_or(usize::MAX)
}

/// As far as the letter itself tells.
fn is_waiting(letter: &Letter) -> bool {
    !letter.is_parked() && !letter.value_omitted
}
