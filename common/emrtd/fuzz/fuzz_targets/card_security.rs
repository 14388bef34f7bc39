#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| proofmill_emrtd::fuzzing::card_security(data));
