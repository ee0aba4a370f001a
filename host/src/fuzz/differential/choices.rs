//! Choices that bytes make: a fuzzer's, or those that a seed decides.

/// What is left of the bytes. Once they are used up, each choice is the first.
pub(super) struct Choices<'a>(&'a [u8]);

/// Numbers at whose sides something changes.
const NOTABLE: [u32; 14] =
    [0, 1, 2, 7, 8, 255, 4095, 4096, 65_535, 65_536, 65_537, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

impl<'a> Choices<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// From 0 to below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let wide = if end > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (wide | usize::from(self.byte())) % end
    }

    /// Once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        // Bytes that are used up say no.
        self.below(times) == times - 1
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    pub(super) fn u32(&mut self) -> u32 {
        if self.once_in(3) {
            return self.pick(&NOTABLE);
        }
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }
}
