use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BASE: Duration = Duration::from_millis(100);

fn limits(lanes: usize) -> Limits {
    Limits {
        lanes,
        records: 4,
        bytes: 1_000,
        delay: Duration::from_millis(10),
        in_hand_bytes: 100_000,
        backoff: Backoff { base: BASE, cap: Duration::from_secs(1) },
    }
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn receive(lanes: &mut Lanes<i64>, partition: i32, offset: i64, key: Option<&str>, now_ms: i64) -> bool {
    receive_bytes(lanes, partition, offset, key, 10, now_ms)
}

fn receive_bytes(
    lanes: &mut Lanes<i64>,
    partition: i32,
    offset: i64,
    key: Option<&str>,
    bytes: usize,
    now_ms: i64,
) -> bool {
    let of = of(partition);
    let key = key.map(str::as_bytes);
    lanes.receive(Received { of: &of, offset, key, timestamp_ms: now_ms, bytes, item: offset }, now_ms)
}

#[test]
fn a_batch_begins_when_it_is_full_or_its_first_record_has_waited_for_long_enough() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), Some(0));
    assert!(receive(&mut lanes, 0, 0, None, 0));
    assert_eq!((lanes.next(9).map(|batch| batch.items), lanes.wakes_at_ms()), (None, Some(10)));
    assert_eq!(lanes.next(10).map(|batch| batch.items), Some(vec![0]));
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    (0..5).for_each(|offset| assert!(receive(&mut lanes, 0, offset, None, 0)));
    assert_eq!(lanes.next(0).map(|batch| batch.items), Some(vec![0, 1, 2, 3]), "full by number");
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    (0..3).for_each(|offset| assert!(receive_bytes(&mut lanes, 0, offset, None, 400, 0)));
    assert_eq!(lanes.next(0).map(|batch| batch.items), Some(vec![0, 1]), "full by bytes");
}

#[test]
fn a_record_over_the_bytes_of_a_batch_goes_alone() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    assert!(receive_bytes(&mut lanes, 0, 0, None, 5_000, 0) && receive(&mut lanes, 0, 1, None, 0));
    assert_eq!(lanes.next(0).map(|batch| batch.items), Some(vec![0]));
}

#[test]
fn a_lane_has_one_batch_in_flight_and_other_keys_go_meanwhile() {
    let mut lanes = Lanes::new(Order::Key, limits(2));
    lanes.assign(of(0), None);
    let lane = |key: &str| strand(&of(0), Some(key.as_bytes())) % 2;
    let other =
        ["b", "c", "d", "e", "f"].into_iter().find(|key| lane(key) != lane("a")).expect("a key of the other lane");
    for (offset, key) in [(0, "a"), (1, other), (2, "a")] {
        assert!(receive(&mut lanes, 0, offset, Some(key), 0));
    }
    let first = lanes.next(10).expect("a batch");
    assert!(receive(&mut lanes, 0, 3, Some("a"), 10));
    let second = lanes.next(20).expect("the other lane's");
    assert_eq!(first.items.len() + second.items.len(), 3);
    assert!(lanes.next(20).is_none(), "3 waits for what is in flight of its lane");
}

#[test]
fn effects_that_count_offsets_and_records_without_a_key_keep_the_order_of_their_partition() {
    for (order, key) in [(Order::Partition, true), (Order::Key, false)] {
        let mut lanes = Lanes::new(order, limits(8));
        lanes.assign(of(0), None);
        for offset in 0..4 {
            let name = offset.to_string();
            assert!(receive(&mut lanes, 0, offset, key.then_some(&name), 0));
        }
        assert_eq!(lanes.next(10).map(|batch| batch.items), Some(vec![0, 1, 2, 3]));
    }
}

#[test]
fn what_failed_comes_again_with_growing_waits_and_its_key_waits_behind_it_while_others_go_on() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    for (offset, key) in [(0, "a"), (1, "b")] {
        assert!(receive(&mut lanes, 0, offset, Some(key), 0));
    }
    let batch = lanes.next(10).expect("a batch");
    lanes.end(batch, &[false, true], 10, 0.0);
    for (offset, key) in [(2, "a"), (3, "b")] {
        assert!(receive(&mut lanes, 0, offset, Some(key), 10));
    }
    let batch = lanes.next(20).expect("b goes on");
    assert_eq!(batch.items, [3]);
    lanes.end(batch, &[true], 20, 0.0);
    assert_eq!((lanes.next(109).is_none(), lanes.wakes_at_ms()), (true, Some(110)));
    assert!(lanes.progress()[&of(0)].is_held_back);
    assert_eq!(lanes.to_commit(), [(of(0), 0)], "nothing is committed over what is to come again");
    let batch = lanes.next(110).expect("a comes again");
    assert_eq!(batch.items, [0, 2]);
    lanes.end(batch, &[false, false], 110, 0.0);
    assert_eq!(lanes.wakes_at_ms(), Some(310), "twice as long");
    let batch = lanes.next(310).expect("a comes again");
    lanes.end(batch, &[true, true], 310, 0.0);
    assert_eq!((lanes.to_commit(), lanes.bytes()), (vec![(of(0), 4)], 0));
}

#[test]
fn where_nothing_of_new_records_is_settled_the_lane_waits_before_it_tries_further_ones() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    assert!(receive(&mut lanes, 0, 0, Some("a"), 0));
    let batch = lanes.next(10).expect("a batch");
    lanes.end(batch, &[], 10, 0.0);
    assert!(receive(&mut lanes, 0, 1, Some("b"), 11));
    assert_eq!((lanes.next(100).is_none(), lanes.wakes_at_ms()), (true, Some(110)));
    assert_eq!(lanes.next(110).map(|batch| batch.items), Some(vec![0, 1]));
}

#[test]
fn a_partition_that_stands_still_is_paused_and_does_not_take_the_others_room() {
    let mut lanes = Lanes::new(Order::Key, Limits { in_hand_bytes: 400, ..limits(1) });
    (0..2).for_each(|partition| lanes.assign(of(partition), None));
    (0..4).for_each(|offset| assert!(receive_bytes(&mut lanes, 0, offset, None, 100, 0)));
    assert_eq!(lanes.to_pause_and_resume(), (vec![], vec![]), "it is only slow");
    assert!(!lanes.has_room());
    let batch = lanes.next(10).expect("a batch");
    lanes.end(batch, &[], 10, 0.0);
    assert_eq!(lanes.to_pause_and_resume(), (vec![of(0)], vec![]));
    assert_eq!(lanes.to_pause_and_resume(), (vec![], vec![]), "told once");
    assert!(lanes.has_room());
    let batch = lanes.next(110).expect("it comes again");
    lanes.end(batch, &[true, true, true, false], 110, 0.0);
    assert_eq!(lanes.to_pause_and_resume(), (vec![], vec![of(0)]));
}

#[test]
fn what_comes_again_leaves_room_for_what_is_new() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), None);
    (0..4).for_each(|offset| assert!(receive(&mut lanes, 0, offset, Some("a"), 0)));
    let batch = lanes.next(0).expect("a batch");
    lanes.end(batch, &[], 0, 0.0);
    (4..8).for_each(|offset| assert!(receive(&mut lanes, 0, offset, Some("b"), 0)));
    assert_eq!(lanes.next(100).map(|batch| batch.items), Some(vec![0, 1, 4, 5]));
}

#[test]
fn of_a_partition_that_is_to_go_gaps_are_filled_and_nothing_behind_them_is_begun() {
    let mut lanes = Lanes::new(Order::Key, limits(2));
    lanes.assign(of(0), Some(0));
    let lane = |key: &str| strand(&of(0), Some(key.as_bytes())) % 2;
    let other =
        ["b", "c", "d", "e", "f"].into_iter().find(|key| lane(key) != lane("a")).expect("a key of the other lane");
    for (offset, key) in [(0, "a"), (1, other), (2, "a"), (3, other)] {
        assert!(receive(&mut lanes, 0, offset, Some(key), offset * 5));
    }
    let batch = lanes.next(10).expect("the first lane's");
    assert_eq!(batch.items, [0, 2]);
    lanes.withdraw(|_| true);
    assert_eq!(lanes.open(|_| true), 3, "0 and 2 in flight, 1 between them");
    let gap = lanes.next(15).expect("the other lane's");
    assert_eq!(gap.items, [1]);
    lanes.end(gap, &[true], 15, 0.0);
    lanes.end(batch, &[true, true], 15, 0.0);
    assert_eq!((lanes.open(|_| true), lanes.to_commit()), (0, vec![(of(0), 3)]));
}

#[test]
fn nothing_of_a_withdrawn_partition_begins_and_what_ends_after_it_was_forgotten_counts_nowhere() {
    let mut lanes = Lanes::new(Order::Key, limits(1));
    lanes.assign(of(0), Some(0));
    lanes.assign(of(1), Some(5));
    assert!(receive(&mut lanes, 0, 0, None, 0));
    let batch = lanes.next(10).expect("a batch");
    assert!(receive(&mut lanes, 0, 1, None, 10));
    lanes.withdraw(|name| *name == of(0));
    assert!(!receive(&mut lanes, 0, 2, None, 10));
    assert_eq!(lanes.open(|name| *name == of(0)), 1);
    lanes.forget(|name| *name == of(0));
    lanes.assign(of(0), Some(0));
    lanes.end(batch, &[true], 20, 0.0);
    assert_eq!((lanes.to_commit(), lanes.open(|_| true)), (vec![], 0));
    assert!(receive(&mut lanes, 0, 0, None, 20), "its next owner, this one too, begins at what is committed");
}

#[derive(Clone, Debug)]
enum Act {
    Receive {
        partition: i32,
        key: Option<u8>,
        bytes: usize,
    },
    Next,
    /// Of those in flight; which records are settled.
    End {
        which: prop::sample::Index,
        settled: Vec<bool>,
    },
    Pass(u16),
    Commit,
    Withdraw(i32),
    Forget(i32),
    Assign(i32),
}

fn act() -> impl Strategy<Value = Act> {
    let receive = (0..3, prop::option::of(0u8..5), 1..400usize).prop_map(|(partition, key, bytes)| Act::Receive {
        partition,
        key,
        bytes,
    });
    let end = (any::<prop::sample::Index>(), prop::collection::vec(any::<bool>(), 0..5))
        .prop_map(|(which, settled)| Act::End { which, settled });
    prop_oneof![
        8 => receive,
        6 => Just(Act::Next),
        6 => end,
        3 => (0u16..150).prop_map(Act::Pass),
        1 => Just(Act::Commit),
        1 => (0..3).prop_map(Act::Withdraw),
        1 => (0..3).prop_map(Act::Forget),
        1 => (0..3).prop_map(Act::Assign),
    ]
}

/// What must hold, kept beside the lanes in the plainest way.
#[derive(Default)]
struct Plain {
    /// Of each assigned partition: where its log goes on, what of it is neither settled nor dropped, and what is committed.
    assigned: BTreeMap<i32, Assigned>,
    log_ends: BTreeMap<i32, i64>,
    assignments: u64,
}

#[derive(Default)]
struct Assigned {
    number: u64,
    open: BTreeMap<i64, Option<u8>>,
    end: i64,
    /// The last offset of which a batch began.
    begun: Option<i64>,
    is_withdrawn: bool,
}

fn note_begun(plain: &mut Plain, batch: &Batch<(i32, i64, u64)>) {
    for (partition, offset, _) in &batch.items {
        if let Some(of) = plain.assigned.get_mut(partition) {
            of.begun = of.begun.max(Some(*offset));
        }
    }
}

struct Running {
    batch: Batch<(i32, i64, u64)>,
}

fn play(order: Order, lane_count: usize, acts: Vec<Act>) -> Result<(), TestCaseError> {
    let limits = limits(lane_count);
    let mut lanes: Lanes<(i32, i64, u64)> = Lanes::new(order, limits);
    let mut plain = Plain::default();
    let mut running: Vec<Running> = Vec::new();
    let mut now_ms = 0;
    let same_strand = |a: Option<u8>, b: Option<u8>| order == Order::Partition || a == b;
    let end = |lanes: &mut Lanes<_>, plain: &mut Plain, batch: Batch<(i32, i64, u64)>, settled: &[bool], now_ms| {
        for (place, (partition, offset, number)) in batch.items.iter().enumerate() {
            let of = plain.assigned.get_mut(partition).filter(|of| of.number == *number);
            if let Some(of) = of
                && settled.get(place).copied().unwrap_or(false)
            {
                of.open.remove(offset);
            }
        }
        lanes.end(batch, settled, now_ms, 0.5);
    };
    let check_batch = |plain: &Plain, running: &[Running], batch: &Batch<(i32, i64, u64)>| {
        prop_assert!(!batch.items.is_empty() && batch.items.len() <= limits.records);
        prop_assert!(batch.items.len() == 1 || batch.bytes() <= limits.bytes);
        for (place, (partition, offset, number)) in batch.items.iter().enumerate() {
            let of = &plain.assigned[partition];
            let is_to_begin = !of.is_withdrawn || Some(*offset) <= of.begun;
            prop_assert!(of.number == *number && is_to_begin, "{partition}/{offset} is not to be begun");
            let key = *of.open.get(offset).expect("what is settled does not come again");
            for (earlier, _) in of.open.range(..offset).filter(|(_, other)| same_strand(key, **other)) {
                let is_before = batch.items[..place].contains(&(*partition, *earlier, *number));
                prop_assert!(is_before, "{partition}/{offset} overtakes {earlier}");
            }
            for other in running {
                prop_assert!(!other.batch.items.contains(&(*partition, *offset, *number)), "in flight twice");
            }
        }
        Ok(())
    };
    for act in acts {
        match act {
            Act::Receive { partition, key, bytes } => {
                let offset = *plain.log_ends.entry(partition).and_modify(|end| *end += 1).or_default();
                let number = plain.assigned.get(&partition).map_or(0, |of| of.number);
                let name = of(partition);
                let text = key.map(|key| [key]);
                let received = Received {
                    of: &name,
                    offset,
                    key: text.as_ref().map(|key| &key[..]),
                    timestamp_ms: now_ms,
                    bytes,
                    item: (partition, offset, number),
                };
                let is_taken = lanes.receive(received, now_ms);
                let mut taker = plain.assigned.get_mut(&partition).filter(|of| !of.is_withdrawn);
                prop_assert_eq!(is_taken, taker.is_some());
                if let Some(of) = &mut taker {
                    of.open.insert(offset, key);
                    of.end = offset + 1;
                }
            }
            Act::Next => {
                if let Some(batch) = lanes.next(now_ms) {
                    check_batch(&plain, &running, &batch)?;
                    note_begun(&mut plain, &batch);
                    running.push(Running { batch });
                    prop_assert!(running.len() <= lane_count);
                }
            }
            Act::End { which, settled } => {
                if !running.is_empty() {
                    let Running { batch } = running.swap_remove(which.index(running.len()));
                    end(&mut lanes, &mut plain, batch, &settled, now_ms);
                }
            }
            Act::Pass(ms) => now_ms += i64::from(ms),
            Act::Commit => {
                let offsets = lanes.to_commit();
                lanes.committed(&offsets);
                prop_assert_eq!(lanes.to_commit(), vec![]);
            }
            Act::Withdraw(partition) => {
                lanes.withdraw(|name| *name == of(partition));
                if let Some(of) = plain.assigned.get_mut(&partition) {
                    of.is_withdrawn = true;
                }
            }
            Act::Forget(partition) => {
                lanes.forget(|name| *name == of(partition));
                plain.assigned.remove(&partition);
            }
            Act::Assign(partition) => {
                plain.assignments += 1;
                lanes.assign(of(partition), None);
                plain.assigned.insert(partition, Assigned { number: plain.assignments, ..Assigned::default() });
            }
        }
        for (name, offset) in lanes.to_commit() {
            let of = plain.assigned.get(&name.partition).expect("nothing is committed of what others have");
            prop_assert_eq!(offset, of.open.first_key_value().map_or(of.end, |(first, _)| *first));
        }
    }
    // From here on everything works: whatever is still assigned is settled in the end.
    for Running { batch } in running.drain(..) {
        end(&mut lanes, &mut plain, batch, &[], now_ms);
    }
    let mut turns = 0;
    loop {
        while let Some(batch) = lanes.next(now_ms) {
            check_batch(&plain, &[], &batch)?;
            note_begun(&mut plain, &batch);
            let all = vec![true; batch.items.len()];
            end(&mut lanes, &mut plain, batch, &all, now_ms);
        }
        let Some(at_ms) = lanes.wakes_at_ms() else { break };
        prop_assert!(at_ms > now_ms, "it is not ready though its time has come");
        now_ms = at_ms;
        turns += 1;
        prop_assert!(turns < 10_000, "it never ends");
    }
    for (partition, of) in plain.assigned.iter().filter(|(_, of)| !of.is_withdrawn) {
        prop_assert!(of.open.is_empty(), "{partition}: {:?} were forgotten", of.open);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_record_overtakes_one_of_its_strand_none_is_forgotten_and_nothing_is_committed_over_one(
        by_key in any::<bool>(),
        lanes in 1usize..5,
        acts in prop::collection::vec(act(), 0..250),
    ) {
        // Two partitions are there from the start, the third comes and goes.
        let acts = [Act::Assign(0), Act::Assign(1)].into_iter().chain(acts).collect();
        play(if by_key { Order::Key } else { Order::Partition }, lanes, acts)?;
    }
}
