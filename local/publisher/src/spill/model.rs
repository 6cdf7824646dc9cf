//! A spill file in memory that is killed, loses its power or is full, at any write.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Medium;

/// What a disk holds, whoever has it open.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// As of the last time that it was made durable.
    durable: Vec<u8>,
    /// So many more calls that change something succeed; then the process is killed in the middle of one.
    fuel: Option<u64>,
    is_dead: bool,
    room: Option<usize>,
    /// Which part of the last write is there.
    torn: usize,
    calls: u64,
}

impl Disk {
    /// The process is killed in so many calls, in the middle of a write after that many of its bytes.
    pub(crate) fn kill_after(&self, calls: u64, torn: usize) {
        let mut state = self.0.lock();
        (state.fuel, state.torn) = (Some(calls), torn);
    }

    /// Killed by now.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().is_dead
    }

    /// How many calls changed something, or tried.
    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// The disk has room for so many bytes.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.0.lock().room = room;
    }

    /// Another process opens it. Where the machine ended, what was not durable is gone.
    pub(crate) fn reopened(&self, has_lost_power: bool) -> Self {
        let state = self.0.lock();
        let bytes = if has_lost_power { state.durable.clone() } else { state.bytes.clone() };
        Self(Arc::new(Mutex::new(State { durable: bytes.clone(), bytes, ..State::default() })))
    }

    /// What is there.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    /// Changes what is there.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.0.lock().bytes);
    }
}

fn killed() -> io::Error {
    io::Error::other("killed")
}

impl State {
    /// Whether the call is done; an error where it is not even begun; false where the process ends in the middle of it.
    fn burn(&mut self) -> io::Result<bool> {
        self.calls += 1;
        if self.is_dead {
            return Err(killed());
        }
        match &mut self.fuel {
            Some(0) => {
                self.is_dead = true;
                Ok(false)
            }
            Some(fuel) => {
                *fuel -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Medium for Disk {
    fn length(&mut self) -> io::Result<u64> {
        let state = self.0.lock();
        if state.is_dead { Err(killed()) } else { Ok(state.bytes.len() as u64) }
    }

    fn read(&mut self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        if state.is_dead {
            return Err(killed());
        }
        let rest = state.bytes.get(at as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(most)].to_vec())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let at = at as usize;
        if !state.burn()? {
            let torn = state.torn.min(bytes.len());
            state.put(at, &bytes[..torn]);
            return Err(killed());
        }
        if let Some(room) = state.room.filter(|room| at + bytes.len() > *room) {
            state.put(at, &bytes[..room.saturating_sub(at).min(bytes.len())]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.put(at, bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.burn()? {
            return Err(killed());
        }
        state.durable = state.bytes.clone();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.burn()? {
            return Err(killed());
        }
        state.bytes.truncate(length as usize);
        Ok(())
    }

    fn keep(&mut self, head: &[u8], from: u64, to: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.burn()? {
            return Err(killed());
        }
        let kept = [head, &state.bytes[from as usize..to as usize]].concat();
        (state.bytes, state.durable) = (kept.clone(), kept);
        Ok(())
    }
}
