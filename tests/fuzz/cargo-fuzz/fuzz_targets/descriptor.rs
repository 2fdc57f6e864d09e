//! See `tulpar_fuzz::descriptor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::descriptor(bytes);
});
