//! The memory of a guest whose client is quiet, kept as what of it is not as it was at first. An
//! idle connection then holds a few hundred bytes of it rather than half a dozen of the kernel's
//! pages, and the page tables that lead to them.

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

use super::super::snapshot::{PAGE, Snapshot};

/// What is compared, and kept, at a time.
const LINE: usize = 64;

/// A guest's memory, packed. It has to be [unpacked](Self::unpack) before the guest goes on.
pub(super) struct Hibernated {
    /// The numbers of the lines that are kept.
    numbers: Box<[u32]>,
    lines: Box<[u8]>,
}

impl Hibernated {
    /// Packs `memory`, all of a guest's, and gives its pages back to the kernel. `first` is what it
    /// began with.
    ///
    /// A private mapping of nothing, as the pool's are, reads as zeros from here on.
    pub(super) fn pack(memory: &mut [u8], first: &Snapshot) -> Self {
        let (mut numbers, mut lines) = (Vec::new(), Vec::new());
        for (page, bytes) in memory.chunks(PAGE).enumerate() {
            if first.has(bytes, page * PAGE) {
                continue;
            }
            for (line, bytes) in bytes.chunks(LINE).enumerate() {
                let at = page * PAGE + line * LINE;
                if !first.has(bytes, at) {
                    // Memory that is packed is of 512 KiB at most.
                    numbers.push((at / LINE) as u32);
                    lines.extend_from_slice(bytes);
                }
            }
        }
        // The kernel gives back whole pages of its own, which no other memory may have a part of.
        let whole = memory.len() - memory.len() % page_size();
        // Where the kernel keeps the pages, nothing is lost but memory: they are written over.
        #[expect(unsafe_code, reason = "no safe call gives pages back that stay mapped")]
        // SAFETY: the range is within this slice, which nobody else can look at; the kernel refuses
        // one that does not begin at a page, and it ends at one. What it reads as from here on, be
        // it zeros or what a file has, is as if it had been written.
        let _ = unsafe { madvise(memory.as_mut_ptr().cast(), whole, Advice::LinuxDontNeed) };
        Self { numbers: numbers.into(), lines: lines.into() }
    }

    /// Makes `memory` what it was.
    pub(super) fn unpack(&self, memory: &mut [u8], first: &Snapshot) {
        first.put_back(memory);
        for (number, line) in self.numbers.iter().zip(self.lines.chunks(LINE)) {
            memory[*number as usize * LINE..][..line.len()].copy_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_as_it_was() {
        const LENGTH: usize = 128 << 10;
        let mut mapped = vec![0; LENGTH + PAGE];
        let begin = mapped.as_ptr().align_offset(PAGE);
        let memory = &mut mapped[begin..][..LENGTH];
        let first: Vec<u8> = (0..42_698_u32).map(|n| if n < 32_768 { 0 } else { n as u8 | 1 }).collect();
        let mut random = fastrand::Rng::with_seed(2026);
        for round in 0..50 {
            memory.fill(0);
            memory[..first.len()].copy_from_slice(&first);
            let image = Snapshot::of(memory);
            for _ in 0..random.usize(..60) {
                let at = random.usize(..LENGTH - 100);
                memory[at..][..random.usize(..100)].fill(random.u8(..));
            }
            let before = memory.to_vec();
            let packed = Hibernated::pack(memory, &image);
            assert!(memory.iter().all(|byte| *byte == 0), "its pages are gone");
            assert!(packed.lines.len() < 60 * 192, "{}", packed.lines.len());
            packed.unpack(memory, &image);
            assert!(*memory == before, "round {round}");
        }
    }
}
