//! See `tulpar_fuzz::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::configuration(bytes);
});
