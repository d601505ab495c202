//! The table.

use serde_json::{Value, json};
use siwa_proxy::{
    clock::UnixTime,
    sim::{ISSUER, event::Event, token::TokenTemplate},
};

use super::{
    Attack,
    workshop::{NOW, Workshop, encode},
};

/// `(name, forge, fault)`: one attack a line.
macro_rules! attacks {
    ($($fault:literal { $($name:literal => $forge:expr,)* })*) => {
        vec![$($(Attack { name: $name, forge: $forge, fault: $fault },)*)*]
    };
}

const DAY: u64 = 86_400;

#[rustfmt::skip] // A table is read as a table.
#[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
pub(super) fn all() -> Vec<Attack> {
    attacks! {
        "token_algorithm" {
            "alg none with a signature" => |w| w.header("alg", json!("none")),
            "alg None" => |w| w.header("alg", json!("None")),
            "alg NONE" => |w| w.header("alg", json!("NONE")),
            "HS256 with the modulus as the secret" => |w| w.hmac("HS256", w.key.jwk()["n"].as_str().unwrap().as_bytes()),
            "HS256 with the JWK as the secret" => |w| w.hmac("HS256", w.key.jwk().to_string().as_bytes()),
            "HS256 with an empty secret" => |w| w.hmac("HS256", b""),
            "HS384" => |w| w.hmac("HS384", b"secret"),
            "HS512" => |w| w.hmac("HS512", b"secret"),
            "ES256, as Apple's prose once said" => |w| w.header("alg", json!("ES256")),
            "E256, as Apple's prose still says" => |w| w.header("alg", json!("E256")),
            "RS384 over an RS256 signature" => |w| w.header("alg", json!("RS384")),
            "RS512 over an RS256 signature" => |w| w.header("alg", json!("RS512")),
            "PS256 over an RS256 signature" => |w| w.header("alg", json!("PS256")),
            "EdDSA" => |w| w.header("alg", json!("EdDSA")),
            "alg in lower case" => |w| w.header("alg", json!("rs256")),
            "alg with a space behind" => |w| w.header("alg", json!("RS256 ")),
            "alg with a NUL behind" => |w| w.header("alg", json!("RS256\0")),
            "an empty alg" => |w| w.header("alg", json!("")),
        }
        "token_unsupported_header" {
            "crit names b64" => |w| w.header("crit", json!(["b64"])),
            "crit names exp" => |w| w.header("crit", json!(["exp"])),
            "crit is empty" => |w| w.header("crit", json!([])),
            "crit is null" => |w| w.header("crit", Value::Null),
            "b64 false, an unencoded payload" => |w| w.header("b64", json!(false)),
            "b64 true" => |w| w.header("b64", json!(true)),
            "zip, a compressed payload" => |w| w.header("zip", json!("DEF")),
        }
        "token_unknown_key" {
            "a key of the attacker's own" => |w| TokenTemplate::native().sign(&w.stranger, ISSUER, NOW),
            "a made-up key id" => |w| w.header("kid", json!("MADEUP0001")),
            "the key id in another case" => |w| w.header("kid", json!(swap_case(w.key.kid()))),
            "a key id that is a path" => |w| w.header("kid", json!("../../../../dev/null")),
            "a key that was withdrawn in 2020" => |w| w.header("kid", json!("AIDOPK1")),
        }
        "token_signature" {
            "signed by the attacker under Apple's key id" => |w| w.stranger_with(json!({})),
            "the attacker's key embedded as jwk" => |w| w.stranger_with(json!({"jwk": w.stranger.jwk()})),
            "the attacker's key set named by jku" => |w| w.stranger_with(json!({"jku": "https://evil.example/keys"})),
            "the attacker's certificate named by x5u" => |w| w.stranger_with(json!({"x5u": "https://evil.example/cert"})),
            "the attacker's certificate embedded as x5c" => |w| w.stranger_with(json!({"x5c": ["MIIB"]})),
            "the first bit of the signature flipped" => |w| w.signature(|s| s[0] ^= 0x80),
            "the last bit of the signature flipped" => |w| w.signature(|s| s[255] ^= 1),
            "a signature of zeros" => |w| w.signature(|s| s.fill(0)),
            "a signature of ones" => |w| w.signature(|s| s.fill(0xff)),
            "a signature of one" => |w| w.signature(|s| { s.fill(0); s[255] = 1; }),
            "a signature one byte short" => |w| w.signature(|s| { s.pop(); }),
            "a signature one byte long" => |w| w.signature(|s| s.push(0)),
            "a signature with a zero in front" => |w| w.signature(|s| s.insert(0, 0)),
            "a signature of one byte" => |w| w.signature(|s| s.truncate(1)),
            "a signature twice" => |w| w.signature(|s| s.extend_from_within(..)),
            "the signature of another token" => |w| with_signature_of(w, &TokenTemplate::relay_email()),
            "another subject under a good signature" => |w| with_signature_of(w, &TokenTemplate::native().subject("000001.root.0001")),
            "claims stretched under a good signature" => |w| with_signature_of(w, &TokenTemplate::native().claim("exp", NOW.as_secs() + 10 * DAY)),
            "the header re-encoded under a good signature" => reencoded_header,
            "the signature of the header alone" => |w| { let [h, p, _] = w.parts(); let s = encode(w.key.sign(h.as_bytes())); format!("{h}.{p}.{s}") },
            "the signature of the decoded claims" => |w| { let [h, p, _] = w.parts(); let s = encode(w.key.sign(p.as_bytes())); format!("{h}.{p}.{s}") },
        }
        "token_malformed" {
            "nothing" => |_| String::new(),
            "one part" => |w| w.parts()[0].clone(),
            "two parts" => |w| w.parts()[..2].join("."),
            "alg none without a signature" => |w| format!("{}.{}.", encode(r#"{"alg":"none"}"#), w.parts()[1]),
            "a good token without its signature" => |w| { let [h, p, _] = w.parts(); format!("{h}.{p}.") },
            "no header" => |w| { let [_, p, s] = w.parts(); format!(".{p}.{s}") },
            "no claims" => |w| { let [h, _, s] = w.parts(); format!("{h}..{s}") },
            "a dot in front" => |w| format!(".{}", w.good()),
            "a dot behind" => |w| format!("{}.", w.good()),
            "four parts" => |w| format!("{}.e30", w.good()),
            "five parts, as an encrypted token has" => |w| format!("{}.e30.e30", w.good()),
            "two tokens" => |w| format!("{0}.{0}", w.good()),
            "two tokens between a comma" => |w| format!("{0},{0}", w.good()),
            "flattened JSON serialisation" => |w| { let [h, p, s] = w.parts(); json!({"protected": h, "payload": p, "signature": s}).to_string() },
            "general JSON serialisation" => |w| { let [h, p, s] = w.parts(); json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string() },
            "white space in front" => |w| format!(" {}", w.good()),
            "white space behind" => |w| format!("{} ", w.good()),
            "a line feed behind" => |w| format!("{}\n", w.good()),
            "white space inside" => |w| w.good().replacen('.', " .", 1),
            "a line break inside" => |w| w.good().replacen('.', "\r\n.", 1),
            "a NUL behind" => |w| format!("{}\0", w.good()),
            "quoted" => |w| format!("\"{}\"", w.good()),
            "padding behind the header" => |w| w.good().replacen('.', "=.", 1),
            "padding behind the claims" => |w| { let [h, p, s] = w.parts(); format!("{h}.{p}=.{s}") },
            "padding behind the signature" => |w| format!("{}==", w.good()),
            "the other base64 alphabet" => |w| { let [h, p, s] = w.parts(); format!("{h}.{p}.{}+/", &s[..340]) },
            "percent-encoded dots" => |w| w.good().replace('.', "%2E"),
            "letters that look alike" => |w| w.good().replacen('e', "\u{435}", 1),
            "set bits behind the last byte of the header" => |w| noncanonical(w, 0),
            "set bits behind the last byte of the claims" => |w| noncanonical(w, 1),
            "set bits behind the last byte of the signature" => |w| noncanonical(w, 2),
            "claims of a length that base64 does not have" => |w| w.raw(&w.parts()[0], "e3000"),
            "a key id that is SQL" => |w| w.header("kid", json!("'/**/OR/**/1=1--")),
            "a key id that is an address" => |w| w.header("kid", json!("https://evil.example/keys")),
            "a key id that is a shell command" => |w| w.header("kid", json!("|/bin/true")),
            "a key id that is an email address" => |w| w.header("kid", json!("jane@example.com")),
            "a header that is no JSON" => |w| w.header_text("alg=RS256"),
            "a header that is an array" => |w| w.header_text(r#"["RS256"]"#),
            "a header that is a string" => |w| w.header_text(r#""RS256""#),
            "a header that is null" => |w| w.header_text("null"),
            "an empty header object" => |w| w.header_text("{}"),
            "a header with text behind" => |w| w.header_text(&format!("{}x", header(w))),
            "two headers" => |w| w.header_text(&header(w).repeat(2)),
            "a byte order mark before the header" => |w| w.header_text(&format!("\u{feff}{}", header(w))),
            "alg twice in the header" => |w| w.header_text(&header(w).replacen('{', r#"{"alg":"none","#, 1)),
            "kid twice in the header" => |w| w.header_text(&header(w).replacen('{', r#"{"kid":"other","#, 1)),
            "kid twice in the header, once escaped" => |w| w.header_text(&header(w).replacen('{', r#"{"\u006bid":"other","#, 1)),
            "a header nested deeply" => |w| w.header_text(&header(w).replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(500), "]".repeat(500)), 1)),
            "no alg" => |w| w.sign(&TokenTemplate::native().without_header("alg")),
            "alg as an array" => |w| w.header("alg", json!(["RS256"])),
            "alg null" => |w| w.header("alg", Value::Null),
            "alg as a number" => |w| w.header("alg", json!(256)),
            "no kid" => |w| w.sign(&TokenTemplate::native().without_header("kid")),
            "kid null" => |w| w.header("kid", Value::Null),
            "kid as a number" => |w| w.header("kid", json!(0)),
            "kid as an array" => |w| w.header("kid", json!([w.key.kid()])),
            "an empty kid" => |w| w.header("kid", json!("")),
            "a kid with a space behind" => |w| w.header("kid", json!(format!("{} ", w.key.kid()))),
            "a kid with a NUL behind" => |w| w.header("kid", json!(format!("{}\0", w.key.kid()))),
            "a kid with a line break" => |w| w.header("kid", json!("a\r\nX-Apple-Sub: root")),
            "a kid of a thousand characters" => |w| w.header("kid", json!("k".repeat(1000))),
            "a kid outside ASCII" => |w| w.header("kid", json!("ключ")),
            "claims that are an array" => |w| w.payload("[]"),
            "claims that are a string" => |w| w.payload("\"sub\""),
            "claims that are no JSON" => |w| w.payload("sub=root"),
            "claims that are not UTF-8" => |w| w.payload(b"{\"sub\":\"\xff\"}".to_vec()),
            "claims in UTF-16" => |w| w.payload("{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
            "claims with text behind" => |w| w.payload_text(|claims| format!("{claims}x")),
            "claims twice" => |w| w.payload_text(|claims| claims.repeat(2)),
            "sub twice" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"sub":"root","#, 1)),
            "sub twice, once escaped" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"\u0073ub":"root","#, 1)),
            "aud twice" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"aud":"com.evil.app","#, 1)),
            "an unknown claim twice" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"x":1,"x":1,"#, 1)),
            "a name twice inside an unknown claim" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1)),
            "claims nested deeply" => |w| w.payload_text(|claims| claims.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(500), "]".repeat(500)), 1)),
            "exp beyond all numbers" => |w| w.payload_text(|claims| claims.replacen('{', r#"{"x":1e400,"#, 1)),
            "a control character in the claims" => |w| w.payload_text(|claims| claims.replacen('{', "{\"x\":\"\u{1}\",", 1)),
            "claims with a comment" => |w| w.payload_text(|claims| claims.replacen('{', "{/* */", 1)),
            "claims with a comma too many" => |w| w.payload_text(|claims| claims.replace('}', ",}")),
        }
        "token_oversized" {
            "one byte over the limit" => |_| "a".repeat(8 * 1024 + 1),
            "a rightly signed token over the limit" => |w| w.claim("x", json!("x".repeat(8 * 1024))),
            "only dots, over the limit" => |_| ".".repeat(8 * 1024 + 1),
        }
        "token_issuer" {
            "another issuer" => |w| w.claim("iss", json!("https://evil.example")),
            "the issuer of Apple's discovery in June 2025" => |w| w.claim("iss", json!("https://account.apple.com")),
            "the issuer with a slash" => |w| w.claim("iss", json!("https://appleid.apple.com/")),
            "the issuer in upper case" => |w| w.claim("iss", json!("HTTPS://APPLEID.APPLE.COM")),
            "the issuer without its scheme" => |w| w.claim("iss", json!("appleid.apple.com")),
            "the issuer with a space" => |w| w.claim("iss", json!("https://appleid.apple.com ")),
            "an empty issuer" => |w| w.claim("iss", json!("")),
            "the issuer as a subdomain of another" => |w| w.claim("iss", json!("https://appleid.apple.com.evil.example")),
        }
        "token_audience" {
            "another app" => |w| w.claim("aud", json!("com.evil.app")),
            "Expo's audience, which all its apps share" => |w| w.claim("aud", json!("host.exp.Exponent")),
            "our app in another case" => |w| w.claim("aud", json!("COM.EXAMPLE.APP")),
            "our app with a space" => |w| w.claim("aud", json!("com.example.app ")),
            "our app and more" => |w| w.claim("aud", json!("com.example.app.evil")),
            "a part of our app" => |w| w.claim("aud", json!("com.example")),
            "our app behind a team id" => |w| w.claim("aud", json!("ABCDE12345.com.example.app")),
            "our apps in one string" => |w| w.claim("aud", json!("com.example.app,com.example.web")),
            "an empty audience" => |w| w.claim("aud", json!("")),
            "our app and another" => |w| w.claim("aud", json!(["com.example.app", "com.evil.app"])),
            "another app and ours" => |w| w.claim("aud", json!(["com.evil.app", "com.example.app"])),
            "Apple itself" => |w| w.claim("aud", json!("https://appleid.apple.com")),
        }
        "token_expired" {
            "two days old" => |w| w.sign(&TokenTemplate::native().issued_at(UnixTime::from_secs(NOW.as_secs() - 2 * DAY))),
            "expired to the second, leeway included" => |w| w.claim("exp", json!(NOW.as_secs() - 30)),
            "expired at the beginning of time" => |w| w.claim("exp", json!(0)),
            "ten minutes old, of the ten-minute kind" => |w| w.sign(&TokenTemplate::minutes_2019().issued_at(UnixTime::from_secs(NOW.as_secs() - 631))),
        }
        "token_not_yet_valid" {
            "issued in a minute" => |w| w.claim("iat", json!(NOW.as_secs() + 60)),
            "issued at the end of time" => |w| w.claim("iat", json!(u64::MAX)),
            "issued in milliseconds" => |w| w.claim("iat", json!(NOW.as_secs() * 1000)),
            "not before tomorrow" => |w| w.claim("nbf", json!(NOW.as_secs() + DAY)),
        }
        "token_notification" {
            "a notification as an identity" => |w| w.sign(&TokenTemplate::notification(Event::consent_revoked("000001.abc.0001"))),
            "an identity with events" => |w| w.claim("events", json!("{}")),
            "an identity with null events" => |w| w.claim("events", Value::Null),
            "a notification with a sub beside its events" => |w| w.sign(&TokenTemplate::notification(Event::account_deleted("s")).subject("000001.abc.0001")),
        }
        "token_claim" {
            "empty claims" => |w| w.payload("{}"),
            "no issuer" => |w| w.without("iss"),
            "the issuer in an array" => |w| w.claim("iss", json!([ISSUER])),
            "the issuer among others" => |w| w.claim("iss", json!(["https://evil.example", ISSUER])),
            "the issuer as an object" => |w| w.claim("iss", json!({})),
            "the issuer null" => |w| w.claim("iss", Value::Null),
            "no audience" => |w| w.without("aud"),
            "the audience as a number" => |w| w.claim("aud", json!(1)),
            "the audience null" => |w| w.claim("aud", Value::Null),
            "the audience as an object" => |w| w.claim("aud", json!({"com.example.app": true})),
            "no audience in an array" => |w| w.claim("aud", json!([])),
            "an array inside the audience" => |w| w.claim("aud", json!([["com.example.app"]])),
            "a number inside the audience" => |w| w.claim("aud", json!(["com.example.app", 1])),
            "no subject" => |w| w.without("sub"),
            "an empty subject" => |w| w.claim("sub", json!("")),
            "the subject null" => |w| w.claim("sub", Value::Null),
            "the subject as a number" => |w| w.claim("sub", json!(1)),
            "the subject as an array" => |w| w.claim("sub", json!(["000001.abc.0001"])),
            "a subject with a space in front" => |w| w.claim("sub", json!(" 000001.abc.0001")),
            "a subject with a header inside" => |w| w.claim("sub", json!("a\r\nX-Apple-Email: root@example.com")),
            "a subject with a NUL" => |w| w.claim("sub", json!("000001.abc.0001\0")),
            "a subject outside ASCII" => |w| w.claim("sub", json!("000001.аbc.0001")),
            "a subject of 256 characters" => |w| w.claim("sub", json!("s".repeat(256))),
            "no expiry" => |w| w.without("exp"),
            "the expiry as a string" => |w| w.claim("exp", json!((NOW.as_secs() + DAY).to_string())),
            "the expiry as a float" => |w| w.payload_text(|claims| claims.replace("1800086400", "1800086400.0")),
            "the expiry with an exponent" => |w| w.payload_text(|claims| claims.replace("1800086400", "1.8e19")),
            "the expiry negative" => |w| w.claim("exp", json!(-1)),
            "the expiry null" => |w| w.claim("exp", Value::Null),
            "the expiry true" => |w| w.claim("exp", json!(true)),
            "the expiry in an array" => |w| w.claim("exp", json!([NOW.as_secs() + DAY])),
            "the expiry beyond 64 bits" => |w| w.payload_text(|claims| claims.replace("1800086400", "18446744073709551616")),
            "no time of issue" => |w| w.without("iat"),
            "the time of issue as a string" => |w| w.claim("iat", json!(NOW.as_secs().to_string())),
            "the time of issue as a float" => |w| w.claim("iat", json!(1.5)),
            "the time of issue negative" => |w| w.claim("iat", json!(-5)),
            "the time of issue null" => |w| w.claim("iat", Value::Null),
            "not before a string" => |w| w.claim("nbf", json!("0")),
            "the email as a number" => |w| w.claim("email", json!(1)),
            "the email as an array" => |w| w.claim("email", json!(["a@example.com"])),
            "the email null" => |w| w.claim("email", Value::Null),
            "email_verified yes" => |w| w.claim("email_verified", json!("yes")),
            "email_verified True" => |w| w.claim("email_verified", json!("True")),
            "email_verified 1" => |w| w.claim("email_verified", json!(1)),
            "email_verified null" => |w| w.claim("email_verified", Value::Null),
            "email_verified with a space" => |w| w.claim("email_verified", json!("true ")),
            "is_private_email as an object" => |w| w.claim("is_private_email", json!({})),
            "real_user_status as a string" => |w| w.claim("real_user_status", json!("2")),
            "transfer_sub empty" => |w| w.claim("transfer_sub", json!("")),
            "transfer_sub with a line break" => |w| w.claim("transfer_sub", json!("a\nb")),
        }
    }
}

/// The header of a good token, as text.
fn header(w: &Workshop) -> String {
    json!({"kid": w.key.kid(), "alg": "RS256"}).to_string()
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
    };
    let swapped: String = text.chars().map(swap).collect();
    // A name of digits alone has no case: then another name will do.
    if swapped == text { format!("{text}x") } else { swapped }
}

/// The parts of `template` under the signature of a good token.
fn with_signature_of(w: &Workshop, template: &TokenTemplate) -> String {
    let forged = w.sign(template);
    let (input, _) = forged.rsplit_once('.').unwrap();
    format!("{input}.{}", w.parts()[2])
}

/// The same header with a space in it: the same meaning in other bytes.
fn reencoded_header(w: &Workshop) -> String {
    let [_, payload, signature] = w.parts();
    format!("{}.{payload}.{signature}", encode(header(w).replacen(':', ": ", 1)))
}

/// A rightly signed token in which one part is spelt with set bits behind its last byte: a lax decoder reads the same.
fn noncanonical(w: &Workshop, part: usize) -> String {
    // Lengths are made so that the last character of the part has bits to spare.
    let header = encode(format!(r#"{{"kid":"{}","alg":"RS256"{}}}"#, w.key.kid(), pad(w, 0)));
    let payload = encode(pad(w, 1));
    let (header, payload) = match part {
        0 => (respell(&header), payload),
        1 => (header, respell(&payload)),
        _ => (header, payload),
    };
    let signed = w.raw(&header, &payload);
    if part < 2 {
        return signed;
    }
    let (input, signature) = signed.rsplit_once('.').unwrap();
    format!("{input}.{}", respell(signature))
}

/// White space that brings a part's length to one more than a multiple of three, so that four bits are to spare.
fn pad(w: &Workshop, part: usize) -> String {
    let claims = json!({"iss": ISSUER, "aud": "com.example.app", "sub": "s", "iat": NOW.as_secs(), "exp": NOW.as_secs() + DAY});
    let text = if part == 0 { String::new() } else { claims.to_string() };
    let length = if part == 0 { header(w).len() } else { text.len() };
    format!("{text}{}", " ".repeat((4 - length % 3) % 3))
}

/// The next character in the alphabet: of the last one's six bits, those to spare are the lowest.
fn respell(part: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_eq!(part.len() % 4, 2, "two characters for the last byte");
    let (rest, last) = part.split_at(part.len() - 1);
    let place = ALPHABET.iter().position(|byte| *byte == last.as_bytes()[0]).unwrap();
    assert_eq!(place % 16, 0, "canonical");
    format!("{rest}{}", char::from(ALPHABET[place + 1]))
}
