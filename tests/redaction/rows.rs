//! What is sent, and what comes of it.

use siwa_proxy::{
    clock::{Clock, SystemClock, UnixTime},
    sim::{event::Event, faults::Fault, keys::SigningKey, token::TokenTemplate},
};

use super::scene::Scene;

/// What is sent, what comes of it (nothing, if it is no request), and how it is made.
pub(super) type Row = (&'static str, Option<&'static str>, fn(&mut Scene) -> String);

#[rustfmt::skip] // A table is read as a table.
pub(super) const ROWS: &[Row] = &[
    ("a good token",               Some("forwarded"),            |s| { let t = s.good(); s.request("GET /", &[&t]) }),
    ("a path",                     Some("forwarded"),            |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /{path}"), &[&t]) }),
    ("a body",                     Some("forwarded"),            |s| { let (t, body) = (s.good(), s.secret()); s.request("POST /", &[&t, &format!("Content-Length: {}", body.len())]) + &body }),
    ("spoofed headers",            Some("forwarded"),            |s| { let (t, who) = (s.good(), s.secret()); s.request("GET /", &[&t, &format!("X-Apple-Sub: {who}"), &format!("x_apple_email: {who}")]) }),
    ("an upgrade",                 Some("forwarded"),            |s| { let (t, key) = (s.good(), s.secret()); s.request("GET /", &[&t, "Connection: upgrade", "Upgrade: websocket", &format!("Sec-WebSocket-Key: {key}")]) }),
    ("another scheme, public",     Some("forwarded"),            |s| { let word = s.secret(); s.request("GET /public/a", &[&format!("Authorization: Basic {word}")]) }),
    ("another scheme",             Some("no_credential"),        |s| { let word = s.secret(); s.request("GET /", &[&format!("Authorization: Basic {word}")]) }),
    ("a token elsewhere",          Some("no_credential"),        |s| { let t = s.good(); s.request("GET /", &[&t.replace("Authorization: Bearer ", "X-Token: ")]) }),
    ("two credentials",            Some("several_credentials"),  |s| { let (one, other) = (s.good(), s.good()); s.request("GET /", &[&one, &other]) }),
    ("no token at all",            Some("token_malformed"),      |s| { let word = s.secret(); s.request("GET /", &[&format!("Authorization: Bearer {word}")]) }),
    ("no JSON in the token",       Some("token_malformed"),      |s| { let word = s.secret(); let t = s.token(|it| it.header_text(&format!("{{\"kid\":\"{word}\""))); s.request("GET /", &[&t]) }),
    ("a token that is too long",   Some("token_oversized"),      |s| { let word = s.secret().repeat(600); s.request("GET /", &[&format!("Authorization: Bearer {word}.a.b")]) }),
    ("another algorithm",          Some("token_algorithm"),      |s| { let t = s.token(|it| it.header("alg", "none")); s.request("GET /", &[&t]) }),
    ("an unsupported header",      Some("token_unsupported_header"), |s| { let word = s.secret(); let t = s.token(|it| it.header("crit", word)); s.request("GET /", &[&t]) }),
    ("an unknown key",             Some("token_unknown_key"),    |s| { let t = s.signed_by(&SigningKey::generate()); s.request("GET /", &[&t]) }),
    ("a forged signature",         Some("token_signature"),      |s| { let key = SigningKey::generate().with_kid(s.apple.keys().signing().kid()); let t = s.signed_by(&key); s.request("GET /", &[&t]) }),
    ("an expired token",           Some("token_expired"),        |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000))); s.request("GET /", &[&t]) }),
    ("a token of tomorrow",        Some("token_not_yet_valid"),  |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(4_000_000_000))); s.request("GET /", &[&t]) }),
    ("another app's token",        Some("token_audience"),       |s| { let t = s.token(|it| it.audience("com.other.app")); s.request("GET /", &[&t]) }),
    ("another issuer's token",     Some("token_issuer"),         |s| { let t = s.token(|it| it.claim("iss", "https://other.example")); s.request("GET /", &[&t]) }),
    ("a claim of the wrong kind",  Some("token_claim"),          |s| { let word = s.secret(); let t = s.token(|it| it.claim("email_verified", word)); s.request("GET /", &[&t]) }),
    ("a notification as a token",  Some("token_notification"),   |s| { let event = Event::consent_revoked(&s.subject_of_member()); let token = s.apple.mint(&TokenTemplate::notification(event)); let t = s.bearer(&token); s.request("GET /", &[&t]) }),
    ("an ambiguous path",          Some("bad_request"),          |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /public/%2e%2e/{path}"), &[&t]) }),
    ("a user in the host",         Some("bad_request"),          |s| { let (t, word) = (s.good(), s.secret()); s.request("GET /", &[&t]).replace("Host: app", &format!("Host: {word}@app")) }),
    ("an odd transfer coding",     Some("unsupported"),          |s| { let (t, word) = (s.good(), s.secret()); s.request("POST /", &[&t, &format!("Transfer-Encoding: {word}, chunked")]) + "0\r\n\r\n" }),
    ("a body that is too long",    Some("body_too_large"),       |s| { let t = s.good(); s.request("POST /", &[&t, "Content-Length: 99999999"]) }),
    ("a made-up method",           Some("forwarded"),            |s| { let (t, method) = (s.good(), s.secret()); s.request(&format!("{} /", method.to_uppercase()), &[&t]) }),
    ("an application that is down", Some("upstream_unreachable"), |s| { let t = s.good(); s.request("GET /nowhere/a", &[&t]) }),
    ("auth_request, yes",          Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/verify", &[&t, &format!("X-Original-URI: /{path}"), "X-Original-Method: GET"]) }),
    ("auth_request, no",           Some("token_malformed"),      |s| { let (word, path) = (s.secret(), s.secret()); s.request("GET /auth/apple/verify", &[&format!("Authorization: Bearer {word}"), &format!("X-Original-URI: /{path}")]) }),
    ("forward_auth, yes",          Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/forward-auth", &[&t, &format!("X-Forwarded-Uri: /{path}"), "X-Forwarded-Method: GET", "X-Forwarded-Host: app.example"]) }),
    ("forward_auth, no",           Some("no_credential"),        |s| { let path = s.secret(); s.request("GET /auth/apple/forward-auth", &[&format!("X-Forwarded-Uri: /{path}")]) }),
    ("userinfo, yes",              Some("allowed"),              |s| { let t = s.good(); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("userinfo, no",               Some("token_expired"),        |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000))); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("ext_authz, yes",             Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /auth/apple/ext-authz/{path}"), &[&t]) }),
    ("ext_authz, no",              Some("token_malformed"),      |s| { let (word, path) = (s.secret(), s.secret()); s.request(&format!("GET /auth/apple/ext-authz/{path}"), &[&format!("Authorization: Bearer {word}")]) }),
    ("a notification",             Some("stored"),               |s| s.notification(|it| it)),
    ("another app's notification", Some("bad_request"),          |s| s.notification(|it| it.audience("com.other.app"))),
    ("events of the wrong kind",   Some("bad_request"),          |s| { let word = s.secret(); s.notification(|it| it.claim("events", word)) }),
    ("no notification",            Some("bad_request"),          |s| { let word = s.secret(); s.posted(&format!("{{\"payload\":\"{word}\"}}")) }),
    ("no JSON",                    Some("bad_request"),          |s| { let word = s.secret(); s.posted(&word) }),
    ("a sign-in",                  Some("signed_in"),            |s| { let (t, name) = (s.good(), s.secret()); s.sign_in(&t, &format!(",\"fullName\":{{\"givenName\":\"{name}\"}},\"email\":\"{name}@example.com\"")) }),
    ("a sign-in that is no good",  Some("token_expired"),        |s| { let (t, name) = (s.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000))), s.secret()); s.sign_in(&t, &format!(",\"user\":\"{name}\"")) }),
    ("a sign-in by somebody",      Some("token_malformed"),      |s| { let word = s.secret(); s.sign_in(&word, "") }),
    ("an account to be deleted",   Some("not_found"),            |s| { let body = format!("{{\"refresh_token\":\"siwa_r.{}\"}}", s.secret()); s.request("DELETE /sign-in/account", &[&format!("Content-Length: {}", body.len()), "Content-Type: application/json"]) + &body }),
    ("a sign-in by nobody",        Some("identity_token_missing"), |s| { let word = s.secret(); s.post("/sign-in", &format!("{{\"identityTokem\":\"{word}\"}}")) }),
    ("a sign-in in no words",      Some("bad_request"),          |s| { let word = s.secret(); s.post("/sign-in", &word) }),
    ("no HTTP",                    None,                         |s| format!("{} {}\r\n\r\n", s.secret(), s.secret())),
    ("a head that is too long",    None,                         |s| { let (t, word) = (s.good(), s.secret().repeat(4000)); s.request("GET /", &[&t, &format!("X-Long: {word}")]) }),
    ("keys that cannot be had",    Some("keys_unavailable"),     |s| { s.apple.fail_with(Fault::Reset); let t = s.signed_by(&SigningKey::generate()); s.request("GET /", &[&t]) }),
];

/// Refusals of those whom time and Apple have made strangers.
#[rustfmt::skip]
pub(super) const TOO_LATE: &[Row] = &[
    ("a token that is too old",    Some("token_too_old"),        |s| { let t = s.token(|it| it.issued_at(hours_ago(2))); s.request("GET /", &[&t]) }),
    ("somebody who leaves",        Some("stored"),               |s| { let event = Event::account_deleted(&s.subject_of_member()); let token = s.apple.mint(&TokenTemplate::notification(event)); s.posted(&format!("{{\"payload\":\"{token}\"}}")) }),
    ("somebody who left",          Some("token_revoked"),        |s| { let who = s.subject_of_member(); let t = s.token(|it| it.subject(&who).issued_at(SystemClock.now())); s.request("GET /", &[&t]) }),
    ("a method of another door",   Some("method_not_allowed"),   |s| { let t = s.good(); s.request("POST /auth/apple/userinfo", &[&t]) }),
];

/// Refusals of those who are known, each on a route whose policy asks for something else.
#[rustfmt::skip]
pub(super) const NOT_ALLOWED: &[Row] = &[
    ("whom the policy knows",      Some("forwarded"),                    |s| { let (who, address) = (s.subject_of_member(), s.email_of_member()); let t = s.token(|it| it.subject(&who).claim("email", address)); s.request("GET /listed/a", &[&t]) }),
    ("another issuer's user",      Some("not_allowed_issuer"),           |s| { let t = s.good(); s.request("GET /issuer/a", &[&t]) }),
    ("another app's user",         Some("not_allowed_client_id"),        |s| { let t = s.good(); s.request("GET /app/a", &[&t]) }),
    ("who is on no list",          Some("not_allowed_not_listed"),       |s| { let t = s.good(); s.request("GET /listed/a", &[&t]) }),
    ("a denied subject",           Some("not_allowed_subject_denied"),   |s| { let who = s.subject_of_member(); let t = s.token(|it| it.subject(&who)); s.request("GET /denied/a", &[&t]) }),
    ("a denied address",           Some("not_allowed_email_denied"),     |s| { let address = s.email_of_member(); let t = s.token(|it| it.claim("email", address)); s.request("GET /denied/a", &[&t]) }),
    ("a claim that is not there",  Some("not_allowed_claim_missing"),    |s| { let t = s.good(); s.request("GET /claim/a", &[&t]) }),
    ("no address",                 Some("not_allowed_email_missing"),    |s| { let t = s.token(|it| it.without("email")); s.request("GET /verified/a", &[&t]) }),
    ("an address of anybody's",    Some("not_allowed_email_unverified"), |s| { let t = s.token(|it| it.claim("email_verified", false)); s.request("GET /verified/a", &[&t]) }),
    ("an address of the relay",    Some("not_allowed_private_relay"),    |s| { let t = s.token(|it| it.claim("is_private_email", true)); s.request("GET /relay/a", &[&t]) }),
    ("perhaps no human being",     Some("not_allowed_real_user_status"), |s| { let t = s.token(|it| it.claim("real_user_status", 0)); s.request("GET /human/a", &[&t]) }),
    ("auth_request, never",        Some("not_allowed_claim_missing"),    |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/verify", &[&t, &format!("X-Original-URI: /claim/{path}"), "X-Original-Method: GET"]) }),
];

/// Refusals of one too many, while an application that does not answer holds another request.
#[rustfmt::skip]
pub(super) const TOO_MANY: &[Row] = &[
    ("one too many at once",       Some("shed"),                 |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /{path}"), &[&t]) }),
    ("one too many a second",      Some("rate_limited"),         |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /{path}"), &[&t]) }),
    ("auth_request, too often",    Some("rate_limited"),         |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/verify", &[&t, &format!("X-Original-URI: /{path}")]) }),
];

/// What does not come in time: from an application that does not answer, and from the caller.
#[rustfmt::skip]
pub(super) const TOO_SLOW: &[Row] = &[
    ("a silent application",       Some("upstream_timed_out"),   |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /silent/{path}"), &[&t]) }),
    ("a slow application",         Some("request_timed_out"),    |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /slow/{path}"), &[&t]) }),
    ("half a body",                Some("body_timed_out"),       |s| { let (t, half) = (s.good(), s.secret()); s.request("POST /", &[&t, "Content-Length: 1000"]) + &half }),
    ("half a notification",        Some("body_timed_out"),       |s| { let half = s.secret(); s.request("POST /auth/apple/notifications", &["Content-Length: 1000"]) + &half }),
    ("half a head",                None,                         |s| { let t = s.good(); let whole = s.request("GET /", &[&t]); whole.trim_end().to_owned() }),
];

/// What cannot be told, or kept, while the store cannot be had.
#[rustfmt::skip]
pub(super) const WITHOUT_A_STORE: &[Row] = &[
    ("who may have left",          Some("revocations_unavailable"), |s| { let t = s.good(); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("a notification",             Some("store_unavailable"),       |s| s.notification(|it| it)),
];

/// What leads nowhere where there is no application.
#[rustfmt::skip]
pub(super) const WITHOUT_AN_APPLICATION: &[Row] = &[
    ("who am I?",                  Some("allowed"),              |s| { let t = s.good(); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("a request for nobody",       Some("not_found"),            |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /{path}"), &[&t]) }),
];

/// What others are told of.
#[rustfmt::skip]
pub(super) const HEARD_OF: &[Row] = &[
    ("a notification",             Some("stored"),               |s| s.notification(|it| it)),
];

/// What comes of sign-ins where there are sessions, and Apple redeems codes.
#[rustfmt::skip]
pub(super) const SIGNING_IN: &[Row] = &[
    ("a sign-in with a name",      Some("signed_in"),            |s| { let (t, given, family, email) = (s.good(), s.secret(), s.secret(), s.secret()); s.last = s.sign_in(&t, &format!(",\"fullName\":{{\"givenName\":\"{given}\",\"familyName\":\"{family}\"}},\"email\":\"{email}\"")); s.last.clone() }),
    ("the same again",             Some("token_spent"),          |s| s.last.clone()),
    ("a code",                     Some("signed_in"),            Scene::redeem),
    ("another sign-in's code",     Some("token_code_hash"),      |s| { let (t, code) = (s.good(), s.secret()); s.sign_in(&t, &format!(",\"code\":\"{code}\"")) }),
    ("a made-up code",             Some("apple_invalid_grant"),  |s| { let code = s.secret(); let t = s.token(|it| it.code(&code)); s.sign_in(&t, &format!(",\"code\":\"{code}\"")) }),
    ("no code",                    Some("bad_request"),          |s| { let (t, one, other) = (s.good(), s.secret(), s.secret()); s.sign_in(&t, &format!(",\"code\":\"{one} {other}\"")) }),
    ("an odd redirect URI",        Some("bad_request"),          |s| { let (t, code, uri) = (s.good(), s.secret(), s.secret()); s.sign_in(&t, &format!(",\"code\":\"{code}\",\"redirectURI\":\"evil://{uri}\"")) }),
    ("two tokens",                 Some("bad_request"),          |s| { let (t, other) = (s.good(), s.secret()); s.sign_in(&t, &format!(",\"id_token\":\"{other}\"")) }),
    ("another app's sign-in",      Some("token_audience"),       |s| { let t = s.token(|it| it.audience("com.other.app")); s.sign_in(&t, "") }),
    ("a nonce of the client's",    Some("signed_in"),            |s| { let nonce = s.secret(); let t = s.token(|it| it.nonce(&nonce)); s.sign_in(&t, &format!(",\"nonce\":\"{nonce}\"")) }),
    ("a nonce that is wrong",      Some("token_nonce"),          |s| { let (t, nonce) = (s.good(), s.secret()); s.sign_in(&t, &format!(",\"rawNonce\":\"{nonce}\"")) }),
    ("a nonce that poses as ours", Some("nonce_unknown"),        |s| { let (t, nonce) = (s.good(), s.secret()); s.sign_in(&t, &format!(",\"nonce\":\"siwa_n.{nonce}\"")) }),
    ("a cookie as a bearer",       Some("session_wrong_kind"),   |s| { let word = s.secret(); s.request("GET /", &[&format!("Authorization: Bearer siwa_c.{word}")]) }),
    ("an Apple that fails",        Some("apple_html"),           |s| { s.apple.fail_api_times(Fault::Html200, 1); s.redeem() }),
];

/// What comes of sign-ins where they need a nonce of ours.
#[rustfmt::skip]
pub(super) const WITH_A_NONCE: &[Row] = &[
    ("a nonce, please",            Some("nonce_issued"),         |s| { let word = s.secret(); s.post("/sign-in/nonce", &word) }),
    ("no nonce",                   Some("nonce_missing"),        |s| { let t = s.good(); s.sign_in(&t, "") }),
    ("a nonce of ours",            Some("signed_in"),            |s| { let nonce = s.nonce.clone(); let t = s.token(|it| it.nonce(&nonce)); s.last = s.sign_in(&t, &format!(",\"nonce\":\"{nonce}\"")); s.last.clone() }),
    ("the same again",             Some("nonce_spent"),          |s| s.last.clone()),
];

/// All of them.
pub(super) const ALL: &[&[Row]] = &[
    HEARD_OF,
    ROWS,
    SIGNING_IN,
    WITH_A_NONCE,
    TOO_LATE,
    NOT_ALLOWED,
    TOO_MANY,
    TOO_SLOW,
    WITHOUT_A_STORE,
    WITHOUT_AN_APPLICATION,
];

fn hours_ago(hours: u64) -> UnixTime {
    UnixTime::from_secs(SystemClock.now().as_secs() - hours * 3600)
}
