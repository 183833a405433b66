#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| viewcache_fuzz::properties::cookie_header(data));
