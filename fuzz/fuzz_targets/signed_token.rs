#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    grantor_fuzz::signed_token::check(data);
});
