#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::wal::incremental_file(bytes));
