//! See `tulpar_fuzz::publication`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::publication(bytes);
});
