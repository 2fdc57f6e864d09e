//! See `tulpar_fuzz::section`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::section(bytes);
});
