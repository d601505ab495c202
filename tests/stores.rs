//! What is answered 200 is stored: after a crash at any moment, and for every replica.

mod crash;
mod full_disk;
pub(crate) mod real_programs;

use siwa_proxy::{
    app::{App, AppError, StoreError},
    sim::{event::Event, presets::SUBJECT},
};

use crate::support::{House, notifying::ON, settings};

/// Settings for a store in a file of `folder`.
fn in_file(folder: &tempfile::TempDir) -> String {
    format!("{ON}\nstore.file = '{}'", folder.path().join("store").display())
}

#[tokio::test]
async fn a_revocation_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = House::with(&in_file(&folder)).await;
    let bearer = first.bearer();
    assert_eq!(first.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    let apple = std::sync::Arc::clone(&first.apple);
    first.end().await;

    let keys = format!("jwks.url = '{}'", apple.jwks_url());
    let second = House::with(&format!("{}\n{keys}", in_file(&folder))).await;
    let reply = second.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_revoked")));
}

#[tokio::test]
async fn a_file_that_somebody_emptied_keeps_the_proxy_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let first = House::with(&in_file(&folder)).await;
    let keys = first.apple.jwks_url();
    let application = first.application.address;
    first.end().await;
    std::fs::write(folder.path().join("store"), "").unwrap();
    let app = App::bind(settings(&keys, application, &in_file(&folder))).await.unwrap();
    let error = app.run(tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, AppError::Store(StoreError::Emptied { .. })), "{error:?}");
}

#[tokio::test]
async fn a_file_is_for_one_proxy_and_the_second_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let first = House::with(&in_file(&folder)).await;
    let keys = first.apple.jwks_url();
    let second = settings(&keys, first.application.address, &in_file(&folder));
    let app = App::bind(second).await.unwrap();
    let error = app.run(tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, AppError::Store(StoreError::InUse { .. })), "{error:?}");
    let told = std::error::Error::source(&error).unwrap().to_string();
    assert!(told.contains("in use by another process"), "{told}");
    assert_eq!(first.notify(Event::consent_revoked(SUBJECT)).await.status, 200, "unharmed");
}
