//! Where the system gives no memory, Rust ends the process; a plug-in must not do that to its host. So the library keeps a
//! reserve, which costs nothing while there is memory: enough to open a product, answer and close again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Opening a product takes about a tenth of it.
const SIZE: usize = 256 * 1024;
/// Tries to get the lock: it is held for a few instructions, but for ever in a child that was forked meanwhile.
const TRIES: usize = 1_000_000;

#[global_allocator]
static MEMORY: Memory = Memory::new();

/// The system's memory, and the reserve.
struct Memory {
    locked: AtomicBool,
    count: UnsafeCell<Count>,
    bytes: Bytes,
}

/// How far the reserve is given away: one block behind the other; all of it is free again when no block is out.
struct Count {
    used: usize,
    blocks: usize,
}

#[repr(align(64))]
struct Bytes(UnsafeCell<[u8; SIZE]>);

// SAFETY: the count is touched by whoever holds the lock alone, each of the bytes by whoever was given it.
unsafe impl Sync for Memory {}

impl Memory {
    const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            count: UnsafeCell::new(Count { used: 0, blocks: 0 }),
            bytes: Bytes(UnsafeCell::new([0; SIZE])),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Count) -> T) -> Option<T> {
        let take = || {
            std::hint::spin_loop();
            self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        if !(0..TRIES).any(|_| take()) {
            return None;
        }
        // SAFETY: the lock is ours until the store below, and `work` cannot get here again: it asks for no memory.
        let done = work(unsafe { &mut *self.count.get() });
        self.locked.store(false, Ordering::Release);
        Some(done)
    }

    fn begin(&self) -> *mut u8 {
        self.bytes.0.get().cast()
    }

    #[cold]
    fn take(&self, layout: Layout) -> *mut u8 {
        // Nothing in the library asks for a coarser alignment than the reserve has.
        if layout.align() > align_of::<Bytes>() {
            return null_mut();
        }
        self.with(|count| {
            let at = count.used.next_multiple_of(layout.align());
            let end = at.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            count.used = end;
            count.blocks += 1;
            // SAFETY: `at` is inside the bytes.
            Some(unsafe { self.begin().add(at) })
        })
        .flatten()
        .unwrap_or_default()
    }

    fn has(&self, block: *const u8) -> bool {
        (self.begin().addr()..self.begin().addr() + SIZE).contains(&block.addr())
    }

    #[cold]
    fn give(&self, block: *const u8, size: usize) {
        let _forked = self.with(|count| {
            count.blocks -= 1;
            let at = block.addr() - self.begin().addr();
            if count.blocks == 0 {
                count.used = 0;
            } else if at + size == count.used {
                count.used = at;
            }
        });
    }
}

// SAFETY: blocks are the system's, or parts of the reserve that belong to nobody else until they are given back; which of the
// two they are is told by their address. Nothing here unwinds. (Not inlined: a plug-in grows by each copy.)
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { self.take(layout) } else { block }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.has(block) {
            self.give(block, layout.size());
        } else {
            // SAFETY: it is the system's, and the caller's promise.
            unsafe { System.dealloc(block, layout) };
        }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = self.take(layout);
        if !block.is_null() {
            // SAFETY: the block is so long.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.has(block) {
            // SAFETY: it is the system's, and the caller's promise.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: the caller's promise: the alignment is one, and the new size fits.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are so long, and the new one is another; the old one is given up by the caller.
            unsafe {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_gives_each_byte_once_and_all_of_it_again() {
        let memory = Box::new(Memory::new());
        for round in 0..3 {
            let mut blocks: Vec<(*mut u8, Layout)> = Vec::new();
            for n in 0.. {
                let layout = Layout::from_size_align(1 + n % 3000, 1 << (n % 7)).unwrap();
                let block = memory.take(layout);
                if block.is_null() {
                    break;
                }
                assert!(memory.has(block) && block.addr().is_multiple_of(layout.align()));
                blocks.push((block, layout));
            }
            assert!(blocks.len() > 100, "{} blocks in round {round}", blocks.len());
            let mut places: Vec<_> = blocks.iter().map(|(block, l)| (block.addr(), l.size())).collect();
            places.sort_unstable();
            assert!(
                places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
                "two blocks share bytes"
            );
            for (block, layout) in blocks {
                memory.give(block, layout.size());
            }
        }
        // The last block given back is free at once.
        let layout = Layout::from_size_align(SIZE / 2, 1).unwrap();
        let kept = memory.take(Layout::from_size_align(1, 1).unwrap());
        for _ in 0..4 {
            let block = memory.take(layout);
            assert!(!block.is_null());
            memory.give(block, layout.size());
        }
        assert!(!kept.is_null() && memory.take(Layout::from_size_align(16, 128).unwrap()).is_null());
    }
}
