//! The page through its socket.

use bytes::Bytes;
use http::{header::LOCATION, response::Parts};
use http_body_util::Full;
use serde_json::{Value, json};
use url::Url;

use super::{
    super::{
        Apple,
        tests::{open, send, start},
    },
    *,
};

const THERE: &str = "https://app.example/callback";

/// A request of the Services ID `com.example.web`.
fn request(rest: &[(&str, &str)]) -> String {
    let usual = [("client_id", "com.example.web"), ("redirect_uri", THERE)];
    let pairs = usual.iter().chain(rest);
    let query: Vec<String> = pairs
        .map(|(name, value)| {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{name}={}", value.replace('+', "%20"))
        })
        .collect();
    query.join("&")
}

const POSTED: &[(&str, &str)] = &[
    ("response_type", "code id_token"),
    ("response_mode", "form_post"),
    ("scope", "name email"),
    ("state", "s\"<&>+ 1"),
    ("nonce", "n-1"),
];

async fn see(apple: &Apple, query: &str) -> (Parts, String) {
    let url = format!("{}/auth/authorize?{query}", apple.url());
    let (parts, body) = send(Request::get(url).body(Full::default()).unwrap()).await.unwrap();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

/// Fills in the page for `query` and sends it.
async fn fill_in(apple: &Apple, query: &str, fields: &[(&str, &str)]) -> (Parts, String) {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("request", query)
        .extend_pairs(fields)
        .finish();
    let url = format!("{}/auth/authorize", apple.url());
    let request = Request::post(url).body(Full::from(Bytes::from(body))).unwrap();
    let (parts, body) = send(request).await.unwrap();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

/// The text of an attribute, as a browser reads it.
fn unescape(text: &str) -> String {
    let read = text.replace("&quot;", "\"").replace("&#39;", "'");
    read.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The value of the hidden field `name`, if the page has it.
fn field(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
    Some(unescape(rest.split('"').next().unwrap()))
}

fn jane() -> (&'static str, String) {
    ("person", Person::jane().subject)
}

async fn agree(apple: &Apple, query: &str, email: &str) -> (Parts, String) {
    let (name, subject) = jane();
    fill_in(apple, query, &[(name, &subject), ("email", email), ("do", "continue")]).await
}

#[tokio::test]
async fn the_page_shows_who_can_sign_in_and_carries_the_request_along() {
    let apple = start().await;
    let query = request(POSTED);
    let (parts, page) = see(&apple, &query).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["x-frame-options"], "DENY");
    for text in ["com.example.web", "Jane Appleseed", "Zoë Ångström", "Hide My Email", "Cancel"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(field(&page, "request"), Some(query));
    let plain = request(&[("response_type", "code")]);
    assert!(!see(&apple, &plain).await.1.contains("Hide My Email"), "nobody asked for it");
}

#[tokio::test]
async fn the_answer_is_posted_with_the_name_the_first_time_only() {
    let apple = start().await;
    let query = request(POSTED);
    let (parts, page) = agree(&apple, &query, "hide").await;
    assert_eq!(parts.status, StatusCode::OK);
    assert!(page.contains(&format!("<form method=\"post\" action=\"{THERE}\">")), "{page}");
    assert_eq!(field(&page, "state").as_deref(), Some("s\"<&>+ 1"));
    let user: Value = serde_json::from_str(&field(&page, "user").unwrap()).unwrap();
    assert_eq!(user["name"], json!({"firstName": "Jane", "lastName": "Appleseed"}));
    assert_eq!(user["email"], json!(Person::jane().relay_email));

    let claims = open(&apple, &field(&page, "id_token").unwrap()).await;
    assert_eq!((&claims["aud"], &claims["nonce"]), (&json!("com.example.web"), &json!("n-1")));
    assert_eq!(claims["is_private_email"], true);
    assert!(claims["c_hash"].is_string() && claims.get("real_user_status").is_none());
    let code = field(&page, "code").unwrap();
    apple.state.redeem(&code, "com.example.web", Some(THERE)).unwrap();

    assert!(see(&apple, &query).await.1.contains("before"));
    let (_, again) = agree(&apple, &query, "share").await;
    assert_eq!(field(&again, "user"), None);
    let claims = open(&apple, &field(&again, "id_token").unwrap()).await;
    assert_eq!(claims["is_private_email"], true, "Apple does not ask again");
}

#[tokio::test]
async fn the_answer_is_in_the_query_or_the_fragment_if_so_asked() {
    let apple = start().await;
    let asked = [("response_type", "code"), ("state", "a&b=c d")];
    let (parts, _) = agree(&apple, &request(&asked), "share").await;
    assert_eq!(parts.status, StatusCode::SEE_OTHER);
    let location = Url::parse(parts.headers[LOCATION].to_str().unwrap()).unwrap();
    let pairs: Vec<_> = location.query_pairs().collect();
    assert_eq!((pairs.len(), &*pairs[0].0, &*pairs[1].1), (2, "code", "a&b=c d"));

    let asked = [("response_type", "code id_token"), ("response_mode", "fragment"), ("state", "x")];
    let (parts, _) = agree(&apple, &request(&asked), "share").await;
    let location = Url::parse(parts.headers[LOCATION].to_str().unwrap()).unwrap();
    let fragment = location.fragment().unwrap().as_bytes();
    let names: Vec<_> = form_urlencoded::parse(fragment).map(|(name, _)| name).collect();
    assert_eq!(names, ["code", "id_token", "state"]);
}

#[tokio::test]
async fn a_popup_tells_the_page_of_the_apps_own_origin() {
    let apple = start().await;
    let mut asked = POSTED.to_vec();
    asked[1].1 = "web_message";
    let (_, page) = agree(&apple, &request(&asked), "share").await;
    let told = |page: &str, name| {
        let (_, rest) = page.split_once(&format!("data-{name}=\"")).unwrap();
        unescape(rest.split('"').next().unwrap())
    };
    assert_eq!(told(&page, "origin"), "https://app.example");
    let message: Value = serde_json::from_str(&told(&page, "message")).unwrap();
    assert_eq!(message["data"]["authorization"]["state"], "s\"<&>+ 1");
    assert_eq!(message["data"]["user"]["email"], Person::jane().email);
    assert!(message["data"]["authorization"]["id_token"].is_string());

    let (_, page) = fill_in(&apple, &request(&asked), &[("do", "cancel")]).await;
    let message: Value = serde_json::from_str(&told(&page, "message")).unwrap();
    assert_eq!(message["data"]["error"], "user_cancelled_authorize");
}

#[tokio::test]
async fn who_cancels_is_sent_back_with_an_error_and_the_state() {
    let apple = start().await;
    let (_, page) = fill_in(&apple, &request(POSTED), &[("do", "cancel")]).await;
    assert_eq!(field(&page, "error").as_deref(), Some("user_cancelled_authorize"));
    assert_eq!(field(&page, "state").as_deref(), Some("s\"<&>+ 1"));
    assert_eq!(field(&page, "code"), None);
}

#[tokio::test]
async fn somebody_else_is_whoever_has_the_address_that_was_typed() {
    let apple = start().await;
    let (name, subject) = jane();
    let query = request(POSTED);
    let typed = |address: &'static str| [(name, subject.as_str()), ("address", address)];
    let (_, page) = fill_in(&apple, &query, &typed(" ada@example.net ")).await;
    let claims = open(&apple, &field(&page, "id_token").unwrap()).await;
    assert_eq!(claims["email"], "ada@example.net");
    for nobody in [&typed("ada")[..], &[]] {
        let (parts, page) = fill_in(&apple, &query, nobody).await;
        assert!(parts.status == StatusCode::OK && page.contains("role=\"alert\""), "{page}");
    }
}

#[tokio::test]
async fn what_is_not_registered_goes_nowhere() {
    let apple = start().await;
    apple.register_client("com.example.web", &[THERE]);
    assert_eq!(see(&apple, &request(POSTED)).await.0.status, StatusCode::OK);
    let query = request(POSTED);
    for (old, new, text) in [
        ("com.example.web", "com.example.evil", "invalid_client"),
        ("callback", "callback%2F", "Invalid web redirect url."),
        ("app.example", "evil.example", "Invalid web redirect url."),
        ("form_post", "query", "must be form_post"),
    ] {
        let query = query.replace(old, new);
        let (parts, page) = see(&apple, &query).await;
        assert_eq!((parts.status, page.contains(text)), (StatusCode::BAD_REQUEST, true), "{query}");
        let (parts, page) = agree(&apple, &query, "share").await;
        assert_eq!((parts.status, page.contains(text)), (StatusCode::BAD_REQUEST, true), "{query}");
        assert_eq!((parts.headers.get(LOCATION), field(&page, "code")), (None, None));
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_read_as_html() {
    let apple = start().await;
    let evil = "\"><script>alert(1)</script>";
    let mut asked = POSTED.to_vec();
    asked[3].1 = evil;
    let query =
        request(&asked).replace("com.example.web", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    let (_, shown) = see(&apple, &query).await;
    let (_, back) = agree(&apple, &query, "share").await;
    assert_eq!(field(&back, "state").as_deref(), Some(evil));
    for page in [shown, back] {
        assert!(!page.contains("<script>alert"), "{page}");
    }
}
