#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| viewcache_fuzz::properties::cache_control(data));
