#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::pg::base_backup_compressed(bytes));
