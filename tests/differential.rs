//! Two judges for the same ten thousand tokens: ours, and one made of another library's decoder and the same rules written
//! down a second time. Where they differ, it must be for a reason that is named here.

use std::collections::BTreeMap;

use fastrand::Rng;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier,
    clock::ManualClock,
    sim::{ISSUER, keys::SigningKey, token::TokenTemplate},
    verify::FixedJwks,
};

use crate::forgery::workshop::{NOW, encode};

const TOKENS: usize = 10_000;
const OURS: [&str; 2] = ["com.example.app", "com.example.web"];

/// What is done to a token, so that a difference can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Nothing,
    Claim,
    MissingClaim,
    HeaderParameter,
    Signature,
    Claims,
    DuplicateClaim,
    Truncation,
    Character,
}

const CHANGES: [Change; 9] = [
    Change::Nothing,
    Change::Claim,
    Change::MissingClaim,
    Change::HeaderParameter,
    Change::Signature,
    Change::Claims,
    Change::DuplicateClaim,
    Change::Truncation,
    Change::Character,
];

#[tokio::test]
async fn ten_thousand_tokens_are_judged_alike_by_another_library_and_the_same_rules() {
    let mut rng = Rng::with_seed(20_261_121);
    let key = SigningKey::generate();
    let verifier = Verifier::builder(ClientIds::new(OURS).unwrap())
        .jwks_source(FixedJwks::new(json!({"keys": [key.jwk()]}).to_string()))
        .clock(ManualClock::at(NOW))
        .build()
        .unwrap();
    let other = OtherJudge::new(&key);
    let mut accepted = 0;
    let mut explained = BTreeMap::<(&str, Change), usize>::new();
    for _ in 0..TOKENS {
        let change = CHANGES[rng.usize(..CHANGES.len())];
        let token = make(change, &key, &mut rng);
        let ours = match UnverifiedToken::parse(&token) {
            Ok(token) => verifier.verify(&token).await.is_ok(),
            Err(_) => false,
        };
        let theirs = other.accepts(&token);
        accepted += usize::from(ours);
        if ours != theirs {
            let why = if ours { why_they_refuse_more(&token) } else { why_we_refuse_more(&token) };
            let why = why.unwrap_or_else(|| panic!("accepted here: {ours}, {change:?} {token}"));
            *explained.entry((why, change)).or_default() += 1;
        }
    }
    // The sample must hold enough of either kind to mean something.
    assert!((1_500..8_500).contains(&accepted), "{accepted}");
    assert!(explained.values().sum::<usize>() < TOKENS / 5, "{explained:?}");
}

fn make(change: Change, key: &SigningKey, rng: &mut Rng) -> String {
    let good = TokenTemplate::native().claim("is_private_email", rng.bool());
    let sign = |template: TokenTemplate| template.sign(key, ISSUER, NOW);
    match change {
        Change::Nothing => sign(good),
        Change::Claim => sign(good.claim(claim(rng), value(rng))),
        Change::MissingClaim => sign(good.without(claim(rng))),
        Change::HeaderParameter => sign(good.header(parameter(rng), value(rng))),
        Change::Claims => sign(good.payload_bytes(value(rng).to_string())),
        Change::DuplicateClaim => sign(good.payload_bytes(duplicated(claim(rng), &value(rng)))),
        Change::Signature => {
            let token = sign(good);
            let (input, _) = token.rsplit_once('.').unwrap();
            let noise: Vec<u8> = (0..rng.usize(1..300)).map(|_| rng.u8(..)).collect();
            format!("{input}.{}", encode(noise))
        }
        Change::Truncation => {
            let token = sign(good);
            token[..rng.usize(..token.len())].to_owned()
        }
        Change::Character => {
            let mut token = sign(good).into_bytes();
            let place = rng.usize(..token.len());
            token[place] = rng.u8(0x20..0x7f);
            String::from_utf8(token).unwrap()
        }
    }
}

fn claim(rng: &mut Rng) -> &'static str {
    let names = [
        "iss",
        "aud",
        "sub",
        "exp",
        "iat",
        "nbf",
        "email",
        "email_verified",
        "is_private_email",
        "events",
        "nonce",
        "real_user_status",
        "transfer_sub",
        "x",
    ];
    names[rng.usize(..names.len())]
}

fn parameter(rng: &mut Rng) -> &'static str {
    let names = ["alg", "kid", "typ", "crit", "b64", "zip", "jku", "x5u", "x"];
    names[rng.usize(..names.len())]
}

fn value(rng: &mut Rng) -> Value {
    let now = NOW.as_secs();
    match rng.usize(..22) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.u64(..)),
        3 => json!(rng.i64(..0)),
        4 => json!(rng.f64() * 1e10),
        5 => json!(now.wrapping_add_signed(rng.i64(-100_000..100_000))),
        6 => json!(now.wrapping_add_signed(rng.i64(-40..40))),
        7 => json!(""),
        8 => json!("true"),
        9 => json!("false"),
        10 => json!(ISSUER),
        11 => json!(OURS[rng.usize(..2)]),
        12 => json!("com.evil.app"),
        13 => json!(OURS),
        14 => json!([OURS[0], "com.evil.app"]),
        15 => json!([]),
        16 => json!([ISSUER]),
        17 => json!({"a": 1}),
        18 => json!("a b"),
        19 => json!("naïve"),
        20 => json!("RS256"),
        _ => json!(rng.u8(0..4)),
    }
}

fn duplicated(claim: &str, value: &Value) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": OURS[0], "sub": "000001.abc.0001", "iat": NOW.as_secs(), "exp": NOW.as_secs() + 86_400,
    });
    claims.to_string().replacen('{', &format!("{{\"{claim}\":{value},"), 1)
}

/// Another library's decoder, and the rules of identity tokens written down a second time.
struct OtherJudge {
    key: DecodingKey,
    validation: Validation,
}

impl OtherJudge {
    fn new(key: &SigningKey) -> Self {
        let jwk = key.jwk();
        let (n, e) = (jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap());
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        Self { key: DecodingKey::from_rsa_components(n, e).unwrap(), validation }
    }

    fn accepts(&self, token: &str) -> bool {
        let decoded = decode::<BTreeMap<String, Value>>(token, &self.key, &self.validation);
        decoded.is_ok_and(|decoded| holds(&decoded.claims))
    }
}

fn holds(claims: &BTreeMap<String, Value>) -> bool {
    const LEEWAY: u64 = 30;
    let now = NOW.as_secs();
    let time = |name: &str| claims.get(name).map(|value| value.as_u64().ok_or(()));
    let token_text = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()))
    };
    let boolean = |name: &str| {
        claims
            .get(name)
            .is_none_or(|value| value.is_boolean() || value == "true" || value == "false")
    };
    let audience = match claims.get("aud") {
        Some(Value::Array(several)) => several.clone(),
        Some(one) => vec![one.clone()],
        None => vec![],
    };
    !claims.contains_key("events")
        && claims.get("iss") == Some(&json!(ISSUER))
        && !audience.is_empty()
        && audience
            .iter()
            .all(|client| client.as_str().is_some_and(|client| OURS.contains(&client)))
        && claims.get("sub").is_some_and(token_text)
        && claims.get("transfer_sub").is_none_or(token_text)
        && matches!(time("exp"), Some(Ok(exp)) if exp.saturating_add(LEEWAY) > now)
        && matches!(time("iat"), Some(Ok(iat)) if iat <= now + LEEWAY)
        && matches!(time("nbf"), None | Some(Ok(..)) if time("nbf").is_none_or(|nbf| nbf.is_ok_and(|nbf| nbf <= now + LEEWAY)))
        && boolean("email_verified")
        && boolean("is_private_email")
        && claims.get("email").is_none_or(Value::is_string)
        && claims.get("nonce").is_none_or(Value::is_string)
        && claims.get("real_user_status").is_none_or(Value::is_u64)
}

/// The differences that are meant: each is a strictness that the other library leaves to its caller.
fn why_we_refuse_more(token: &str) -> Option<&'static str> {
    let [header, claims, _] = token.split('.').collect::<Vec<_>>().try_into().ok()?;
    let header: Value = serde_json::from_slice(&decode_part(header)?).ok()?;
    if ["crit", "b64", "zip"].iter().any(|parameter| header.get(parameter).is_some()) {
        return Some("a header parameter that must be understood (RFC 7515 §4.1.11)");
    }
    if header["kid"].as_str().is_none_or(|kid| {
        kid.is_empty() || !kid.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/=".contains(c))
    }) {
        return Some("a key id that none of Apple's keys has: the other judge was handed the key");
    }
    let text = String::from_utf8(decode_part(claims)?).ok()?;
    let top_level_names = text.matches("\":").count();
    let distinct = serde_json::from_str::<BTreeMap<String, Value>>(&text).ok()?.len();
    if top_level_names > distinct {
        return Some("a claim twice (RFC 7519 §4): the other judge takes the last");
    }
    // The key id is another string than the key's, which the other judge never looked at.
    header.get("kid").is_some().then_some("another key's id: the other judge was handed the key")
}

/// Header parameters that are ignored here, whatever their type, and have one there.
fn why_they_refuse_more(token: &str) -> Option<&'static str> {
    let header: Value = serde_json::from_slice(&decode_part(token.split('.').next()?)?).ok()?;
    let of_another_type = |name: &&str| header.get(name).is_some_and(|value| !value.is_string());
    ["typ", "jku", "x5u"]
        .iter()
        .any(of_another_type)
        .then_some("a header parameter that is not looked at, of another type than it should have")
}

fn decode_part(part: &str) -> Option<Vec<u8>> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.decode(part).ok()
}
