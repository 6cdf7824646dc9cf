use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Disk;
use super::*;

const MOST: u64 = 2_000;

fn open(disk: &Disk) -> (Spill, Found) {
    Spill::on(Box::new(disk.clone()), Path::new("spill"), MOST).unwrap_or_else(|error| panic!("{error}"))
}

fn record(number: u64) -> NewRecord {
    NewRecord { value: Some(number.to_string().into()), key: Some("k".into()), ..NewRecord::default() }
}

fn append(spill: &mut Spill, numbers: &[u64]) -> io::Result<usize> {
    let records: Vec<NewRecord> = numbers.iter().map(|number| record(*number)).collect();
    spill.append(records.iter().map(|record| ("t", record)), 1).map(|(count, _)| count)
}

fn values(events: &[Spilled]) -> Vec<u64> {
    let value = |of: &Spilled| std::str::from_utf8(of.record.value.as_ref().unwrap()).unwrap().parse().unwrap();
    events.iter().map(value).collect()
}

/// All that waits.
fn rest(spill: &mut Spill) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let read = spill.read(3, 1 << 20).unwrap();
        if read.is_empty() {
            return all;
        }
        all.extend(values(&read));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read(usize),
    Settle(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_usize..8).prop_map(Step::Append),
        (1_usize..8).prop_map(Step::Read),
        (1_usize..8).prop_map(Step::Settle)
    ]
}

/// What a process knows that uses the file.
#[derive(Default)]
struct Known {
    /// Events so far, appended or tried.
    next: u64,
    appended: Vec<u64>,
    /// The last of an append that failed: it may be there.
    doubtful: Vec<u64>,
    /// Number in the file and value.
    read: VecDeque<(u64, u64)>,
    read_so_far: usize,
    settled: usize,
    settling: usize,
}

impl Known {
    /// False once the process is killed.
    fn take(&mut self, step: &Step, spill: &mut Spill, disk: &Disk) -> bool {
        match step {
            Step::Append(count) => {
                let numbers: Vec<u64> = (self.next..self.next + *count as u64).collect();
                match append(spill, &numbers) {
                    Ok(count) => {
                        self.next += count as u64;
                        self.appended.extend(&numbers[..count]);
                    }
                    Err(_) => self.doubtful = numbers,
                }
            }
            Step::Read(count) => match spill.read(*count, 1 << 20) {
                Ok(events) => {
                    let expected = &self.appended[self.read_so_far..][..events.len()];
                    assert_eq!(values(&events), expected, "read in order");
                    self.read.extend(events.iter().map(|of| of.number).zip(values(&events)));
                    self.read_so_far += events.len();
                }
                Err(_) => assert!(disk.is_dead()),
            },
            Step::Settle(count) => {
                let count = (*count).min(self.read.len());
                let Some((number, _)) = self.read.drain(..count).next_back() else { return true };
                self.settling = self.settled + count;
                spill.settle(number);
                self.settled = self.settling;
            }
        }
        if !disk.is_dead() {
            assert_eq!(spill.count() as usize, self.appended.len() - self.settled);
            assert!(spill.bytes() <= MOST);
        }
        !disk.is_dead()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn killed_at_any_write_nothing_that_was_spilled_is_lost_or_out_of_order(
        steps in vec(step(), 1..60), calls in 0_u64..120, torn in 0_usize..400, has_lost_power in any::<bool>(),
        further in vec(step(), 0..20),
    ) {
        let disk = Disk::default();
        let (mut spill, _) = open(&disk);
        disk.kill_after(calls, torn);
        let mut known = Known::default();
        for step in &steps {
            if !known.take(step, &mut spill, &disk) {
                break;
            }
        }
        drop(spill);
        let disk = disk.reopened(has_lost_power);
        let (mut spill, found) = open(&disk);
        prop_assert_eq!(found.damaged_bytes, 0);
        let waits = rest(&mut spill);
        let all: Vec<u64> = known.appended.iter().chain(&known.doubtful).copied().collect();
        // A part without gaps, from what may have been settled to what was spilled or beyond.
        let begin = waits.first().map_or(all.len(), |first| all.iter().position(|of| of == first).expect("known"));
        prop_assert_eq!(&all[begin..][..waits.len()], &waits[..]);
        if !(waits.is_empty() && known.settling == known.appended.len()) {
            prop_assert!(begin <= known.settling, "lost: {:?} of {:?}, settled {}", waits, all, known.settling);
            prop_assert!(begin + waits.len() >= known.appended.len(), "lost at the end: {:?} of {:?}", waits, all);
        }
        // And it goes on.
        drop(spill);
        let (mut spill, _) = open(&disk);
        let mut then = Known { appended: waits, next: 10_000, ..Known::default() };
        for step in &further {
            prop_assert!(then.take(step, &mut spill, &disk));
        }
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_loses_nothing(steps in vec((step(), any::<bool>()), 1..60)) {
        let disk = Disk::default();
        let (mut spill, _) = open(&disk);
        let mut known = Known::default();
        for (step, is_full) in &steps {
            disk.set_room(is_full.then(|| spill.bytes() as usize + 40));
            known.take(step, &mut spill, &disk);
        }
        drop(spill);
        let (mut spill, found) = open(&disk.reopened(false));
        prop_assert_eq!(found, Found::default());
        let waits = rest(&mut spill);
        prop_assert_eq!(waits.last(), known.appended[known.settled..].last());
        prop_assert!(waits.len() >= known.appended.len() - known.settled);
    }
}

#[test]
fn a_tail_that_was_cut_is_dropped_and_told_and_what_comes_after_is_read() {
    let disk = Disk::default();
    let (mut spill, _) = open(&disk);
    append(&mut spill, &[1, 2]).unwrap();
    let whole = disk.bytes().len();
    append(&mut spill, &[3]).unwrap();
    for length in whole + 1..disk.bytes().len() {
        let disk = disk.reopened(false);
        disk.edit(|bytes| bytes.truncate(length));
        let (mut spill, found) = open(&disk);
        assert_eq!(found, Found { cut_bytes: (length - whole) as u64, damaged_bytes: 0 });
        append(&mut spill, &[4]).unwrap();
        assert_eq!(rest(&mut open(&disk).0), [1, 2, 4]);
    }
}

#[test]
fn damage_in_the_middle_costs_what_it_hits_and_no_more() {
    let disk = Disk::default();
    let (mut spill, _) = open(&disk);
    let mut ends = vec![disk.bytes().len()];
    for number in 1..=4 {
        append(&mut spill, &[number]).unwrap();
        ends.push(disk.bytes().len());
    }
    for at in ends[1]..ends[2] {
        let disk = disk.reopened(false);
        disk.edit(|bytes| bytes[at] ^= 0x55);
        let (mut spill, found) = open(&disk);
        assert_eq!((rest(&mut spill), found.damaged_bytes > 0, found.cut_bytes), (vec![1, 3, 4], true, 0), "byte {at}");
    }
}

#[test]
fn a_full_file_takes_what_fits_makes_room_of_what_is_settled_and_says_where_there_is_none() {
    let disk = Disk::default();
    let (mut spill, _) = open(&disk);
    let numbers: Vec<u64> = (0..100).collect();
    let first = append(&mut spill, &numbers).unwrap();
    assert!(first > 10 && first < 100);
    assert_eq!(append(&mut spill, &numbers[first..]).unwrap(), 0, "it is full");
    let read = spill.read(first - 5, 1 << 20).unwrap();
    spill.settle(read.last().unwrap().number);
    let more = append(&mut spill, &numbers[first..]).unwrap();
    assert!(more >= first / 2, "{more} of {first}");
    assert!(disk.bytes().len() as u64 <= MOST);
    assert_eq!(rest(&mut spill), numbers[first - 5..first + more]);
    let large = NewRecord { value: Some(vec![b'x'; MOST as usize].into()), ..NewRecord::default() };
    assert_eq!(spill.append([("t", &large)].into_iter(), 1).unwrap().0, 0, "it never fits");
}

#[test]
fn nothing_is_appended_where_less_than_the_least_fits() {
    let disk = Disk::default();
    let (mut spill, _) = open(&disk);
    let records: Vec<NewRecord> = (0..100).map(record).collect();
    let mut append = |least| spill.append(records.iter().map(|record| ("t", record)), least).unwrap().0;
    assert_eq!(append(100), 0);
    assert!(append(1) > 10);
}

#[test]
fn a_file_of_something_else_or_of_a_newer_release_is_left_as_it_is() {
    for (content, expected) in
        [("#!/bin/sh\nexit 0\nand more", "is no spill file"), ("LYCEUM SPILL 2\n\0", "newer release")]
    {
        let disk = Disk::default();
        disk.edit(|bytes| bytes.extend(content.as_bytes()));
        let error = Spill::on(Box::new(disk.clone()), Path::new("spill"), MOST).map(drop).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(disk.bytes(), content.as_bytes());
    }
}

#[test]
fn a_file_on_disk_is_read_by_the_next_process_and_by_no_other_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("of/events");
    let (mut spill, _) = Spill::open(&path, MOST).unwrap();
    append(&mut spill, &[1, 2, 3]).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "nobody else reads events");
    }
    let in_use = Spill::open(&path, MOST).map(drop).unwrap_err();
    assert!(matches!(&in_use, SpillError::InUse(of) if *of == path), "{in_use}");
    drop(spill);
    let (mut spill, _) = Spill::open(&path, MOST).unwrap();
    let read = spill.read(2, 1 << 20).unwrap();
    spill.settle(read[1].number);
    drop(spill);
    let (mut spill, found) = Spill::open(&path, MOST).unwrap();
    assert_eq!((found, rest(&mut spill)), (Found::default(), vec![3]));
    spill.compact().unwrap();
    drop(spill);
    let (mut spill, _) = Spill::open(&path, MOST).unwrap();
    assert_eq!(rest(&mut spill), [3]);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "the file and its lock");
    spill.settle(u64::MAX);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), HEAD_BYTES);
}
