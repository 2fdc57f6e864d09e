//! See `tulpar_fuzz::reader`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::reader(bytes);
});
