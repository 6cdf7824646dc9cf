use proptest::prelude::*;

use super::*;

const TOPIC: &str = "dead";

fn found(offset: i64, at_ms: i64, tenant: Option<&str>) -> Found {
    Found {
        offset,
        at_ms,
        id: Uuid::new_v4(),
        event_id: None,
        tenant: tenant.map(str::to_owned),
        topic: "bookings".to_owned(),
        rule: "booking.requested".to_owned(),
        family: "training".to_owned(),
        sender: None,
        kind: DeadLetterKind::Rejected,
        is_parked: false,
        is_replay: false,
        is_unsendable: false,
        mark: Mark::None,
        is_resolved: false,
    }
}

fn index(limit: usize) -> Index {
    Index::new(vec![TOPIC.to_owned()], limit)
}

fn of(tenant: &str) -> DeadLetterFilter {
    DeadLetterFilter { tenant: Some(tenant.to_owned()), ..DeadLetterFilter::default() }
}

fn everything(index: &Index) -> Matching {
    index.matching(&DeadLetterFilter::default())
}

fn waiting(index: &Index, filter: &DeadLetterFilter) -> u64 {
    index.groups(&index.matching(filter), 0).kinds.values().map(|count| count.waiting).sum()
}

fn listed(index: &Index, filter: &DeadLetterFilter) -> Vec<(i32, i64)> {
    let page = index.page(&index.matching(filter), Order::NewestFirst, usize::MAX, None);
    page.listed.iter().map(|position| (position.partition, position.offset)).collect()
}

#[test]
fn a_letter_is_small() {
    assert!(size_of::<Known>() <= 72, "{}", size_of::<Known>());
}

#[test]
fn one_tenants_flood_pushes_out_its_own_letters_alone() {
    let mut index = index(100);
    index.take_in((0, 0), (0..20).map(|offset| found(offset, offset, Some("beta"))), 20);
    index.take_in((0, 0), (20..1_020).map(|offset| found(offset, offset, Some("acme"))), 1_020);
    index.take_in((0, 0), [found(1_020, 1_020, Some("beta"))], 1_021);
    assert_eq!(listed(&index, &of("beta")).len(), 21);
    assert_eq!(listed(&index, &of("acme"))[0], (0, 1_019), "the newest are kept");
    assert_eq!(listed(&index, &of("acme")).len(), 79);
    let not_indexed = |tenant: &str| index.not_indexed(&index.matching(&of(tenant)));
    assert_eq!((not_indexed("acme"), not_indexed("beta"), not_indexed("nobody")), (921, 0, 0));
    assert_eq!((waiting(&index, &of("acme")), waiting(&index, &of("beta"))), (1_000, 21));
}

#[test]
fn what_is_done_with_is_forgotten_first_and_what_waits_is_read_anew_once_there_is_room() {
    let mut index = index(4);
    let letters: Vec<Found> = (0..6).map(|offset| found(offset, offset, Some("acme"))).collect();
    index.take_in((0, 0), letters[..4].to_vec(), 4);
    index.mark(&Position::new(TOPIC, 0, 2), Mark::Sent);
    index.take_in((0, 0), letters[4..5].to_vec(), 5);
    assert_eq!((listed(&index, &of("acme")).len(), index.not_indexed(&everything(&index))), (4, 0));
    assert!(!listed(&index, &of("acme")).contains(&(0, 2)));
    index.take_in((0, 0), letters[5..].to_vec(), 6);
    assert_eq!(index.not_indexed(&everything(&index)), 1);
    assert!(!index.begin_again(), "it is full of letters that wait");
    for offset in [3, 4] {
        index.mark(&Position::new(TOPIC, 0, offset), Mark::Discarded);
    }
    assert!(index.begin_again());
    assert_eq!(index.next((0, 0), 0), 0, "from the beginning");
    let marked = letters.into_iter().map(|letter| Found {
        mark: if [2, 3, 4].contains(&letter.offset) { Mark::Sent } else { Mark::None },
        ..letter
    });
    index.take_in((0, 0), marked, 6);
    index.complete();
    assert_eq!(listed(&index, &of("acme")), [(0, 5), (0, 1), (0, 0)]);
    assert!(!index.begin_again(), "nothing is missing");
}

#[test]
fn a_partitions_order_is_kept_whatever_its_timestamps_say() {
    let mut index = index(9);
    index.take_in((0, 0), [found(0, 50, None), found(1, 10, None)], 2);
    index.take_in((0, 1), [found(0, 20, None), found(1, 60, None)], 2);
    let chosen = index.choose(&everything(&index), None, 3);
    let places: Vec<(i32, i64)> = chosen.waiting.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!((places, chosen.further), (vec![(1, 0), (0, 0), (0, 1)], 1));
}

#[test]
fn few_letters_of_a_tenant_are_chosen_in_the_order_of_their_partitions_as_many_are() {
    let mut index = index(1_000);
    // By time and by place these come in different orders, and one of them is parked.
    for (partition, times) in [(1, [50, 10, 30]), (0, [40, 60, 20])] {
        let of_acme = (0..)
            .zip(times)
            .map(|(offset, at_ms)| Found { is_parked: at_ms == 60, ..found(offset, at_ms, Some("acme")) });
        index.take_in((0, partition), of_acme, 3);
    }
    let acted_on = |index: &Index| {
        let matching = index.matching(&of("acme"));
        let chosen = index.choose(&matching, None, 4);
        let (open, more) = index.open(&matching, None, 5);
        let places = |positions: Vec<Position>| -> Vec<(i32, i64)> {
            positions.iter().map(|at| (at.partition, at.offset)).collect()
        };
        (places(chosen.waiting), chosen.further, chosen.parked, places(open), more)
    };
    let alone = acted_on(&index);
    assert_eq!(
        alone,
        (vec![(0, 0), (0, 2), (1, 0), (1, 1)], 1, 1, vec![(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)], 1),
        "between partitions the time counts, within one its order"
    );
    index.take_in((0, 0), (3..500).map(|offset| found(offset, offset, Some("beta"))), 500);
    assert_eq!(acted_on(&index), alone);
}

#[test]
fn what_came_after_the_beginning_is_no_part_of_a_replay() {
    let mut index = index(9);
    index.take_in((0, 0), [found(0, 0, None)], 1);
    let up_to = index.up_to();
    index.take_in((0, 0), [found(1, 0, None)], 2);
    assert_eq!(index.choose(&everything(&index), Some(&up_to), 9).waiting.len(), 1);
    assert_eq!(index.choose(&everything(&index), None, 9).waiting.len(), 2);
    assert_eq!(index.open(&everything(&index), Some(&up_to), 9).0.len(), 1);
}

#[test]
fn what_expired_is_no_more_neither_listed_nor_counted() {
    let mut index = index(5);
    index.take_in((0, 0), (0..3_000).map(|offset| found(offset, offset, None)), 3_000);
    assert_eq!(waiting(&index, &DeadLetterFilter::default()), 3_000);
    assert_eq!(index.next((0, 0), 2_998), 3_000);
    // The counts of what was forgotten go by the thousand.
    assert_eq!(waiting(&index, &DeadLetterFilter::default()), 2 + 995);
    index.next((0, 0), 3_000);
    assert_eq!((waiting(&index, &DeadLetterFilter::default()), index.letters.len()), (0, 0));
    assert_eq!(index.names.find("bookings"), index.names.find("nothing of that name"), "names go with their letters");
}

#[test]
fn a_topic_that_was_made_anew_begins_anew() {
    let mut index = index(5);
    index.take_in((0, 0), (0..9).map(|offset| found(offset, offset, None)), 9);
    index.reset((0, 0));
    assert_eq!((waiting(&index, &DeadLetterFilter::default()), index.next((0, 0), 0)), (0, 0));
}

#[test]
fn letters_are_listed_page_by_page_each_once_the_newest_first() {
    let mut index = index(100);
    for partition in 0..3 {
        let letters = (0..11).map(|offset| found(offset, 7 * offset % 4, None));
        index.take_in((0, partition), letters, 11);
    }
    let everything = everything(&index);
    let whole = index.page(&everything, Order::NewestFirst, 100, None);
    assert_eq!((whole.listed.len(), whole.total, &whole.next), (33, 33, &None));
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let page = index.page(&everything, order, 4, cursor.as_ref());
            assert_eq!(page.total, 33);
            paged.extend(page.listed);
            let Some(next) = page.next else { break };
            cursor = Some(next.to_string().parse().unwrap());
        }
        if order == Order::OldestFirst {
            paged.reverse();
        }
        assert_eq!(paged, whole.listed, "{order:?}");
    }
}

#[test]
fn every_part_of_a_filter_holds() {
    let mut index = index(100);
    let letter = |offset: i64| found(offset, offset * 10, Some("acme"));
    index.take_in(
        (0, 0),
        [
            letter(0),
            Found { rule: "verb.id.iri".to_owned(), kind: DeadLetterKind::Validation, ..letter(1) },
            Found { topic: "sessions".to_owned(), ..letter(2) },
            Found { is_parked: true, ..letter(3) },
            Found { mark: Mark::Discarded, ..letter(4) },
            Found { mark: Mark::Sent, is_parked: true, ..letter(5) },
            Found { tenant: None, ..letter(6) },
        ],
        7,
    );
    index.resolve(&Position::new(TOPIC, 0, 2));
    let offsets =
        |filter: DeadLetterFilter| listed(&index, &filter).iter().map(|(_, offset)| *offset).collect::<Vec<_>>();
    let any = DeadLetterFilter::default;
    let state = |state| offsets(DeadLetterFilter { state: Some(state), ..any() });
    assert_eq!(offsets(of("acme")), [5, 4, 3, 2, 1, 0]);
    assert_eq!(offsets(DeadLetterFilter { rule: Some("verb.id.iri".to_owned()), ..any() }), [1]);
    assert_eq!(offsets(DeadLetterFilter { topic: Some("sessions".to_owned()), ..any() }), [2]);
    assert_eq!(offsets(DeadLetterFilter { topic: Some(TOPIC.to_owned()), ..any() }).len(), 7);
    assert_eq!(offsets(DeadLetterFilter { since_ms: Some(10), until_ms: Some(30), ..any() }), [2, 1]);
    assert_eq!(state(LetterState::Waiting), [6, 1, 0]);
    assert_eq!(state(LetterState::Parked), [3]);
    assert_eq!(state(LetterState::Sent), [5]);
    assert_eq!(state(LetterState::Discarded), [4]);
    assert_eq!(state(LetterState::Resolved), [2]);
    assert_eq!(offsets(DeadLetterFilter { state: Some(LetterState::Parked), ..of("nobody") }), [0; 0]);
    let counts = index.groups(&everything(&index), 0).kinds;
    assert_eq!((counts[&DeadLetterKind::Rejected].waiting, counts[&DeadLetterKind::Rejected].parked), (2, 1));
    let (open, further) = index.open(&everything(&index), None, 2);
    assert_eq!((open.len(), further), (2, 2), "parked ones can be discarded");
}

#[test]
fn causes_are_counted_with_what_was_forgotten_and_have_an_example() {
    let mut index = index(10);
    let invalid = |offset: i64| Found { rule: "verb.id.iri".to_owned(), ..found(offset, offset, Some("acme")) };
    index.take_in((0, 0), (0..30).map(|offset| found(offset, offset, Some("acme"))), 30);
    index.take_in((0, 0), (30..33).map(invalid), 33);
    index.mark(&Position::new(TOPIC, 0, 32), Mark::Sent);
    let Grouping { groups, total, .. } = index.groups(&everything(&index), 1);
    assert_eq!((groups.len(), total), (1, 2));
    let most = &groups[0];
    assert_eq!((most.rule.as_str(), most.count, most.waiting), ("booking.requested", 30, 30));
    assert_eq!((most.first_ms, most.last_ms, &most.example), (0, 29, &Some(Position::new(TOPIC, 0, 29))));
    let groups = index.groups(&everything(&index), 2).groups;
    assert_eq!((groups[1].count, groups[1].waiting), (3, 2));
    assert_eq!(groups[1].example, Some(Position::new(TOPIC, 0, 31)), "of those that wait");
    let waiting = index.matching(&DeadLetterFilter { state: Some(LetterState::Sent), ..DeadLetterFilter::default() });
    let Grouping { total, kinds, .. } = index.groups(&waiting, 9);
    assert_eq!(
        (total, kinds[&DeadLetterKind::Rejected].waiting),
        (1, 32),
        "what waits is counted in whatever state they are asked for"
    );
    let page = index.page(&everything(&index), Order::NewestFirst, 1, None);
    assert_eq!((page.total, page.open.waiting), (10, 32), "those that cannot be listed are counted, too");
}

#[test]
fn letters_are_looked_at_in_turn() {
    let mut index = index(10);
    let letter = |offset: i64| Found { event_id: Some(Uuid::from_u128(9)), ..found(offset, offset, Some("acme")) };
    let conflict = Found { kind: DeadLetterKind::Conflict, ..letter(3) };
    index.take_in((0, 0), [letter(0), letter(1), letter(2), conflict, found(4, 4, Some("acme"))], 5);
    let mut offsets = || index.next_to_check(2).iter().map(|letter| letter.position.offset).collect::<Vec<_>>();
    assert_eq!([offsets(), offsets(), offsets()], [vec![0, 1], vec![2], vec![0, 1]]);
}

#[test]
fn violations_are_told_by_rule_and_sender_without_what_was_replayed_or_is_ours_to_mend() {
    let mut index = index(100);
    let of = |offset: i64, sender: &str| Found {
        sender: Some(sender.to_owned()),
        rule: "verb.id.iri".to_owned(),
        kind: DeadLetterKind::Validation,
        ..found(offset, offset, Some("acme"))
    };
    index.take_in(
        (0, 0),
        [
            of(0, "lms"),
            of(1, "lms"),
            of(2, "crm"),
            Found { is_replay: true, ..of(3, "lms") },
            Found { kind: DeadLetterKind::Database, ..of(4, "lms") },
            Found { tenant: Some("beta".to_owned()), ..of(5, "lms") },
            Found { mark: Mark::Discarded, ..of(6, "lms") },
            of(7, "lms"),
        ],
        8,
    );
    let mut series = index.violations(Some("acme"), 7);
    series.sort_by(|one, other| one.of.cmp(&other.of));
    let told = series.iter().map(|of| (of.of.sender.as_deref(), of.times_ms.clone(), of.example.clone()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (Some("crm"), vec![2], Some(Position::new(TOPIC, 0, 2))),
            (Some("lms"), vec![0, 1, 6], Some(Position::new(TOPIC, 0, 6))),
        ],
        "what is done with counts, too"
    );
    assert_eq!(index.violations(None, 9).len(), 3);
    index.next((0, 0), 8);
    assert_eq!((index.violations(None, 9), index.names.find("lms")), (vec![], index.names.find("never seen")));
}

/// What happens to an index.
#[derive(Clone, Debug)]
enum Step {
    Letter { partition: i32, tenant: usize, at_ms: i64 },
    Done { number: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let letter = (0..2_i32, prop::sample::select(vec![0_usize, 0, 0, 1, 1, 2]), 0..1_000_i64);
    let letter = letter.prop_map(|(partition, tenant, at_ms)| Step::Letter { partition, tenant, at_ms });
    prop::collection::vec(
        prop_oneof![8 => letter, 1 => any::<usize>().prop_map(|number| Step::Done { number })],
        0..200,
    )
}

proptest! {
    /// Whatever comes in whatever order: no more than there is room for, nothing uncounted, the newest of each tenant, and nobody
    /// who lost a letter has less than the others.
    #[test]
    fn an_index_is_bounded_just_and_counts_right(steps in steps(), limit in 1..40_usize) {
        const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];
        let mut index = index(limit);
        let mut next = [0_i64; 2];
        // All that ever came: tenant, time, partition, offset, and whether it is done with.
        let mut all: Vec<(usize, i64, i32, i64, bool)> = Vec::new();
        let mut done = 0;
        for step in steps {
            match step {
                Step::Letter { partition, tenant, at_ms } => {
                    let offset = next[partition as usize];
                    next[partition as usize] += 1;
                    index.take_in((0, partition), [found(offset, at_ms, Some(TENANTS[tenant]))], offset + 1);
                    all.push((tenant, at_ms, partition, offset, false));
                }
                Step::Done { number } if !all.is_empty() => {
                    let number = number % all.len();
                    let (_, _, partition, offset, is_done) = &mut all[number];
                    // What fell out is not seen any more, so that it cannot be marked there.
                    let is_held = index.letters.contains_key(&((0, *partition), *offset));
                    if is_held && !*is_done {
                        index.mark(&Position::new(TOPIC, *partition, *offset), Mark::Sent);
                        *is_done = true;
                        done += 1;
                    }
                }
                Step::Done { .. } => {}
            }
            prop_assert!(index.letters.len() <= limit);
        }
        prop_assert_eq!(index.letters.len(), limit.min(all.len()));
        let open = index.letters.values().filter(|known| known.is_open()).count();
        prop_assert_eq!(index.open, open);
        prop_assert_eq!(index.spots.len(), index.letters.len());
        let sizes: Vec<usize> = TENANTS.iter().map(|tenant| listed(&index, &of(tenant)).len()).collect();
        let most = sizes.iter().copied().max().unwrap_or(0);
        for (number, tenant) in TENANTS.iter().enumerate() {
            let own: Vec<_> = all.iter().filter(|letter| letter.0 == number).collect();
            let own_open = own.iter().filter(|letter| !letter.4).count() as u64;
            prop_assert_eq!(waiting(&index, &of(tenant)), own_open, "{} is counted right", tenant);
            let held = listed(&index, &of(tenant));
            if held.len() < own.len() {
                prop_assert!(held.len() + 1 >= most, "{} lost one and has {:?}", tenant, sizes);
            }
            if done == 0 {
                let mut newest: Vec<_> = own.iter().map(|letter| (letter.1, letter.2, letter.3)).collect();
                newest.sort_unstable();
                let newest: Vec<(i32, i64)> = newest.iter().rev().take(held.len()).map(|(_, partition, offset)| (*partition, *offset)).collect();
                prop_assert_eq!(held, newest, "the newest of {}", tenant);
            }
        }
    }
}
