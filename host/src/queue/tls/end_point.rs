//! What a login is bound to: the hash of the server's certificate, by the hash function that the certificate is signed with
//! (RFC 5929, section 4.1).

use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierRef;
use spki::der::asn1::{AnyRef, ContextSpecific};
use spki::der::{Decode as _, Reader as _, Result, SliceReader, TagNumber};

/// The hash; where none is defined, what the certificate is signed with.
pub(super) fn end_point(certificate: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let algorithm = signature_algorithm(certificate).map_err(|_| "something that cannot be read".to_owned())?;
    let signed = algorithm.oid.to_string();
    let hash = match signed.as_str() {
        RSA_PSS => pss_hash(&algorithm).unwrap_or_else(|| SHA_1.to_owned()),
        _ => signed,
    };
    Ok(match hash.as_str() {
        // MD5 and SHA-1 are too weak: SHA-256 takes their place.
        MD5 | RSA_MD5 | SHA_1 | RSA_SHA_1 | ECDSA_SHA_1 | SHA_256 | RSA_SHA_256 | ECDSA_SHA_256 => {
            Sha256::digest(certificate).to_vec()
        }
        SHA_224 | RSA_SHA_224 | ECDSA_SHA_224 => Sha224::digest(certificate).to_vec(),
        SHA_384 | RSA_SHA_384 | ECDSA_SHA_384 => Sha384::digest(certificate).to_vec(),
        SHA_512 | RSA_SHA_512 | ECDSA_SHA_512 => Sha512::digest(certificate).to_vec(),
        // These hash as a part of signing, by a function that is not named.
        ED25519 => return Err("Ed25519".to_owned()),
        ED448 => return Err("Ed448".to_owned()),
        other => return Err(format!("algorithm {other}")),
    })
}

/// A certificate is what is signed, the algorithm, and the signature.
fn signature_algorithm(certificate: &[u8]) -> Result<AlgorithmIdentifierRef<'_>> {
    SliceReader::new(certificate)?.sequence(|fields| {
        AnyRef::decode(fields)?;
        let algorithm = AlgorithmIdentifierRef::decode(fields)?;
        AnyRef::decode(fields)?;
        Ok(algorithm)
    })
}

/// RSA-PSS names its hash function in its parameters; where it names none, it is SHA-1.
fn pss_hash(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<String> {
    let parameters = algorithm.parameters?;
    let mut fields = SliceReader::new(parameters.value()).ok()?;
    let hash = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(&mut fields, TagNumber::N0).ok()??;
    Some(hash.value.oid.to_string())
}

const MD5: &str = "1.2.840.113549.2.5";
const SHA_1: &str = "1.3.14.3.2.26";
const SHA_224: &str = "2.16.840.1.101.3.4.2.4";
const SHA_256: &str = "2.16.840.1.101.3.4.2.1";
const SHA_384: &str = "2.16.840.1.101.3.4.2.2";
const SHA_512: &str = "2.16.840.1.101.3.4.2.3";
const RSA_MD5: &str = "1.2.840.113549.1.1.4";
const RSA_SHA_1: &str = "1.2.840.113549.1.1.5";
const RSA_SHA_224: &str = "1.2.840.113549.1.1.14";
const RSA_SHA_256: &str = "1.2.840.113549.1.1.11";
const RSA_SHA_384: &str = "1.2.840.113549.1.1.12";
const RSA_SHA_512: &str = "1.2.840.113549.1.1.13";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const ECDSA_SHA_1: &str = "1.2.840.10045.4.1";
const ECDSA_SHA_224: &str = "1.2.840.10045.4.3.1";
const ECDSA_SHA_256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA_384: &str = "1.2.840.10045.4.3.3";
const ECDSA_SHA_512: &str = "1.2.840.10045.4.3.4";
const ED25519: &str = "1.3.101.112";
const ED448: &str = "1.3.101.113";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A certificate of nothing but its algorithm: a sequence of an empty sequence, the algorithm, and an empty bit string.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let fields = [&[0x30, 0][..], algorithm, &[0x03, 1, 0]].concat();
        [&[0x30, u8::try_from(fields.len()).unwrap()][..], &fields].concat()
    }

    #[test]
    fn weak_hashes_are_replaced_and_others_are_the_signatures_own() {
        // sha1WithRSAEncryption, ecdsa-with-SHA1; RSA-PSS with nothing in its parameters.
        let sha_1: [&[u8]; 3] = [
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00",
            b"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01",
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x00",
        ];
        for algorithm in sha_1 {
            let certificate = certificate(algorithm);
            assert_eq!(end_point(&certificate), Ok(Sha256::digest(&certificate).to_vec()));
        }
        // RSA-PSS whose parameters begin with SHA-512.
        let pss = b"\x30\x1c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x0f\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03";
        let certificate = certificate(pss);
        assert_eq!(end_point(&certificate), Ok(Sha512::digest(&certificate).to_vec()));
    }

    #[test]
    fn a_signature_without_a_hash_is_named() {
        assert_eq!(end_point(&certificate(b"\x30\x05\x06\x03\x2b\x65\x70")), Err("Ed25519".to_owned()));
        assert_eq!(end_point(&certificate(b"\x30\x05\x06\x03\x2b\x65\x71")), Err("Ed448".to_owned()));
        assert_eq!(end_point(&certificate(b"\x30\x05\x06\x03\x2b\x65\x6f")), Err("algorithm 1.3.101.111".to_owned()));
        for broken in [&b""[..], b"\x30\x03\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"text"] {
            assert_eq!(end_point(broken), Err("something that cannot be read".to_owned()));
        }
    }
}
