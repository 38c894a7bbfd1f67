use std::fs;

use super::super::calls::parse;
use super::*;
use crate::TestDir;

/// A place with one whole backup and one listed segment, as before a run.
fn before() -> (TestDir, Places) {
    let dir = TestDir::new().unwrap();
    for part in ["meta", "wals", "incoming"] {
        fs::create_dir_all(dir.join("main").join(part)).unwrap();
    }
    fs::write(dir.join("main/meta/b-backup.info"), "status=DONE\n").unwrap();
    fs::write(
        dir.join("main/wals/main-xlog.db"),
        format!("{}\t16\t1\tNone\n", segment(1)),
    )
    .unwrap();
    let places = Places {
        home: "/h".into(),
        before: Some(dir.path().to_owned()),
        ..Places::default()
    };
    (dir, places)
}

fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn broken(places: &Places, log: &str) -> Vec<&'static str> {
    let found = check(&parse(log), places);
    found.iter().map(|violation| violation.rule.name).collect()
}

#[test]
fn what_the_catalogue_keeps_is_not_written_over() {
    let (_dir, places) = before();
    let info = "/h/main/meta/b-backup.info";
    let db = "/h/main/wals/main-xlog.db";
    let open = |path: &str, flags: &str| format!("1 openat(AT_FDCWD</>, \"{path}\", {flags}) = 3<{path}>\n");
    let sync = |path: &str| format!("1 fsync(3<{path}>) = 0\n");
    let cases: [(&str, bool, String); 9] = [
        (
            "the first bytes",
            true,
            format!(
                "{}1 write(3<{info}>, \"x\", 1) = 1\n{}",
                open(info, "O_WRONLY"),
                sync(info)
            ),
        ),
        (
            "in the middle",
            true,
            format!(
                "{}1 pwrite64(3<{db}>, \"x\", 1, 8) = 1\n{}",
                open(db, "O_RDWR"),
                sync(db)
            ),
        ),
        (
            "without an open",
            true,
            format!(
                "1 pwritev(3<{db}>, [{{iov_base=\"x\", iov_len=1}}], 1, 8) = 1\n{}",
                sync(db)
            ),
        ),
        (
            "after a seek",
            true,
            format!(
                "{}1 lseek(3<{db}>, 4, SEEK_SET) = 4\n1 writev(3<{db}>, [{{iov_base=\"x\", iov_len=1}}], 1) = 1\n{}",
                open(db, "O_RDWR"),
                sync(db)
            ),
        ),
        (
            "a clone",
            true,
            format!(
                "{}1 ioctl(3<{info}>, BTRFS_IOC_CLONE or FICLONE, 4</x>) = 0\n{}",
                open(info, "O_RDWR"),
                sync(info)
            ),
        ),
        (
            "lines are added",
            false,
            format!(
                "{}1 write(3<{db}>, \"x\", 1) = 1\n{}",
                open(db, "O_RDWR|O_APPEND"),
                sync(db)
            ),
        ),
        (
            "lines are added after a seek",
            false,
            format!(
                "{}1 lseek(3<{db}>, 0, SEEK_END) = 36\n1 write(3<{db}>, \"x\", 1) = 1\n1 write(3<{db}>, \"y\", 1) = 1\n{}",
                open(db, "O_WRONLY"),
                sync(db)
            ),
        ),
        (
            "a new file",
            false,
            "1 openat(AT_FDCWD</>, \"/h/main/meta/c\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</h/main/meta/c>\n\
            1 write(3</h/main/meta/c>, \"x\", 1) = 1\n1 write(3</h/main/meta/c>, \"y\", 1) = 1\n\
            1 fsync(3</h/main/meta/c>) = 0\n1 fsync(4</h/main/meta>) = 0\n"
                .to_owned(),
        ),
        (
            "a temporary one",
            false,
            "1 openat(AT_FDCWD</>, \"/h/main/meta/.c\", O_RDWR|O_CREAT, 0600) = 3</h/main/meta/.c>\n\
            1 write(3</h/main/meta/.c>, \"xy\", 2) = 2\n1 pwrite64(3</h/main/meta/.c>, \"z\", 1, 0) = 1\n"
                .to_owned(),
        ),
    ];
    for (what, expected, log) in cases {
        let found = broken(&places, &log);
        assert_eq!(found == [IN_PLACE.name], expected, "{what}: {found:?}\n{log}");
        assert!(expected || found.is_empty(), "{what}: {found:?}");
    }
}

#[test]
fn lists_of_buffers_are_read_as_one_text() {
    let (_dir, places) = before();
    let two = segment(2);
    let listed = format!(
        "1 openat(AT_FDCWD</>, \"/h/main/wals/main-xlog.db\", O_RDWR|O_APPEND) = 3</h/main/wals/main-xlog.db>\n\
         1 writev(3</h/main/wals/main-xlog.db>, [{{iov_base=\"{two}\", iov_len=24}}, {{iov_base=\"\\t1\\n\", iov_len=3}}], 2) = 27\n\
         1 fsync(3</h/main/wals/main-xlog.db>) = 0\n"
    );
    assert_eq!(broken(&places, &listed), [LISTED.name]);
    let (data, info) = ("/h/main/base/c/data/f", "/h/main/meta/.c-backup.info");
    let whole = |synced: &str, status: &str| {
        format!(
            "1 openat(AT_FDCWD</>, \"{data}\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3<{data}>\n\
             1 write(3<{data}>, \"x\", 1) = 1\n{synced}\
             1 openat(AT_FDCWD</>, \"{info}\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 4<{info}>\n{status}\
             1 fsync(4<{info}>) = 0\n\
             1 rename(\"{info}\", \"/h/main/meta/c-backup.info\") = 0\n\
             1 fsync(5</h/main/meta>) = 0\n"
        )
    };
    let synced = format!("1 fsync(3<{data}>) = 0\n1 fsync(6</h/main/base/c/data>) = 0\n");
    let buffers = format!(
        "1 pwritev(4<{info}>, [{{iov_base=\"status=\", iov_len=7}}, {{iov_base=\"DONE\\n\", iov_len=5}}], 2, 0) = 12\n"
    );
    // First one status, then another in its place: what counts is what is there in the end.
    let replaced = format!(
        "1 write(4<{info}>, \"status=EMPTY\\n\", 13) = 13\n1 ftruncate(4<{info}>, 7) = 0\n\
         1 pwrite64(4<{info}>, \"DONE\\n\", 5, 7) = 5\n"
    );
    assert!(broken(&places, &whole(&synced, &buffers)).is_empty());
    assert!(broken(&places, &whole("", &buffers)).contains(&STATUS.name));
    assert!(broken(&places, &whole("", &replaced)).contains(&STATUS.name));
    let started = buffers.replace("DONE", "COPY");
    assert!(!broken(&places, &whole("", &started)).contains(&STATUS.name));
}

#[test]
fn every_way_to_tell_the_server_is_heard() {
    let (_dir, places) = before();
    let path = format!("/h/main/streaming/{}.partial", segment(1));
    let octal = |position: u64| {
        let bytes = position.to_be_bytes();
        bytes.map(|byte| format!("\\{byte:03o}")).concat()
    };
    let told = format!("d\\0\\0\\0\\46r{0}{0}{0}{1}\\0", octal((1 << 24) + 8), octal(0));
    let ways = [
        format!("sendto(4<socket:[7]>, \"{told}\", 39, MSG_NOSIGNAL, NULL, 0) = 39"),
        format!("write(4<socket:[7]>, \"{told}\", 39) = 39"),
        format!("writev(4<socket:[7]>, [{{iov_base=\"{told}\", iov_len=39}}], 1) = 39"),
        format!(
            "sendmsg(4<socket:[7]>, {{msg_name=NULL, msg_iov=[{{iov_base=\"{told}\", iov_len=39}}], msg_iovlen=1}}, 0) = 39"
        ),
    ];
    for way in ways {
        let log = |first: &str, then: &str| {
            format!(
                "1 openat(AT_FDCWD</>, \"{path}\", O_RDWR|O_CREAT, 0600) = 3<{path}>\n\
                 1 fsync(5</h/main/streaming>) = 0\n\
                 1 pwrite64(3<{path}>, \"x\", 1, 0) = 1\n1 {first}\n1 {then}\n"
            )
        };
        let sync = format!("fsync(3<{path}>) = 0");
        assert_eq!(broken(&places, &log(&way, &sync)), [ACKNOWLEDGED.name], "{way}");
        assert!(broken(&places, &log(&sync, &way)).is_empty(), "{way}");
    }
}

#[test]
fn what_a_record_cannot_show_is_said() {
    let (_dir, places) = before();
    let one = segment(1);
    let map = |protection: &str, kind: &str, path: &str| {
        format!("1 mmap(NULL, 4096, {protection}, {kind}, 3<{path}>, 0) = 0x7f0000000000\n")
    };
    let both = "PROT_READ|PROT_WRITE";
    let db = "/h/main/wals/main-xlog.db";
    let cases: [(&[&str], String); 8] = [
        (&[UNFOLLOWED.name], map(both, "MAP_SHARED", db)),
        (&[], map(both, "MAP_PRIVATE", db)),
        (&[], map("PROT_READ", "MAP_SHARED", db)),
        (&[], map(both, "MAP_SHARED", "/elsewhere")),
        (
            &[UNFOLLOWED.name],
            "1 io_uring_setup(8, {flags=0}) = 3<anon_inode:[io_uring]>\n".to_owned(),
        ),
        (
            &[],
            "1 io_uring_setup(8, {flags=0}) = -1 ENOSYS (Function not implemented)\n".to_owned(),
        ),
        (&[UNKNOWN.name], "1 rename(\".x\", \"x\") = 0\n".to_owned()),
        // As rsync does it: what it does is judged as if it had said the whole path.
        (
            &[SOURCE.name],
            format!(
                "1 chdir(\"/h/main\") = 0\n1 fork() = 2\n2 chdir(\"wals/../incoming\") = 0\n2 unlink(\"{one}\") = 0\n"
            ),
        ),
    ];
    let incoming = places.before.clone().unwrap().join("main/incoming").join(&one);
    fs::write(incoming, "x").unwrap();
    for (expected, log) in cases {
        assert_eq!(broken(&places, &log), expected, "{log}");
    }
}
