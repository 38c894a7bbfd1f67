//! Certificates made with `openssl` as PostgreSQL's manual makes them ("Creating Certificates"), and in worse ways.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use testkit::Program;

/// A directory of keys (`<name>.key`) and certificates (`<name>.crt`).
pub(crate) struct Certificates {
    dir: PathBuf,
}

/// Server certificates by name. `intermediate-alone` is the one of `intermediate` without the certificate between it
/// and the root.
pub(crate) const SERVERS: [&str; 12] = [
    "manual",
    "version-1",
    "signed-version-1",
    "intermediate",
    "intermediate-alone",
    "address",
    "wildcard",
    "expired",
    "elsewhere",
    "ecdsa",
    "ed25519",
    "pss",
];

const RSA: &[&str] = &["-newkey", "rsa:2048"];

impl Certificates {
    pub(crate) fn make(dir: &Path) -> Self {
        let made = Self { dir: dir.to_owned() };
        for root in ["root", "other"] {
            made.self_signed(root, &format!("/CN={root}"));
        }
        made.signed(
            "between",
            "/CN=between",
            "root",
            RSA,
            Some("basicConstraints=CA:true"),
            30,
        );
        // `openssl req -new -x509 -days 365 -nodes -text -out server.crt -keyout server.key -subj "/CN=dbhost.yourdomain.com"`
        made.self_signed("manual", "/CN=localhost");
        made.request("version-1", "/CN=localhost", RSA);
        made.openssl(&[
            "x509",
            "-req",
            "-in",
            "version-1.csr",
            "-signkey",
            "version-1.key",
            "-days",
            "30",
            "-out",
            "version-1.crt",
        ]);
        made.signed("signed-version-1", "/CN=localhost", "root", RSA, None, 30);
        made.signed(
            "intermediate",
            "/CN=x",
            "between",
            RSA,
            Some("subjectAltName=DNS:elsewhere,DNS:localhost"),
            30,
        );
        std::fs::copy(made.key("intermediate"), made.key("intermediate-alone")).unwrap();
        std::fs::copy(
            made.certificate("intermediate"),
            made.certificate("intermediate-alone"),
        )
        .unwrap();
        let both = made.text("intermediate") + &made.text("between");
        std::fs::write(made.certificate("intermediate"), both).unwrap();
        made.signed(
            "address",
            "/CN=localhost",
            "root",
            RSA,
            Some("subjectAltName=IP:127.0.0.1"),
            30,
        );
        made.signed(
            "wildcard",
            "/CN=localhost",
            "root",
            RSA,
            Some("subjectAltName=DNS:*.pg.test"),
            30,
        );
        made.signed("expired", "/CN=localhost", "root", RSA, None, -1);
        made.signed("elsewhere", "/CN=elsewhere", "root", RSA, None, 30);
        made.signed(
            "ecdsa",
            "/CN=localhost",
            "root",
            &[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:secp384r1",
                "-sha384",
            ],
            None,
            30,
        );
        // Self-signed, because it is the signature that matters to channel binding.
        made.openssl(&[
            "req",
            "-new",
            "-x509",
            "-nodes",
            "-newkey",
            "ed25519",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "ed25519.key",
            "-out",
            "ed25519.crt",
        ]);
        made.openssl(&[
            "req",
            "-new",
            "-x509",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sha384",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "pss.key",
            "-out",
            "pss.crt",
        ]);

        made.signed("client", "/CN=cert", "root", RSA, None, 30);
        made.signed("stranger", "/CN=cert", "other", RSA, None, 30);
        made.openssl(&[
            "rsa",
            "-aes256",
            "-passout",
            "pass:secret",
            "-in",
            "client.key",
            "-out",
            "encrypted.key",
        ]);
        made.openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-outform",
            "DER",
            "-in",
            "client.key",
            "-out",
            "der.key",
        ]);
        std::fs::copy(made.key("client"), made.key("open")).unwrap();
        std::fs::copy(made.key("client"), made.key("group")).unwrap();
        std::fs::write(made.certificate("garbage"), "no certificate\n").unwrap();
        made.revoke("elsewhere");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let mode = match path.file_name().and_then(|name| name.to_str()).unwrap() {
                "open.key" => 0o644,
                // Allowed for files of root, which made these.
                "group.key" => 0o640,
                name if name.ends_with(".key") => 0o600,
                _ => 0o644,
            };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        made
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// The root's list of revoked certificates: the one of `elsewhere`.
    pub(crate) fn revocations(&self) -> PathBuf {
        self.dir.join("root.crl")
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.certificate(name)).unwrap()
    }

    fn openssl(&self, args: &[&str]) {
        let openssl = Program::new("/bin/sh")
            .arg("-c")
            .arg("cd \"$0\" && exec openssl \"$@\"")
            .arg(&self.dir);
        openssl.ok(args).unwrap();
    }

    fn self_signed(&self, name: &str, subject: &str) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(&[
            "req",
            "-new",
            "-x509",
            "-days",
            "365",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
    }

    fn request(&self, name: &str, subject: &str, kind: &[&str]) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let args = [
            "req", "-new", "-nodes", "-subj", subject, "-keyout", &key, "-out", &request,
        ];
        self.openssl(&[&args[..], kind].concat());
    }

    fn signed(&self, name: &str, subject: &str, by: &str, kind: &[&str], extension: Option<&str>, days: i32) {
        self.request(name, subject, kind);
        let paths = [
            format!("{name}.csr"),
            format!("{by}.crt"),
            format!("{by}.key"),
            format!("{name}.crt"),
        ];
        let [request, issuer, key, certificate] = paths.each_ref().map(String::as_str);
        let (days, digest) = (
            days.to_string(),
            if name == "ecdsa" { "-sha384" } else { "-sha256" },
        );
        let mut args = vec![
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            issuer,
            "-CAkey",
            key,
            "-CAcreateserial",
            "-days",
            &days,
            digest,
            "-out",
            certificate,
        ];
        if let Some(extension) = extension {
            std::fs::write(self.dir.join("extension"), extension).unwrap();
            args.extend(["-extfile", "extension"]);
        }
        self.openssl(&args);
    }

    fn revoke(&self, name: &str) {
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=number\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=30\n\
            certificate=root.crt\nprivate_key=root.key\n";
        for (file, text) in [("ca.conf", config), ("index", ""), ("crlnumber", "01\n")] {
            std::fs::write(self.dir.join(file), text).unwrap();
        }
        self.openssl(&["ca", "-config", "ca.conf", "-revoke", &format!("{name}.crt")]);
        self.openssl(&["ca", "-config", "ca.conf", "-gencrl", "-out", "root.crl"]);
    }
}
