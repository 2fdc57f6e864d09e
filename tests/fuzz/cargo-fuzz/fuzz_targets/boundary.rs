//! See `tulpar_fuzz::boundary`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::boundary(bytes);
});
