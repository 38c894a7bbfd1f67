//! How archived files are compressed.

use super::*;

#[test]
fn what_is_not_available_is_refused_before_anything_is_touched() {
    for (option, words) in [
        (
            "compression = custom\ncustom_compression_filter = cat",
            "compression `custom` needs custom_compression_filter and custom_decompression_filter",
        ),
        (
            "encryption = gpg\nencryption_key_id = x",
            "encryption `gpg` is not yet available",
        ),
    ] {
        let bench = Bench::new(&format!("archiver = on\n{option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let error = bench.run().result.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((error.class(), error.exit_code()), (Class::Error, 1));
        assert!(error.hint().is_some());
        assert_eq!(bench.names("incoming"), [name(1)]);
        assert!(bench.names("wals").is_empty());
    }
}

#[test]
fn every_compression_stores_what_can_be_read() {
    for (option, format) in [
        ("gzip", Algorithm::Gzip),
        ("pygzip", Algorithm::Gzip),
        ("pigz", Algorithm::Gzip),
        ("bzip2", Algorithm::Bzip2),
        ("pybzip2", Algorithm::Bzip2),
        ("xz", Algorithm::Xz),
        ("zstd", Algorithm::Zstd),
        ("lz4", Algorithm::Lz4),
        ("snappy", Algorithm::Snappy),
    ] {
        let bench = Bench::new(&format!("archiver = on\ncompression = {option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        bench.put("incoming/00000002.history", b"1\t0/400100\tno reason\n");
        assert_eq!(bench.run().report().archived, 2, "{option}");
        let stored = fs::read(bench.at("wals/0000000100000000").join(name(1))).unwrap();
        assert_eq!(Algorithm::detect(&stored, None), Some(format));
        let mut plain = Vec::new();
        codec::decoder(format, stored.as_slice())
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        assert!(plain == segment(1, 1), "{option}");
        let listed = bench.catalogue();
        assert_eq!(
            listed
                .lines()
                .filter(|line| line.split('\t').nth(3) == Some(option))
                .count(),
            2,
            "{option}: {listed:?}"
        );

        // Sent again plain, or compressed in another way, it is the same file.
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        assert_eq!(bench.run().report().already_archived, 1, "{option}");
        let mut encoder = codec::encoder(Algorithm::Zstd, CodecLevel::High, Vec::new()).unwrap();
        encoder.write_all(&segment(1, 1)).unwrap();
        bench.put(&format!("incoming/{}", name(1)), &encoder.finish().unwrap());
        assert_eq!(bench.run().report().already_archived, 1, "{option}");
    }
}

#[test]
fn filters_of_the_user() {
    let options = "archiver = on\ncompression = custom\ncustom_compression_filter = tr '\\000-\\377' '\\200-\\377\\000-\\177'\ncustom_decompression_filter = tr '\\200-\\377\\000-\\177' '\\000-\\377'";
    let bench = Bench::new(options);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    assert_eq!(bench.run().report().archived, 1);
    let stored = fs::read(bench.at("wals/0000000100000000").join(name(1))).unwrap();
    assert!(stored != segment(1, 1) && stored.len() == segment(1, 1).len());
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    assert_eq!(bench.run().report().already_archived, 1);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 2));
    assert_eq!(bench.run().report().duplicates, 1);

    for (filter, words) in [
        (
            "echo no room >&2; exit 3",
            "custom_compression_filter failed with exit code 3: no room",
        ),
        ("cat > /dev/null", "custom_compression_filter gave nothing"),
        ("tac", "does not begin with custom_compression_magic"),
    ] {
        let bench = Bench::new(&format!(
            "archiver = on\ncompression = custom\ncustom_compression_filter = {filter}\ncustom_decompression_filter = cat\ncustom_compression_magic = 0xABCDEF"
        ));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let run = bench.run();
        assert!(
            run.lines.iter().any(|line| line.contains(words)),
            "{words}: {:?}",
            run.lines
        );
        assert_eq!(run.report().failed, 1);
        assert_eq!(bench.names("incoming"), [name(1)]);
        assert!(bench.listed().is_empty());
    }
}
