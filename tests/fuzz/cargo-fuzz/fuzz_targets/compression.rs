//! See `tulpar_fuzz::compression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::compression(bytes);
});
