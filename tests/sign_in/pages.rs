//! Pages of other origins sign in as `[cors]` says.

use serde_json::json;
use siwa_proxy::sim::token::TokenTemplate;

use super::{ON, PATH, post_as};
use crate::support::{House, exchange};

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_first_and_read_the_answer() {
    let house = House::with(&format!("{ON}\ncors.allow_origins = ['https://app.example']")).await;
    let token = house.apple.mint(&TokenTemplate::native());
    for (origin, readable) in [("https://app.example", 1), ("https://evil.example", 0)] {
        let preflight = format!(
            "OPTIONS {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
        );
        let reply = exchange(house.address, preflight).await;
        assert_eq!(
            (reply.status, reply.header("access-control-allow-methods")),
            (204, vec!["POST"])
        );
        assert_eq!(reply.header("access-control-allow-headers"), ["Authorization, Content-Type"]);
        assert_eq!(reply.header("access-control-allow-origin").len(), readable, "{origin}");

        let lines = format!("Content-Type: application/json\r\nOrigin: {origin}\r\n");
        let body = json!({ "identityToken": token }).to_string();
        for (body, status) in [(&*body, 200), ("{}", 400)] {
            let reply = post_as(&house, &lines, body).await;
            assert_eq!(reply.status, status);
            assert_eq!(reply.header("access-control-allow-origin").len(), readable, "{origin}");
            assert_eq!(reply.header("vary"), ["Origin"]);
        }
    }
}

#[tokio::test]
async fn a_simple_request_is_answered_as_any_other() {
    let house = House::with(&format!("{ON}\ncors.allow_origins = ['*']")).await;
    let token = house.apple.mint(&TokenTemplate::native());
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", format!("id_token={token}")),
        ("text/plain;charset=UTF-8", json!({ "id_token": token }).to_string()),
    ] {
        let lines = format!("Content-Type: {content_type}\r\nOrigin: https://any.example\r\n");
        let reply = post_as(&house, &lines, &body).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, vec!["*"]));
    }
}
