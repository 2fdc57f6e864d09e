//! Credentials as NATS gives them out: an operator that vouches for an account, which vouches for a user.

use std::fs;
use std::path::PathBuf;

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use tempfile::TempDir;

use crate::client::{Value, json};

/// Whose key it is, as the first letter of the key's text says: O, A or U.
#[derive(Clone, Copy)]
enum Kind {
    Operator = 14 << 3,
    Account = 0,
    User = 20 << 3,
}

/// A user of an account of an operator.
pub struct Credentials {
    folder: TempDir,
    lines: String,
}

impl Credentials {
    /// New ones.
    pub fn new() -> Self {
        let operator = Key::new(Kind::Operator);
        let [account, system] = [Kind::Account, Kind::Account].map(Key::new);
        let user = Key::new(Kind::User);
        let no_limits = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 });
        let of_account = json!({ "type": "account", "version": 2, "limits": no_limits });
        let of_operator =
            json!({ "type": "operator", "version": 2, "system_account": system.text() });
        let of_user = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
        let preload = [&account, &system].map(|it| {
            let said = operator.vouch(it, of_account.clone());
            format!("{}: {said}", it.text())
        });
        let lines = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}\n{} }}",
            operator.vouch(&operator, of_operator),
            system.text(),
            preload[0],
            preload[1],
        );
        let file = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            account.vouch(&user, of_user),
            user.seed(),
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let credentials = Self { folder, lines };
        fs::write(credentials.file(), file).expect("the file can be written");
        credentials
    }

    /// The lines of a NATS server that lets nobody else in.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// The file of the user.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("user.creds")
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new()
    }
}

struct Key {
    kind: Kind,
    pair: KeyPair,
}

impl Key {
    fn new(kind: Kind) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key can be made");
        Self { kind, pair }
    }

    fn text(&self) -> String {
        let bytes = [&[self.kind as u8], self.pair.der_bytes()].concat();
        checked(bytes)
    }

    fn seed(&self) -> String {
        let [seed, kind] = [18 << 3, self.kind as u8];
        // In the form of PKCS #8 it stands behind sixteen bytes that are always the same.
        let secret = &self.pair.serialized_der()[16..48];
        checked([&[seed | kind >> 5, (kind & 31) << 3], secret].concat())
    }

    /// What this one says of that other one, signed.
    fn vouch(&self, other: &Self, said: Value) -> String {
        let claims = json!({ "jti": "tests", "iat": 0, "iss": self.text(), "sub": other.text(), "name": "tests", "nats": said });
        let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let text = [head, claims].map(|it| in_digits(it.to_string().as_bytes(), 6, BASE_64));
        let text = text.join(".");
        let signature = self.pair.sign(text.as_bytes()).expect("it can be signed");
        format!("{text}.{}", in_digits(&signature, 6, BASE_64))
    }
}

const BASE_64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE_32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// With its checksum behind it, CRC-16/XMODEM, in letters.
fn checked(mut bytes: Vec<u8>) -> String {
    let checksum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| match sum >> 15 {
            0 => sum << 1,
            _ => sum << 1 ^ 0x1021,
        })
    });
    bytes.extend(checksum.to_le_bytes());
    in_digits(&bytes, 5, BASE_32)
}

/// Digits of so many bits, without anything to fill the last one up.
fn in_digits(bytes: &[u8], bits: usize, digits: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let digit = |first: usize| (first..first + bits).fold(0, |value, at| value << 1 | bit(at));
    let firsts = (0..bytes.len() * 8).step_by(bits);
    firsts
        .map(|first| char::from(digits[usize::from(digit(first))]))
        .collect()
}
