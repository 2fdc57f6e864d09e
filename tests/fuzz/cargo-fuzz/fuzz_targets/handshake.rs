//! See `tulpar_fuzz::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tulpar_fuzz::handshake(bytes);
});
