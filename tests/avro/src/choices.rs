//! Bytes as a list of choices: whoever runs out of them chooses the first.

/// Choices that are left.
pub(crate) struct Choices<'b> {
    left: &'b [u8],
}

impl<'b> Choices<'b> {
    pub(crate) fn of(left: &'b [u8]) -> Self {
        Self { left }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        *byte
    }

    /// 0 to `limit - 1`; `limit` is at most 256, or nothing above 256 is chosen.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// A place among so many, which may be more than a byte can tell.
    pub(crate) fn place(&mut self, limit: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % limit.max(1)
    }

    pub(crate) fn is_so(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Small ones more often than large ones.
    pub(crate) fn long(&mut self) -> i64 {
        match self.below(4) {
            0 => i64::from(self.byte() as i8),
            1 => i64::from(i16::from_le_bytes(self.array())),
            2 => i64::from(i32::from_le_bytes(self.array())),
            _ => i64::from_le_bytes(self.array()),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// At most 15 characters, some of which take more than a byte.
    pub(crate) fn text(&mut self) -> String {
        let length = self.below(16);
        (0..length)
            .map(|_| match self.byte() {
                byte @ ..0x80 => char::from(byte),
                byte @ ..0xF0 => char::from(byte),
                byte => ['é', '€', '𝄞', '\u{0}'][usize::from(byte & 3)],
            })
            .collect()
    }

    /// What is left, all of it.
    pub(crate) fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.left)
    }

    /// Changes bytes in up to four places: other values, taken away, put in between, cut off.
    pub(crate) fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.place(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.splice(at..(at + self.below(4)).min(bytes.len()), [])),
                2 => drop(bytes.splice(at..at, self.array::<3>())),
                // A number of many bytes where one of few was.
                3 => drop(bytes.splice(at..at, [0xFF; 9])),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.byte();
                    }
                }
            }
        }
    }
}
