//! Unusual, and good: refusing these would lock people out.

use serde_json::{Value, json};
use siwa_proxy::{clock::UnixTime, sim::token::TokenTemplate};

use super::{Oddity, workshop::NOW};

macro_rules! oddities {
    ($($name:literal => $make:expr,)*) => { vec![$(Oddity { name: $name, make: $make },)*] };
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn all() -> Vec<Oddity> {
    oddities! {
        "a relay address" => |w| w.sign(&TokenTemplate::relay_email()),
        "no email" => |w| w.sign(&TokenTemplate::no_email()),
        "booleans as strings, as until February 2024" => |w| w.sign(&TokenTemplate::legacy_string_booleans()),
        "a managed account with an unverified address" => |w| w.sign(&TokenTemplate::work_and_school()),
        "from a refresh: six claims" => |w| w.sign(&TokenTemplate::refresh_grant()),
        "ten minutes to live, as until 2020" => |w| w.sign(&TokenTemplate::minutes_2019()),
        "for our other app" => |w| w.claim("aud", json!("com.example.web")),
        "for one app, in an array" => |w| w.claim("aud", json!(["com.example.app"])),
        "for both our apps" => |w| w.claim("aud", json!(["com.example.web", "com.example.app"])),
        "issued half a minute from now" => |w| w.claim("iat", json!(NOW.as_secs() + 30)),
        "expired half a minute ago, less a second" => |w| w.claim("exp", json!(NOW.as_secs() - 29)),
        "expiring at the end of time" => |w| w.claim("exp", json!(u64::MAX)),
        "in its last hour" => |w| w.sign(&TokenTemplate::native().issued_at(UnixTime::from_secs(NOW.as_secs() - 23 * 3600))),
        "issued long ago, still good" => |w| w.claim("iat", json!(0)),
        "typ JWT, which Apple does not send" => |w| w.header("typ", json!("JWT")),
        "an unknown header parameter" => |w| w.header("x", json!({"y": [1, 2]})),
        "a header parameter that is ignored" => |w| w.header("x5u", json!("https://example.com")),
        "the header in another order" => |w| w.header_text(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, w.key.kid())),
        "white space in the header" => |w| w.header_text(&format!("{{ \"alg\" : \"RS256\",\n\t\"kid\" : \"{}\" }}", w.key.kid())),
        "escapes in the header" => |w| w.header_text(&format!(r#"{{"\u0061lg":"RS\u003256","kid":"{}"}}"#, w.key.kid())),
        "white space in the claims" => |w| w.payload_text(|claims| claims.replace(',', " ,\r\n ")),
        "unknown claims of every type" => |w| w.claim("x", json!([null, true, 1.5, "s", {"y": {"z": []}}])),
        "one name in two unknown claims" => |w| w.claim("x", json!([{"a": 1}, {"a": 2}])),
        "an empty email" => |w| w.claim("email", json!("")),
        "an email outside ASCII" => |w| w.claim("email", json!("jörg@例え.jp")),
        "an email with a header inside" => |w| w.claim("email", json!("a@example.com\r\nX-Apple-Sub: root")),
        "is_private_email false" => |w| w.claim("is_private_email", json!(false)),
        "real_user_status 0" => |w| w.claim("real_user_status", json!(0)),
        "real_user_status 1, which must not block" => |w| w.claim("real_user_status", json!(1)),
        "real_user_status of the future" => |w| w.claim("real_user_status", json!(3)),
        "within 60 days of an app transfer" => |w| w.claim("transfer_sub", json!("001999.r0a1b2c3d4e5f60718293a4b5c6d7e8f9")),
        "of a school" => |w| w.sign(&TokenTemplate::native().claim("org_id", "org").claim("scopes", json!(["edu.users.read"]))),
        "with a nonce" => |w| w.sign(&TokenTemplate::native().nonce("7a3c0a6e-0000-4a4b-9c1d-5f2b1f3e4d5c")),
        "a subject of another form" => |w| w.claim("sub", json!("s")),
        "an unknown claim that is null" => |w| w.claim("x", Value::Null),
        "close to the limit of size" => |w| w.claim("x", json!("x".repeat(5000))),
    }
}
