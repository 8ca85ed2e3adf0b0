//! Who may change the logic: pinned digests, and signatures of trusted keys in minisign's format. Checked before
//! anything reads a component's insides.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};

/// What a component must have. Nothing, when there are neither keys nor pins.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<Key>,
    pins: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Key {
    id: KeyId,
    key: PublicKey,
}

/// Why a key or a pin cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("{0:?} is no SHA-256: it must be 64 hexadecimal digits (sha256sum NEW.wasm, or host inspect)")]
    Pin(String),
    #[error("{0:?} is neither a minisign public key (56 characters, beginning with RW) nor a file that holds one")]
    Key(String),
    #[error("the public key file {path} cannot be read: {reason}")]
    KeyFile { path: String, reason: String },
    #[error("{path} is no minisign public key file (a comment, then 56 characters that begin with RW)")]
    NoKeyFile { path: String },
}

/// Why a component is not trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrusted {
    #[error("its digest is not pinned; pinned are: {}", .pinned.join(", "))]
    NotPinned { pinned: Vec<String> },
    #[error(
        "it has no signature beside it: a trusted key is set, so it needs NEW.wasm{}",
        super::candidate::SIGNATURE_SUFFIX
    )]
    NotSigned,
    #[error("its signature cannot be read (cut off, or not in minisign's format): make it anew with minisign -S")]
    Malformed,
    #[error("its signature is of minisign's old kind, which is not taken: sign it again without -l")]
    OldKind,
    #[error("it is signed by another key ({signer}); trusted: {}", .trusted.join(", "))]
    OtherKey { signer: String, trusted: Vec<String> },
    #[error("its signature by key {signer} is not over these bytes: the component or the signature was changed")]
    OtherBytes { signer: String },
}

impl Trust {
    /// Reads keys (a minisign public key in Base64, or the path of a file that holds one) and pins (SHA-256,
    /// hexadecimal).
    pub fn new(trusted_keys: &[String], pins: &[String]) -> Result<Self, TrustError> {
        Ok(Self {
            keys: trusted_keys.iter().map(|text| read_key(text)).collect::<Result<_, _>>()?,
            pins: pins.iter().map(|text| read_pin(text)).collect::<Result<_, _>>()?,
        })
    }

    /// Checks a component: its digest when there are pins, and its signature when there are keys.
    pub fn check(&self, digest: &str, bytes: &[u8], signature: Option<&str>) -> Result<(), Distrusted> {
        if !self.pins.is_empty() && !self.pins.contains(digest) {
            return Err(Distrusted::NotPinned { pinned: self.pins.iter().cloned().collect() });
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        let text = signature.ok_or(Distrusted::NotSigned)?;
        let signature = Signature::decode(text).map_err(|_| Distrusted::Malformed)?;
        // The library keeps the key's id to itself.
        let signer = text.lines().nth(1).and_then(KeyId::of).ok_or(Distrusted::Malformed)?;
        let mut verdict = Distrusted::OtherKey {
            signer: signer.to_string(),
            trusted: self.keys.iter().map(|key| key.id.to_string()).collect(),
        };
        // An id is no proof: two keys may have the same one.
        for trusted in self.keys.iter().filter(|trusted| trusted.id == signer) {
            let allow_old_kind = false;
            match trusted.key.verify(bytes, &signature, allow_old_kind) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedAlgorithm) => verdict = Distrusted::OldKind,
                Err(_) => verdict = Distrusted::OtherBytes { signer: signer.to_string() },
            }
        }
        Err(verdict)
    }
}

/// A key's id, written as minisign does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyId(u64);

impl KeyId {
    /// Of a key or of a signature: both begin with two bytes for the algorithm and eight for the id.
    fn of(base64: &str) -> Option<Self> {
        let bytes = STANDARD.decode(base64.trim()).ok()?;
        Some(Self(u64::from_le_bytes(bytes.get(2..10)?.try_into().ok()?)))
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

fn read_pin(text: &str) -> Result<String, TrustError> {
    let pin = text.trim().to_ascii_lowercase();
    match pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(pin),
        false => Err(TrustError::Pin(text.to_owned())),
    }
}

fn read_key(text: &str) -> Result<Key, TrustError> {
    let text = text.trim();
    if let Some(key) = decode_key(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    // What looks like a path is told what is wrong with the file; anything else is a mistyped key.
    if !path.exists() && !text.ends_with(".pub") {
        return Err(TrustError::Key(text.to_owned()));
    }
    let file = std::fs::read_to_string(path)
        .map_err(|error| TrustError::KeyFile { path: text.to_owned(), reason: error.to_string() })?;
    let key = file.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
    key.and_then(decode_key).ok_or_else(|| TrustError::NoKeyFile { path: text.to_owned() })
}

fn decode_key(text: &str) -> Option<Key> {
    Some(Key { id: KeyId::of(text)?, key: PublicKey::from_base64(text).ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::digest_of;
    use minisign::KeyPair;
    use std::io::Cursor;

    const BYTES: &[u8] = b"as good as a component";

    fn key() -> (KeyPair, String) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let public = pair.pk.to_base64();
        (pair, public)
    }

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None).unwrap().into_string()
    }

    fn trust(keys: &[&String], pins: &[&str]) -> Trust {
        let keys: Vec<String> = keys.iter().map(|&key| key.clone()).collect();
        let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
        Trust::new(&keys, &pins).unwrap()
    }

    fn check(trust: &Trust, bytes: &[u8], signature: Option<&str>) -> Result<(), Distrusted> {
        trust.check(&digest_of(bytes), bytes, signature)
    }

    #[test]
    fn a_signature_of_a_trusted_key_is_enough() {
        let ((mine, public), (_, other)) = (key(), key());
        let signature = sign(&mine, BYTES);
        assert_eq!(check(&trust(&[&other, &public], &[]), BYTES, Some(&signature)), Ok(()));
        // As it looks on a disk of Windows.
        assert_eq!(check(&trust(&[&public], &[]), BYTES, Some(&signature.replace('\n', "\r\n"))), Ok(()));
    }

    #[test]
    fn who_trusts_a_key_needs_a_signature() {
        let error = check(&trust(&[&key().1], &[]), BYTES, None).unwrap_err();
        assert!(error.to_string().contains("needs NEW.wasm.minisig"), "{error}");
        assert_eq!(check(&trust(&[], &[]), BYTES, None), Ok(()));
    }

    #[test]
    fn another_key_is_named_by_its_id() {
        let ((mine, public), (other, _)) = (key(), key());
        let error = check(&trust(&[&public], &[]), BYTES, Some(&sign(&other, BYTES))).unwrap_err();
        let id = |pair: &KeyPair| KeyId::of(&pair.pk.to_base64()).unwrap().to_string();
        assert_eq!(error, Distrusted::OtherKey { signer: id(&other), trusted: vec![id(&mine)] });
        // The id as minisign prints it, in the comment of the key's file.
        let comment = mine.pk.to_box().unwrap().into_string();
        assert!(comment.contains(&id(&mine)), "{comment}");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (mine, public) = key();
        let (trust, signature) = (trust(&[&public], &[]), sign(&mine, BYTES));
        for place in 0..BYTES.len() {
            let mut bytes = BYTES.to_vec();
            *bytes.get_mut(place).unwrap() ^= 1;
            let error = check(&trust, &bytes, Some(&signature)).unwrap_err();
            assert!(matches!(error, Distrusted::OtherBytes { .. }), "{place}: {error}");
        }
        // Neither can a signature be given another comment.
        let renamed = signature.replace("trusted comment: ", "trusted comment: x");
        assert!(matches!(check(&trust, BYTES, Some(&renamed)), Err(Distrusted::OtherBytes { .. })));
    }

    #[test]
    fn a_signature_file_that_is_cut_off_anywhere_signs_nothing() {
        let (mine, public) = key();
        let (trust, signature) = (trust(&[&public], &[]), sign(&mine, BYTES));
        for length in 0..signature.trim_end().len() {
            let cut = signature.get(..length).unwrap();
            assert!(check(&trust, BYTES, Some(cut)).is_err(), "{cut}");
        }
        assert_eq!(check(&trust, BYTES, Some("hello\n")), Err(Distrusted::Malformed));
    }

    #[test]
    fn only_pinned_digests_are_taken() {
        let digest = digest_of(BYTES);
        let pinned = trust(&[], &[&digest.to_uppercase()]);
        assert_eq!(check(&pinned, BYTES, None), Ok(()));
        assert_eq!(check(&pinned, b"other", None), Err(Distrusted::NotPinned { pinned: vec![digest] }));
    }

    #[test]
    fn with_keys_and_pins_both_are_needed() {
        let (mine, public) = key();
        let both = trust(&[&public], &[&digest_of(BYTES)]);
        assert_eq!(check(&both, BYTES, Some(&sign(&mine, BYTES))), Ok(()));
        assert_eq!(check(&both, BYTES, None), Err(Distrusted::NotSigned));
        assert!(matches!(check(&both, b"other", Some(&sign(&mine, b"other"))), Err(Distrusted::NotPinned { .. })));
    }

    #[test]
    fn keys_and_pins_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (file, empty) = (folder.path().join("mine.pub"), folder.path().join("empty.pub"));
        let (mine, public) = key();
        std::fs::write(&file, mine.pk.to_box().unwrap().into_string()).unwrap();
        std::fs::write(&empty, "").unwrap();
        let named = |path: &Path| path.display().to_string();
        assert_eq!(check(&trust(&[&named(&file)], &[]), BYTES, Some(&sign(&mine, BYTES))), Ok(()));

        let refused = |key: &str| Trust::new(&[key.to_owned()], &[]).unwrap_err();
        assert!(matches!(refused(&named(&empty)), TrustError::NoKeyFile { .. }));
        assert!(matches!(refused(&named(&folder.path().join("none.pub"))), TrustError::KeyFile { .. }));
        for text in ["", "hello", public.get(..50).unwrap()] {
            assert!(matches!(refused(text), TrustError::Key(_)), "{text}");
        }
        for pin in ["", "abc", &"g".repeat(64), &"a".repeat(63)] {
            assert_eq!(Trust::new(&[], &[pin.to_owned()]).unwrap_err(), TrustError::Pin(pin.to_owned()));
        }
    }
}
