//! Every client library has its own names for the same things.

use serde_json::{Value, json};
use siwa_proxy::sim::{
    presets::{CODE, EMAIL, SUBJECT},
    token::TokenTemplate,
};

use super::{ON, post_as, post_form, refused, sign_in};
use crate::support::House;

/// What a client posts, around the token in place of `$T`.
type Row = (&'static str, fn(&str) -> Value);

#[rustfmt::skip] // A table is read as a table.
const CLIENTS: &[Row] = &[
    ("Swift",            |t| json!({ "identityToken": t, "authorizationCode": CODE, "user": SUBJECT, "email": EMAIL, "fullName": { "givenName": "Jane", "familyName": "Doe" }, "realUserStatus": 2 })),
    ("Swift, userID",    |t| json!({ "identityToken": t, "userID": SUBJECT, "state": "s" , "fullName": { "givenName": "Jane", "familyName": "Doe", "middleName": null, "nickname": "" } })),
    ("Apple JS",         |t| json!({ "authorization": { "code": CODE, "id_token": t, "state": "s" }, "user": { "name": { "firstName": "Jane", "lastName": "Doe" }, "email": "evil@example.com" } })),
    ("Apple JS, flat",   |t| json!({ "code": CODE, "id_token": t, "state": "s", "user": { "name": { "firstName": "Jane", "lastName": "Doe" } } })),
    ("Apple JS, text",   |t| json!({ "code": CODE, "id_token": t, "user": "{\"name\":{\"firstName\":\"Jane\",\"lastName\":\"Doe\"},\"email\":\"evil@example.com\"}" })),
    ("Expo",             |t| json!({ "user": SUBJECT, "state": null, "fullName": { "givenName": "Jane", "familyName": "Doe", "namePrefix": null }, "email": null, "realUserStatus": 1, "identityToken": t, "authorizationCode": CODE })),
    ("RN, iOS",          |t| json!({ "user": SUBJECT, "fullName": { "givenName": "Jane", "familyName": "Doe" }, "realUserStatus": 1, "authorizedScopes": [], "identityToken": t, "email": null, "state": null, "authorizationCode": CODE })),
    ("RN, Android",      |t| json!({ "code": CODE, "id_token": t, "state": "s", "user": { "name": { "firstName": "Jane", "lastName": "Doe" }, "email": "evil@example.com" } })),
    ("Flutter",          |t| json!({ "userIdentifier": null, "givenName": "Jane", "familyName": "Doe", "email": null, "authorizationCode": CODE, "identityToken": t, "state": null })),
    ("Capacitor",        |t| json!({ "response": { "user": SUBJECT, "email": null, "givenName": "Jane", "familyName": "Doe", "identityToken": t, "authorizationCode": CODE } })),
    ("Supabase",         |t| json!({ "provider": "apple", "id_token": t, "full_name": { "given_name": "Jane", "family_name": "Doe" } })),
    ("Parse",            |t| json!({ "authData": { "apple": { "id": SUBJECT, "token": t } }, "fullName": { "givenName": "Jane", "familyName": "Doe" } })),
    ("snake case",       |t| json!({ "identity_token": t, "given_name": "Jane", "family_name": "Doe" })),
    ("camel case",       |t| json!({ "idToken": t, "firstName": "Jane", "lastName": "Doe" })),
    ("said twice",       |t| json!({ "identityToken": t, "id_token": t, "authorization": { "id_token": t }, "fullName": { "givenName": "Jane", "familyName": "Doe" } })),
];

#[tokio::test]
async fn each_client_signs_in_in_its_own_words() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    for (client, body) in CLIENTS {
        let reply = sign_in(house.address, &body(&token)).await;
        assert_eq!(reply.status, 200, "{client}: {reply:?}");
        let user = &reply.json()["user"];
        assert_eq!((&user["id"], &user["email"]), (&json!(SUBJECT), &json!(EMAIL)), "{client}");
        let name = json!({ "given_name": "Jane", "family_name": "Doe" });
        assert_eq!(user["name_unverified"], name, "{client}");
    }
}

#[tokio::test]
async fn a_form_signs_in_as_apples_redirect_posts_it_and_with_names_below_names() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let user = r#"{"name":{"firstName":"Jane","lastName":"Doe"},"email":"evil@example.com"}"#;
    for form in [
        &[("code", CODE), ("id_token", &token), ("state", "s"), ("user", user)][..],
        &[
            ("authorization[id_token]", &token),
            ("user[name][firstName]", "Jane"),
            ("user[name][lastName]", "Doe"),
        ],
        &[
            ("identityToken", &token),
            ("givenName", "Jane"),
            ("familyName", "Doe"),
            ("user", SUBJECT),
        ],
    ] {
        let reply = post_form(&house, form).await;
        assert_eq!(reply.status, 200, "{form:?} {reply:?}");
        let user = &reply.json()["user"];
        assert_eq!((&user["id"], &user["email"]), (&json!(SUBJECT), &json!(EMAIL)));
        assert_eq!(user["name_unverified"]["family_name"], "Doe", "{form:?}");
    }
    refused(&post_form(&house, &[]).await, 400, "identityToken missing", "identity_token_missing");
}

#[tokio::test]
async fn who_it_is_comes_from_the_token_whatever_stands_beside_it() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::no_email());
    let body = json!({
        "identityToken": token, "sub": "somebody.else", "user": "somebody.else", "userIdentifier": "somebody.else",
        "id": "somebody.else", "email": "evil@example.com", "email_verified": true, "is_private_email": false,
    });
    let reply = sign_in(house.address, &body).await;
    assert_eq!(reply.json(), json!({ "success": true, "user": { "id": SUBJECT } }));
}

#[tokio::test]
async fn two_different_tokens_are_refused_wherever_they_are() {
    let house = House::with(ON).await;
    let [one, other] = [(); 2]
        .map(|()| house.apple.mint(&TokenTemplate::native().claim("jti", fastrand::u32(..))));
    let twice = format!(r#"{{"identityToken":"{one}","identityToken":"{other}"}}"#);
    for body in [
        twice,
        json!({ "identityToken": one, "id_token": other }).to_string(),
        json!({ "identityToken": one, "authorization": { "id_token": other } }).to_string(),
        json!({ "response": { "identityToken": one }, "authData": { "apple": { "token": other } } }).to_string(),
    ] {
        let reply = post_as(&house, "Content-Type: application/json\r\n", &body).await;
        refused(&reply, 400, "Not a request that can be understood", "bad_request");
    }
    let reply = post_form(&house, &[("id_token", &one), ("id_token", &other)]).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn a_body_is_read_by_its_type_and_without_one_by_its_looks() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let (json, form) =
        (json!({ "identityToken": token }).to_string(), format!("identityToken={token}"));
    for (content_type, body, status) in [
        ("", &json, 200),
        ("", &form, 200),
        ("Content-Type: text/plain;charset=UTF-8\r\n", &json, 200),
        ("Content-Type: Application/JSON; charset=utf-8\r\n", &json, 200),
        ("Content-Type: application/json\r\n", &form, 400),
        ("Content-Type: application/x-www-form-urlencoded\r\n", &json, 400),
        ("Content-Type: multipart/form-data; boundary=x\r\n", &form, 400),
        ("Content-Type: application/jose\r\n", &token, 400),
    ] {
        let reply = post_as(&house, content_type, body).await;
        assert_eq!(reply.status, status, "{content_type} {reply:?}");
    }
}

#[tokio::test]
async fn what_is_no_text_where_the_token_should_be_and_what_is_no_object_is_400() {
    let house = House::with(ON).await;
    for body in [
        "[]",
        "\"a\"",
        "7",
        "null",
        "{\"identityToken\":7}",
        "{\"identityToken\":[\"a.b.c\"]}",
        "{\"id_token\":{}}",
    ] {
        let reply = post_as(&house, "Content-Type: application/json\r\n", body).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("bad_request")), "{body}");
    }
}

#[tokio::test]
async fn a_name_is_handed_on_cleaned() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let name = json!({ "givenName": "  Ja\u{0}ne\r\nX-Evil: 1\u{202e} ", "familyName": "D".repeat(5_000) });
    let reply = sign_in(house.address, &json!({ "identityToken": token, "fullName": name })).await;
    let name = reply.json()["user"]["name_unverified"].clone();
    assert_eq!(name["given_name"], "Jane X-Evil: 1");
    assert_eq!(name["family_name"], "D".repeat(100));
}
