//! What a binary tells its allocator.

/// Has glibc's allocator keep the memory of fetched batches; for a binary to call first, before it makes a thread. Whether it
/// was done: other C libraries and systems have no such thresholds, and a binary with an allocator of its own needs none.
///
/// librdkafka's buffers, of fetched and of decompressed batches, have 1–10 MB. glibc maps what is that large from the kernel
/// and gives it back at once, again and again: page faults then cost more than consuming. Measured with one partition: 0.46–0.56
/// of the ceiling at twice the CPU without, 1.0 and more with these thresholds.
///
/// | threshold | value | why |
/// |---|---|---|
/// | `M_MMAP_THRESHOLD` | 32 MB, glibc's greatest | buffers come from the heap, and stay there |
/// | `M_TRIM_THRESHOLD` | `keep_bytes` | the heap's end is given back above that alone; 256 MB was measured, a container of 512 MB takes 64 MB |
pub fn keep_fetched_memory(keep_bytes: usize) -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use crate::native::{AllocatorParameter, set_allocator};
        let keep = i32::try_from(keep_bytes).unwrap_or(i32::MAX);
        set_allocator(AllocatorParameter::MapAbove, 32 << 20) && set_allocator(AllocatorParameter::KeepBelow, keep)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = keep_bytes;
        false
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    #[test]
    fn glibc_accepts_the_thresholds() {
        assert!(super::keep_fetched_memory(64 << 20));
    }
}
