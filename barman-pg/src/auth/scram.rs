//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with and without channel binding. It is written out here because
//! servers choose the number of rounds of hashing (`scram_iterations` of PostgreSQL 16): the library at hand refuses numbers
//! that libpq takes, and none of them can be interrupted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Without channel binding.
pub(super) const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// With it.
pub(super) const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Bytes of randomness in the nonce, as many as libpq has.
const NONCE: usize = 18;

/// After how many rounds of hashing is looked whether to go on: some milliseconds.
const ROUNDS: u32 = 4096;

type Key = Zeroizing<[u8; 32]>;

/// What the client says about channel binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// It cannot, or does not want to.
    Unsupported,
    /// It could have, and believes that the server cannot: a server that offered it sees that the offer was hidden.
    NotOffered,
    /// To the hash of the server's certificate (`tls-server-end-point`).
    Certificate(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::Certificate(_) => "p=tls-server-end-point,,",
        }
    }

    /// The header and the data, as they are sent and signed.
    fn encoded(&self) -> String {
        let mut bytes = self.header().as_bytes().to_vec();
        if let Self::Certificate(hash) = self {
            bytes.extend_from_slice(hash);
        }
        STANDARD.encode(bytes)
    }
}

/// An exchange that has begun.
pub(super) struct Scram {
    password: Zeroizing<Vec<u8>>,
    binding: Binding,
    nonce: String,
}

/// What the server must prove in its last message.
pub(super) struct Proof {
    server_key: Key,
    signed: String,
}

/// Why an exchange ends.
#[derive(Debug)]
pub(super) enum ScramFailure<E> {
    /// The server's message.
    Refused(String),
    /// The caller does not want to go on.
    Stopped(E),
}

impl<E> From<&str> for ScramFailure<E> {
    fn from(what: &str) -> Self {
        Self::Refused(what.to_owned())
    }
}

impl Scram {
    /// Prepares the password (SASLprep; one that it does not allow is taken as it is, as in PostgreSQL).
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new(password: &str, binding: Binding) -> Result<Self, std::io::Error> {
        let mut bytes = [0; NONCE];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self::with_nonce(password, binding, STANDARD.encode(bytes)))
    }

    fn with_nonce(password: &str, binding: Binding, nonce: String) -> Self {
        let prepared = stringprep::saslprep(password).map_or_else(|_| password.to_owned(), Into::into);
        Self {
            password: Zeroizing::new(prepared.into_bytes()),
            binding,
            nonce,
        }
    }

    /// Whether the session is bound to the server's certificate.
    pub(super) fn binds(&self) -> bool {
        matches!(self.binding, Binding::Certificate(_))
    }

    /// The client's first message. The role's name is that of the start-up packet.
    pub(super) fn first(&self) -> String {
        format!("{}{}", self.binding.header(), self.bare())
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first message, and what is to be expected of its last one. `go_on` is asked every few
    /// milliseconds.
    ///
    /// # Errors
    /// A message that is not one, one for another client, and those of `go_on`.
    pub(super) fn answer<E>(
        &self,
        message: &[u8],
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(String, Proof), ScramFailure<E>> {
        let malformed = "malformed SCRAM message";
        let message = std::str::from_utf8(message).map_err(|_| malformed)?;
        let mut parts = message.split(',');
        let mut part = |name: &str| parts.next()?.strip_prefix(name);
        let nonce = part("r=").ok_or("malformed SCRAM message (no nonce)")?;
        let salt = part("s=").ok_or("malformed SCRAM message (no salt)")?;
        let rounds = part("i=").ok_or("malformed SCRAM message (no iteration count)")?;
        if parts.next().is_some() {
            return Err("malformed SCRAM message (garbage at end of server-first-message)".into());
        }
        if !nonce.starts_with(&self.nonce) || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("invalid SCRAM response (nonce mismatch)".into());
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "malformed SCRAM message (invalid salt)")?;
        let rounds = Some(rounds)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u32>().ok())
            .filter(|rounds| (1..=i32::MAX.unsigned_abs()).contains(rounds))
            .ok_or("malformed SCRAM message (invalid iteration count)")?;

        let salted = salted_password(&self.password, &salt, rounds, go_on).map_err(ScramFailure::Stopped)?;
        let client_key = mac(&salted[..], b"Client Key");
        let server_key = mac(&salted[..], b"Server Key");
        let stored_key: [u8; 32] = Sha256::digest(&client_key[..]).into();
        let unproven = format!("c={},r={nonce}", self.binding.encoded());
        let signed = format!("{},{message},{unproven}", self.bare());
        let mut proof = mac(&stored_key, signed.as_bytes());
        for (byte, key) in proof.iter_mut().zip(client_key.iter()) {
            *byte ^= key;
        }
        let answer = format!("{unproven},p={}", STANDARD.encode(&proof[..]));
        Ok((answer, Proof { server_key, signed }))
    }
}

impl Proof {
    /// Looks whether the server knows the password, too.
    ///
    /// # Errors
    /// It could not prove that, or says that it does not accept ours.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), String> {
        let message = std::str::from_utf8(message).map_err(|_| "malformed SCRAM message")?;
        if let Some(error) = message.strip_prefix("e=") {
            return Err(format!("error received from server in SCRAM exchange: {error}"));
        }
        let signature = message
            .strip_prefix("v=")
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or("malformed SCRAM message (invalid server signature)")?;
        let mut expected = keyed(&self.server_key[..]);
        expected.update(self.signed.as_bytes());
        expected
            .verify_slice(&signature)
            .map_err(|_| "incorrect server signature".to_owned())
    }
}

/// `Hi` of RFC 5802.
fn salted_password<E>(
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<Key, E> {
    let keyed = keyed(password);
    let mut first = keyed.clone();
    first.update(salt);
    first.update(&1_u32.to_be_bytes());
    let mut last: Key = Zeroizing::new(first.finalize().into_bytes().into());
    let mut sum = last.clone();
    for round in 1..rounds {
        if round % ROUNDS == 0 {
            go_on()?;
        }
        let mut next = keyed.clone();
        next.update(&last[..]);
        *last = next.finalize().into_bytes().into();
        for (sum, last) in sum.iter_mut().zip(last.iter()) {
            *sum ^= last;
        }
    }
    Ok(sum)
}

fn mac(key: &[u8], text: &[u8]) -> Key {
    let mut mac = keyed(key);
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// A key that is longer than a block of the hash is hashed first (RFC 2104).
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    let hash: [u8; 32];
    let key = if key.len() > block.len() {
        hash = Sha256::digest(key).into();
        &hash
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn answer(scram: &Scram, message: &str) -> Result<(String, Proof), String> {
        let going = || Ok::<(), Infallible>(());
        scram
            .answer(message.as_bytes(), going)
            .map_err(|failure| match failure {
                ScramFailure::Refused(why) => why,
                ScramFailure::Stopped(never) => match never {},
            })
    }

    /// The example of RFC 7677 without its name, which PostgreSQL leaves empty; proofs as Python's `hashlib` and `hmac`
    /// compute them.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn pencil(binding: Binding) -> Scram {
        Scram::with_nonce("pencil", binding, NONCE.to_owned())
    }

    #[test]
    fn the_exchange_is_that_of_the_standard() {
        for (binding, first, proof, last) in [
            (
                Binding::Unsupported,
                "n,,n=,r=rOprNGfwEbeRWgbNEkqO",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=",
                "v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=",
            ),
            (
                Binding::Certificate(b"hash".to_vec()),
                "p=tls-server-end-point,,n=,r=rOprNGfwEbeRWgbNEkqO",
                "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=PQ32zsbW0V2kQaTumoyGg220NMxJBYBQ+gBt0L+C6jI=",
                "v=hR7CsWQjwnMscDnqNrbjkW2E7TuXp+VhNM1r6+x49cc=",
            ),
        ] {
            let scram = pencil(binding);
            assert_eq!(scram.first(), first);
            let (said, expected) = answer(&scram, SERVER).unwrap();
            assert_eq!(said, proof);
            assert_eq!(expected.check(last.as_bytes()), Ok(()));
            for wrong in [
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "v=3HO6",
                "v=",
                "v=!",
                "",
                "e=other-error",
            ] {
                assert!(expected.check(wrong.as_bytes()).is_err(), "{wrong}");
            }
        }
        assert_eq!(
            pencil(Binding::NotOffered).first(),
            "y,,n=,r=rOprNGfwEbeRWgbNEkqO"
        );
    }

    #[test]
    fn messages_that_are_none_are_refused() {
        for (message, why) in [
            ("", "no nonce"),
            ("r=other,s=c2FsdA==,i=4096", "nonce mismatch"),
            ("r=rOprNGfwEbeRWgbNEkq,s=c2FsdA==,i=4096", "nonce mismatch"),
            ("r=rOprNGfwEbeRWgbNEkqO\u{e9},s=c2FsdA==,i=4096", "nonce mismatch"),
            ("m=x,r=rOprNGfwEbeRWgbNEkqO,s=c2FsdA==,i=4096", "no nonce"),
            ("r=rOprNGfwEbeRWgbNEkqO1", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA=,i=1", "invalid salt"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==", "no iteration count"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==,i=", "invalid iteration count"),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==,i=0",
                "invalid iteration count",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==,i=+1",
                "invalid iteration count",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==,i=2147483648",
                "invalid iteration count",
            ),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=c2FsdA==,i=1,x=1", "garbage at end"),
        ] {
            let told = answer(&pencil(Binding::Unsupported), message).err().unwrap();
            assert!(told.contains(why), "{message}: {told}");
        }
    }

    #[test]
    fn any_number_of_rounds_can_be_stopped() {
        let scram = pencil(Binding::Unsupported);
        let mut asked = 0;
        let message = format!("r={NONCE}1,s=c2FsdA==,i={}", i32::MAX);
        let outcome = scram.answer(message.as_bytes(), || {
            asked += 1;
            if asked == 3 { Err("enough") } else { Ok(()) }
        });
        assert!(matches!(outcome, Err(ScramFailure::Stopped("enough"))));
    }

    #[test]
    fn keys_of_any_length_are_taken() {
        // Test cases 1, 2 and 6 of RFC 4231.
        let start = |key: &[u8], text: &[u8]| u32::from_be_bytes(*mac(key, text).first_chunk::<4>().unwrap());
        assert_eq!(start(&[0x0b; 20], b"Hi There"), 0xb034_4c61);
        assert_eq!(start(b"Jefe", b"what do ya want for nothing?"), 0x5bdc_c146);
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(start(&[0xaa; 131], long), 0x60e4_3159);
    }

    #[test]
    fn two_exchanges_have_different_nonces() {
        let nonce = || Scram::new("x", Binding::Unsupported).unwrap().nonce;
        assert_ne!(nonce(), nonce());
        assert_eq!(nonce().len(), 24);
    }

    #[test]
    fn passwords_are_prepared() {
        // As PostgreSQL does: a soft hyphen vanishes, a ligature is taken apart, what is not allowed stays as it is.
        for (password, prepared) in [("I\u{ad}X", "IX"), ("\u{fb01}", "fi"), ("a\u{7}", "a\u{7}")] {
            let scram = Scram::with_nonce(password, Binding::Unsupported, String::new());
            assert_eq!(*scram.password, prepared.as_bytes());
        }
    }
}
