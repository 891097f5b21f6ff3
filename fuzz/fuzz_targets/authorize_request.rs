#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    grantor_fuzz::authorize_request::check(data);
});
