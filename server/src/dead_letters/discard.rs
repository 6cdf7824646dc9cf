//! Marking letters as done with: what its sender has sent anew, or nobody needs.

use super::index::Mark;
use super::letters::{Discard, DiscardRequest, DiscardSummary, Discarded, Which};
use super::marks::write_discarded;
use super::{DeadLetterIndex, each_once, why};
use crate::live::format_time;
use crate::questions::AskError;

impl DeadLetterIndex {
    pub(super) async fn mark_discarded(&self, request: &DiscardRequest) -> Result<DiscardSummary, AskError> {
        let mut summary = DiscardSummary { is_dry_run: request.is_dry_run, ..DiscardSummary::default() };
        let (index, up_to) = self.begin_act(request.up_to.as_ref()).await?;
        summary.up_to = up_to;
        let chosen = match &request.which {
            Which::Positions(positions) => {
                let mut chosen = each_once(positions);
                let taken = chosen.len().min(request.limit);
                summary.remaining = (chosen.len() - taken) as u64;
                chosen.truncate(taken);
                chosen
            }
            Which::Matching(filter) => {
                let matching = index.matching(filter);
                let (chosen, further) = index.open(&matching, request.up_to.as_ref(), request.limit);
                // What was forgotten is read anew once there is room for it.
                summary.remaining = further + index.not_indexed(&matching);
                chosen
            }
        };
        drop(index);
        let is_named = matches!(request.which, Which::Positions(_));
        let letters = if is_named { self.letters_named(&chosen).await? } else { self.letters_at(&chosen).await? };
        let (mut waiting, mut done) = (Vec::new(), 0);
        for (letter, key) in letters {
            if key.is_none() { waiting.push(letter) } else { done += 1 }
        }
        let mut is_marked = vec![true; waiting.len()];
        if !request.is_dry_run {
            let discard = Discard { at: format_time(self.clock.now_ms()), by: request.by.clone() };
            is_marked =
                self.write_marks(waiting.iter().map(|letter| write_discarded(letter, &discard)).collect()).await?;
            let mut index = self.index.lock().await;
            for (letter, is_marked) in waiting.iter().zip(&is_marked) {
                // Of the others the list reads what the ledger says.
                if *is_marked {
                    index.mark(&letter.position, Mark::Discarded);
                }
            }
        }
        for (letter, is_marked) in waiting.into_iter().zip(is_marked) {
            if !is_marked {
                done += 1;
                continue;
            }
            summary.discarded.push(Discarded {
                kind: letter.kind,
                topic: letter.source.topic.to_string(),
                why: why(&letter),
                position: letter.position,
            });
        }
        summary.already = if is_named { done } else { 0 };
        if !request.is_dry_run && !summary.discarded.is_empty() {
            let (letters, by) = (summary.discarded.len(), &request.by);
            let (first, last) = (&summary.discarded[0].position, &summary.discarded[letters - 1].position);
            tracing::info!(letters, %first, %last, by, "dead letters were discarded");
        }
        Ok(summary)
    }
}
