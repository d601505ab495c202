//! The endpoints through the socket, as apps of any language see them.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::{
    Apple,
    people::Person,
    sign_in::SignIn,
    teams::TeamKeyFile,
    tests::{open, send},
};
use crate::clock::{Clock, ManualClock, UnixTime};

const APP: &str = "com.example.app";
const TEAM: &str = "DEF123GHIJ";

/// What is done to a header and claims that were right.
type Change<'a> = Box<dyn FnOnce(&mut Value, &mut Value) + 'a>;

struct Scene {
    apple: Apple,
    clock: ManualClock,
    key: TeamKeyFile,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
        let key = apple.issue_team_key(TEAM, &[APP, "com.example.web"]);
        Self { apple, clock, key }
    }

    /// A client secret that is right, but for `change`.
    fn secret_but(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        self.signed(&ECDSA_P256_SHA256_FIXED_SIGNING, change)
    }

    fn signed(
        &self,
        algorithm: &'static EcdsaSigningAlgorithm,
        change: impl FnOnce(&mut Value, &mut Value),
    ) -> String {
        let now = self.clock.now().as_secs();
        let mut header = json!({ "alg": "ES256", "kid": self.key.key_id });
        let mut claims = json!({
            "iss": TEAM, "iat": now, "exp": now + 300, "aud": "https://appleid.apple.com", "sub": APP,
        });
        change(&mut header, &mut claims);
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let base64: String = self.key.text.lines().filter(|it| !it.starts_with('-')).collect();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &STANDARD.decode(base64).unwrap()).unwrap();
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn secret(&self) -> String {
        self.secret_but(|_, _| {})
    }

    /// Posts the fields with client id and secret.
    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let secret = self.secret();
        let own = [("client_id", APP), ("client_secret", secret.as_str())];
        self.post(path, &[&own, fields].concat()).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(path, "application/x-www-form-urlencoded", form, None).await
    }

    async fn send(
        &self,
        path: &str,
        kind: &str,
        body: String,
        bearer: Option<&str>,
    ) -> (StatusCode, Value) {
        let mut request = Request::post(format!("{}{path}", self.apple.url()));
        request = request.header("content-type", kind);
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (head, body) = send(request.body(body.into()).unwrap()).await.unwrap();
        assert_eq!(head.headers["cache-control"], "no-store");
        (head.status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn redeem(&self, code: &str) -> (StatusCode, Value) {
        self.ask("/auth/token", &[("grant_type", "authorization_code"), ("code", code)]).await
    }

    async fn validate(&self, refresh_token: &str) -> (StatusCode, Value) {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.ask("/auth/token", &fields).await
    }

    async fn grant(&self) -> Value {
        let signed_in = self.apple.sign_in(&SignIn::to(APP).nonce("n-1"));
        let (status, granted) = self.redeem(&signed_in.code).await;
        assert_eq!(status, StatusCode::OK, "{granted}");
        granted
    }
}

fn error(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["error"].as_str().unwrap_or_default())
}

fn text<'a>(granted: &'a Value, name: &str) -> &'a str {
    granted[name].as_str().unwrap()
}

#[tokio::test]
async fn a_code_buys_tokens_once() {
    let scene = Scene::new().await;
    let code = scene.apple.sign_in(&SignIn::to(APP).nonce("n-1")).code;
    let (_, granted) = scene.redeem(&code).await;
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert!(text(&granted, "access_token").starts_with('a'));
    assert!(text(&granted, "refresh_token").starts_with('r'));
    let claims = open(&scene.apple, text(&granted, "id_token")).await;
    assert_eq!((&claims["sub"], &claims["nonce"]), (&json!(Person::jane().subject), &json!("n-1")));
    assert_eq!(claims["at_hash"].as_str().map(str::len), Some(22));
    assert_eq!(claims.get("c_hash"), None);
    assert_eq!(error(&scene.redeem(&code).await), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_code_lives_five_minutes_and_goes_back_to_where_it_was_sent() {
    let scene = Scene::new().await;
    let late = scene.apple.sign_in(&SignIn::to(APP)).code;
    scene.clock.advance(Duration::from_mins(5));
    assert_eq!(error(&scene.redeem(&late).await), (400, "invalid_grant"));
    let web = scene.apple.sign_in(&SignIn::to(APP).sent_to("https://app.example/callback")).code;
    assert_eq!(error(&scene.redeem(&web).await), (400, "invalid_client"));
    let fields =
        |uri| [("grant_type", "authorization_code"), ("code", web.as_str()), ("redirect_uri", uri)];
    let there = scene.ask("/auth/token", &fields("https://app.example/callback/")).await;
    assert_eq!(error(&there), (400, "invalid_client"));
    let (status, _) = scene.ask("/auth/token", &fields("https://app.example/callback")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_is_good_until_consent_is_withdrawn() {
    let scene = Scene::new().await;
    let granted = scene.grant().await;
    let refresh_token = text(&granted, "refresh_token");
    let (status, again) = scene.validate(refresh_token).await;
    assert_eq!((status, again.get("refresh_token")), (StatusCode::OK, None));
    let claims = open(&scene.apple, text(&again, "id_token")).await;
    assert_eq!((claims.get("email"), claims.get("nonce")), (None, None));
    scene.apple.withdraw_consent(&Person::jane().subject, None);
    assert_eq!(error(&scene.validate(refresh_token).await), (400, "invalid_grant"));
    assert_eq!(error(&scene.validate("r0").await), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_revocation_ends_the_consent_and_junk_is_revoked_as_well() {
    let scene = Scene::new().await;
    let granted = scene.grant().await;
    let token = text(&granted, "refresh_token");
    let revoke = async |fields: &[(&str, &str)]| scene.ask("/auth/revoke", fields).await;
    let wrong_hint = revoke(&[("token", token), ("token_type_hint", "access_token")]).await;
    assert_eq!(error(&wrong_hint), (400, "invalid_request"));
    let no_hint = revoke(&[("token", token), ("token_type_hint", "token")]).await;
    assert_eq!(error(&no_hint), (400, "invalid_request"));
    assert_eq!(error(&revoke(&[("refresh_token", token)]).await), (400, "invalid_request"));
    assert_eq!(scene.validate(token).await.0, StatusCode::OK, "nothing of this revoked anything");

    let hint = ("token_type_hint", "refresh_token");
    assert_eq!(revoke(&[("token", token), hint]).await, (StatusCode::OK, Value::Null));
    assert_eq!(error(&scene.validate(token).await), (400, "invalid_grant"));
    assert!(scene.apple.sign_in(&SignIn::to(APP)).user.is_some(), "it is a first time again");
    for junk in [token, "junk"] {
        assert_eq!(revoke(&[("token", junk)]).await, (StatusCode::OK, Value::Null));
    }
}

#[tokio::test]
async fn a_form_is_read_strictly() {
    let scene = Scene::new().await;
    let secret = scene.secret();
    let own = [("client_id", APP), ("client_secret", secret.as_str())];
    let code = ("code", "c0");
    for (fields, expected) in [
        (vec![("grant_type", "authorization_code")], "invalid_request"),
        (vec![("grant_type", "authorization_code"), code, code], "invalid_request"),
        (vec![("grant_type", "authorization_code"), code, ("nonce", "n")], "invalid_request"),
        (vec![("grant_type", "refresh_token"), code], "invalid_request"),
        (vec![code], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials")], "invalid_scope"),
        (vec![("grant_type", "client_credentials"), ("scope", "openid")], "invalid_scope"),
        (vec![("grant_type", "authorization_code"), code], "invalid_grant"),
    ] {
        let answer = scene.post("/auth/token", &[&own[..], &fields].concat()).await;
        assert_eq!(error(&answer), (400, expected), "{fields:?}");
    }
    for missing in [&own[..1], &own[1..]] {
        assert_eq!(error(&scene.post("/auth/token", missing).await), (400, "invalid_request"));
    }
    let json = scene.send("/auth/token", "application/json", "{}".to_owned(), None).await;
    assert_eq!(error(&json), (400, "invalid_request"));
}

#[tokio::test]
async fn a_client_secret_is_read_strictly() {
    let scene = Scene::new().await;
    let half_a_year = 15_777_000;
    let now = scene.clock.now().as_secs();
    let changes: [(&str, Change<'_>); 10] = [
        ("alg", Box::new(|header, _| header["alg"] = "HS256".into())),
        ("kid", Box::new(|header, _| header["kid"] = "ZZZ123DEFG".into())),
        ("iss", Box::new(|_, claims| claims["iss"] = "ZZZ123GHIJ".into())),
        ("aud", Box::new(|_, claims| claims["aud"] = "https://account.apple.com".into())),
        ("sub", Box::new(|_, claims| claims["sub"] = "com.example.APP".into())),
        ("exp", Box::new(move |_, claims| claims["exp"] = now.into())),
        ("far", Box::new(move |_, claims| claims["exp"] = (now + half_a_year + 1).into())),
        ("text", Box::new(move |_, claims| claims["exp"] = (now + 60).to_string().into())),
        ("iat", Box::new(move |_, claims| claims["iat"] = (now + 1).into())),
        ("no iat", Box::new(move |_, claims| claims["iat"] = Value::Null)),
    ];
    let mut secrets: Vec<(&str, String)> =
        changes.into_iter().map(|(name, change)| (name, scene.secret_but(change))).collect();
    secrets.push(("der", scene.signed(&ECDSA_P256_SHA256_ASN1_SIGNING, |_, _| {})));
    secrets.push(("other", scene.secret() + "AA"));
    secrets.push(("empty", "a.b.c".to_owned()));
    for (name, secret) in &secrets {
        let fields = [("client_id", APP), ("client_secret", secret), ("grant_type", "none")];
        assert_eq!(
            error(&scene.post("/auth/token", &fields).await),
            (400, "invalid_client"),
            "{name}"
        );
    }
    let longest = scene.secret_but(|_, claims| claims["exp"] = (now + half_a_year).into());
    let fields = [("client_id", APP), ("client_secret", &*longest), ("grant_type", "none")];
    let answer = scene.post("/auth/token", &fields).await;
    assert_eq!(error(&answer), (400, "unsupported_grant_type"), "this secret is good");
}

#[tokio::test]
async fn a_key_is_for_its_group_until_it_is_revoked() {
    let scene = Scene::new().await;
    let secret = scene.secret_but(|_, claims| claims["sub"] = "com.example.other".into());
    let fields = [("client_id", "com.example.other"), ("client_secret", &*secret)];
    assert_eq!(error(&scene.post("/auth/token", &fields).await), (400, "invalid_client"));
    assert_eq!(error(&scene.redeem("c0").await), (400, "invalid_grant"));
    scene.apple.revoke_team_key(&scene.key.key_id);
    assert_eq!(error(&scene.redeem("c0").await), (400, "invalid_client"));
}

#[tokio::test]
async fn another_app_can_neither_use_nor_revoke_a_refresh_token() {
    let scene = Scene::new().await;
    let granted = scene.grant().await;
    let token = text(&granted, "refresh_token");
    let secret = scene.secret_but(|_, claims| claims["sub"] = "com.example.web".into());
    let own = [("client_id", "com.example.web"), ("client_secret", secret.as_str())];
    let validate = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let answer = scene.post("/auth/token", &[own, validate].concat()).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
    let answer = scene.post("/auth/revoke", &[&own[..], &[("token", token)]].concat()).await;
    assert_eq!(error(&answer), (400, "invalid_grant"));
    assert_eq!(scene.validate(token).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_subject_moves_from_team_to_team() {
    let scene = Scene::new().await;
    let fields = [("grant_type", "client_credentials"), ("scope", "user.migration")];
    let (_, granted) = scene.ask("/auth/token", &fields).await;
    let bearer = text(&granted, "access_token");
    let subject = Person::jane().subject;
    let ask = async |fields: &[(&str, &str)], bearer: Option<&str>| {
        let secret = scene.secret();
        let own = [("client_id", APP), ("client_secret", secret.as_str())];
        let fields = [&own, fields].concat();
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = "application/x-www-form-urlencoded";
        scene.send("/auth/usermigrationinfo", kind, form, bearer).await
    };
    let give = [("sub", subject.as_str()), ("target", "ZZZ123GHIJ")];
    assert_eq!(error(&ask(&give, None).await), (400, "invalid_token"));
    assert_eq!(error(&ask(&give, Some("a0")).await), (400, "invalid_token"));
    let (status, given) = ask(&give, Some(bearer)).await;
    assert_eq!(status, StatusCode::OK, "{given}");
    let transfer = text(&given, "transfer_sub");
    let parts: Vec<usize> = transfer.split('.').map(str::len).collect();
    assert_eq!(parts, [6, 33]);
    assert_eq!(ask(&give, Some(bearer)).await.1, given, "the same again");
    for junk in [("sub", "001"), ("sub", subject.as_str())] {
        let answer = ask(&[junk, ("target", TEAM)], Some(bearer)).await;
        assert_eq!(error(&answer), (400, "invalid_request"));
    }
    let take = [("transfer_sub", transfer)];
    assert_eq!(
        error(&ask(&take, Some(bearer)).await),
        (400, "invalid_request"),
        "not for this team"
    );
}
