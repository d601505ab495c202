//! People delete their accounts: the consent at Apple ends, their sessions do, and the application hears of it.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use siwa_proxy::{
    clock::{Clock, SystemClock},
    sim::{Apple, faults::Fault, people::Person, sign_in::SignIn, token::TokenTemplate},
    verify::Issuer,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::{
    House, PATIENCE, Recorder, Reply, eventually, exchange, notifying::post, open,
};

const APP: &str = "com.example.app";

/// A house in which people have sessions, and codes are redeemed.
struct Scene {
    house: House,
    apple: Arc<Apple>,
    _folder: TempDir,
}

/// What an app has of a session.
struct Session {
    access: String,
    refresh: String,
}

impl Scene {
    /// With these settings besides.
    async fn with(more: &str) -> Self {
        let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
        let key = apple.issue_team_key("DEF123GHIJ", &[APP]);
        let folder = tempfile::tempdir().unwrap();
        let (seal, p8) = (folder.path().join("seal"), folder.path().join("key.p8"));
        // 32 zeros.
        fs::write(&seal, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        fs::write(&p8, &key.text).unwrap();
        let settings = format!(
            "sign_in.path = '/auth/apple'\nsessions.key_files = ['{}']\napple.team_id = 'DEF123GHIJ'\n\
             apple.key_id = '{}'\napple.private_key_file = '{}'\napple.api_url = '{}'\n\
             apple.api_timeout = '1s'\n{more}",
            seal.display(),
            key.key_id,
            p8.display(),
            apple.url(),
        );
        let house = House::with_apple(Arc::clone(&apple), &settings).await;
        Self { house, apple, _folder: folder }
    }

    /// Jane signs in with a code.
    async fn sign_in(&self) -> Session {
        let signed_in = self.apple.sign_in(&SignIn::to(APP));
        self.post(&json!({
            "identityToken": signed_in.identity_token, "authorizationCode": signed_in.code,
        }))
        .await
    }

    /// Jane signs in with a token alone, so that Apple grants nothing.
    async fn sign_in_without_code(&self) -> Session {
        let signed_in = self.apple.sign_in(&SignIn::to(APP));
        self.post(&json!({ "identityToken": signed_in.identity_token })).await
    }

    async fn post(&self, body: &Value) -> Session {
        let reply = post(self.house.address, "/auth/apple", "", &body.to_string()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let tokens = reply.json();
        let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Session { access: token("access_token"), refresh: token("refresh_token") }
    }

    /// Deletes the account of whoever has the refresh token.
    async fn delete(&self, refresh_token: &str) -> Reply {
        self.delete_by(&json!({ "refresh_token": refresh_token }).to_string()).await
    }

    async fn delete_by(&self, body: &str) -> Reply {
        let head = "DELETE /auth/apple/account HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let kind = "Content-Type: application/json\r\n";
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        exchange(self.house.address, format!("{head}{kind}{length}{body}")).await
    }

    async fn code_of(&self, access_token: &str) -> Value {
        let bearer = format!("Bearer {access_token}");
        let reply = self.house.get("/", &[("Authorization", &bearer)]).await;
        if reply.status == 200 { json!(200) } else { reply.json()["code"].clone() }
    }

    /// The tokens whose consent Apple was asked to end.
    fn revoked(&self) -> usize {
        self.apple.asked().iter().filter(|it| it.path == "/auth/revoke").count()
    }
}

#[tokio::test]
async fn a_deleted_account_has_no_consent_at_apple_and_no_session_here() {
    let scene = Scene::with("").await;
    let [here, elsewhere] = [scene.sign_in().await, scene.sign_in().await];
    let reply = scene.delete(&here.refresh).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let expected = json!({
        "success": true, "apple": "revoked", "sessions": "ended", "application": "not_told",
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    assert!(scene.apple.sign_in(&SignIn::to(APP)).user.is_some(), "the next is a first sign-in");
    assert_eq!(scene.code_of(&here.access).await, "session_ended");
    assert_eq!(scene.code_of(&elsewhere.access).await, "token_revoked");
    let again = scene.delete(&elsewhere.refresh).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (401, Some("token_revoked")));
    let counted = r#"siwa_requests_total{door="sign_in",route="none",outcome="account_deleted",fault="none"}"#;
    assert_eq!(scene.house.metric(counted).await, 1);
}

#[tokio::test]
async fn a_sign_in_by_a_clock_ahead_of_ours_ends_with_the_account_too() {
    let scene = Scene::with("").await;
    let ahead = SystemClock.now().saturating_add(Duration::from_secs(25));
    let template = TokenTemplate::native().subject(&Person::jane().subject).issued_at(ahead);
    let token = scene.apple.mint(&template);
    let [here, elsewhere] = [
        scene.post(&json!({ "identityToken": token })).await,
        scene.post(&json!({ "identityToken": token })).await,
    ];
    assert_eq!(scene.delete(&here.refresh).await.json()["sessions"], "ended");
    assert_eq!(scene.code_of(&here.access).await, "session_ended");
    for credential in [&elsewhere.access, &token] {
        assert_eq!(scene.code_of(credential).await, "token_revoked");
    }
}

#[tokio::test]
async fn somebody_of_the_same_name_at_another_issuer_ends_their_own_session_alone() {
    const OTHER: &str = "https://partner.example";
    let other = Apple::start(Arc::new(SystemClock)).await.unwrap();
    other.set_issuer(OTHER);
    let scene = Scene::with(&format!(
        "policy.issuers = ['{}', '{OTHER}']\njwks.additional = [{{ issuer = '{OTHER}', url = '{}' }}]",
        Issuer::APPLE,
        other.jwks_url()
    ))
    .await;
    let jane = scene.sign_in().await;
    let template = TokenTemplate::native().subject(&Person::jane().subject);
    let theirs = scene.post(&json!({ "identityToken": other.mint(&template) })).await;
    let reply = scene.delete(&theirs.refresh).await;
    assert_eq!((reply.status, &reply.json()["sessions"]), (200, &json!("this_one_ended")));
    assert_eq!(scene.code_of(&theirs.access).await, "session_ended");
    assert_eq!(scene.code_of(&jane.access).await, 200, "she is somebody else");
}

#[tokio::test]
async fn a_deletion_comes_to_its_end_even_if_whoever_asked_hangs_up() {
    let scene = Scene::with("").await;
    let session = scene.sign_in().await;
    scene.apple.fail_api_times(Fault::Slow(Duration::from_millis(500)), 1);
    let body = json!({ "refresh_token": session.refresh }).to_string();
    let mut stream = open(scene.house.address).await;
    let head = "DELETE /auth/apple/account HTTP/1.1\r\nHost: a\r\nContent-Length";
    let request = format!("{head}: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("Apple has been asked", async || scene.revoked() == 1).await;
    drop(stream);
    eventually("the session has ended", async || {
        scene.code_of(&session.access).await == "session_ended"
    })
    .await;
}

#[tokio::test]
async fn while_apple_cannot_be_asked_nothing_is_changed_and_it_can_be_tried_again() {
    let scene = Scene::with("").await;
    let session = scene.sign_in().await;
    let bad_request = http::StatusCode::BAD_REQUEST;
    for (fault, code) in [
        (Fault::Hang, "apple_timed_out"),
        (Fault::Html200, "apple_html"),
        (Fault::Reset, "apple_interrupted"),
        (Fault::Garbage, "apple_malformed"),
        (Fault::Refusal(http::StatusCode::TOO_MANY_REQUESTS, "slow".to_owned()), "apple_throttled"),
        (Fault::Refusal(bad_request, "invalid_client".to_owned()), "apple_invalid_client"),
        (Fault::Refusal(bad_request, "invalid_request".to_owned()), "apple_invalid_request"),
        (
            Fault::Refusal(bad_request, "unauthorized_client".to_owned()),
            "apple_unauthorized_client",
        ),
    ] {
        scene.apple.fail_api_times(fault, 1);
        let reply = scene.delete(&session.refresh).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some(code)), "{reply:?}");
        assert_eq!(reply.header("retry-after").len(), 1, "{code}");
        assert!(!format!("{reply:?}").contains("client_id"), "{reply:?}");
    }
    assert_eq!(scene.code_of(&session.access).await, 200);
    assert_eq!(scene.delete(&session.refresh).await.json()["apple"], "revoked");
}

#[tokio::test]
async fn a_consent_that_has_ended_already_does_not_keep_an_account_alive() {
    let scene = Scene::with("").await;
    let session = scene.sign_in().await;
    scene.apple.withdraw_consent(&Person::jane().subject, None);
    assert_eq!(scene.delete(&session.refresh).await.json()["apple"], "revoked");
    assert_eq!(scene.revoked(), 1);
}

#[tokio::test]
async fn without_a_grant_of_apples_it_is_said_that_apple_was_not_asked() {
    let scene = Scene::with("").await;
    let session = scene.sign_in_without_code().await;
    let reply = scene.delete(&session.refresh).await;
    assert_eq!((reply.status, &reply.json()["apple"]), (200, &json!("not_asked")));
    assert_eq!(scene.revoked(), 0);
    assert_eq!(scene.code_of(&session.access).await, "session_ended");
}

#[tokio::test]
async fn only_a_refresh_token_that_is_good_deletes_an_account() {
    let scene = Scene::with("").await;
    let session = scene.sign_in().await;
    let access = &session.access;
    for (body, status, code) in [
        (json!({}).to_string(), 401, "no_credential"),
        (json!({ "refresh_token": access }).to_string(), 401, "session_wrong_kind"),
        (json!({ "refresh_token": "siwa_r.AQAB" }).to_string(), 401, "session_malformed"),
        (json!({ "refresh_token": 1 }).to_string(), 400, "bad_request"),
        ("{".to_owned(), 400, "bad_request"),
    ] {
        let reply = scene.delete_by(&body).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)), "{body}");
    }
    assert_eq!(scene.revoked(), 0);
    let plain = House::with("sign_in.path = '/auth/apple'").await;
    let head = "DELETE /auth/apple/account HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(plain.address, head.to_owned()).await.status, 404);
}

#[tokio::test]
async fn the_application_is_told_of_it() {
    let application = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let (at, secret) = (application.address, secret.display());
    let webhooks =
        format!("webhooks.urls = ['http://{at}/events']\nwebhooks.secret_files = ['{secret}']");
    let scene = Scene::with(&webhooks).await;
    let session = scene.sign_in().await;
    let reply = scene.delete(&session.refresh).await;
    assert_eq!(reply.json()["application"], "told");
    let told = async {
        loop {
            if let Some(request) = application.requests().pop() {
                return request;
            }
            tokio::task::yield_now().await;
        }
    };
    let request = tokio::time::timeout(PATIENCE, told).await.unwrap();
    let event: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(event["type"], "account-deleted-by-user");
    let data = json!({
        "sub": Person::jane().subject, "client_id": APP, "issuer": Issuer::APPLE,
    });
    assert_eq!(event["data"], data);
    assert_eq!(request.header("webhook-signature").len(), 1);
}
