//! The application can be told of each sign-in, and of the name that Apple gives at the first.

use std::fs;

use serde_json::{Value, json};
use siwa_proxy::sim::presets;
use tempfile::TempDir;

use super::{
    Asked, CALLBACK, WEB, answer, form,
    jar::{Browser, From},
    key_file, settings,
};
use crate::support::{House, Recorder};

/// Settings that have `target` told of sign-ins, signed with a secret in `folder`.
pub(super) fn telling(target: &Recorder, folder: &TempDir) -> String {
    let secret = folder.path().join("secret");
    fs::write(&secret, "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    format!(
        "webhook = true\n[webhooks]\nurls = ['http://{}/apple-events']\nsecret_files = ['{}']\n",
        target.address,
        secret.display(),
    )
}

#[tokio::test]
async fn each_sign_in_is_told_with_the_name_that_nobody_vouches_for() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let key = key_file(1);
    let house = House::with(&settings(&key, &telling(&target, &folder))).await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let user = r#"{"name":{"firstName":"Jane","lastName":"Doe"},"email":"victim@example.com"}"#;
    let posted = answer(&house, &asked, &asked.token()) + "&" + &form(&[("user", user)]);
    assert_eq!(browser.post(CALLBACK, &posted, From::Apple).await.status, 303);
    target.received(1).await;
    let told: Value = serde_json::from_str(&target.only_request().body).unwrap();
    assert_eq!(told["type"], "sign-in");
    let data = &told["data"];
    assert_eq!(
        (&data["sub"], &data["client_id"], &data["email"]),
        (&json!(presets::SUBJECT), &json!(WEB), &json!(presets::EMAIL))
    );
    assert_eq!(data["name_unverified"], json!({ "given_name": "Jane", "family_name": "Doe" }));
    assert!(!told.to_string().contains("victim"), "{told}");
}
