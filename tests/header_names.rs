//! Identity headers under the names that an application believes already.

use siwa_proxy::sim::presets;

use crate::{
    header_spoofing::spellings,
    support::{House, exchange},
};

const OAUTH2_PROXY: [&str; 10] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
];
const AUTHELIA: [&str; 4] = ["Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups"];
const OWN: [&str; 2] = ["X-User", "Remote-Mail"];

/// A setting, the names that are set by it, and all that are stripped.
const CASES: [(&str, [&str; 2], &[&str]); 3] = [
    ("'oauth2-proxy'", ["x-forwarded-user", "x-forwarded-email"], &OAUTH2_PROXY),
    ("['authelia']", ["remote-user", "remote-email"], &AUTHELIA),
    ("['X-User=sub', 'Remote-Mail=email']", ["x-user", "remote-mail"], &OWN),
];

#[tokio::test]
async fn the_application_is_told_under_its_names_and_believes_nobody_else() {
    for (setting, set, stripped) in CASES {
        // A listed peer, whose other X-Forwarded-* are believed.
        let house = House::with(&format!(
            "server.trusted_peers = ['127.0.0.1']\nidentity.headers = {setting}\n\
             [[route]]\npath = '/public/*'\naccess = 'public'"
        ))
        .await;
        for spelling in stripped.iter().copied().flat_map(spellings).chain(spellings("X-Apple-Sub"))
        {
            for (path, bearer) in [("/", house.bearer()), ("/public/", String::new())] {
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
                     {spelling}: spoof\r\n{spelling}: spoof again\r\n\r\n"
                );
                assert_eq!(exchange(house.address, request).await.status, 200);
                let received = house.application.requests().pop().unwrap();
                assert!(
                    !received.head.contains("spoof"),
                    "{setting} {spelling}: {}",
                    received.head
                );
                let told = set.map(|name| received.header(name).concat());
                let expected =
                    if path == "/" { [presets::SUBJECT, presets::EMAIL] } else { ["", ""] };
                assert_eq!(told, expected, "{setting} {spelling}");
                assert_eq!(received.header("x-apple-sub"), [""; 0]);
            }
        }
    }
}

#[tokio::test]
async fn a_gateway_is_told_under_those_names_too() {
    for (setting, [subject, email], _) in CASES {
        let house = House::verifier(&format!("identity.headers = {setting}")).await;
        for door in ["/auth/apple/verify", "/auth/apple/forward-auth"] {
            let spoof = (subject, "spoof");
            let reply = house.get(door, &[("Authorization", &house.bearer()), spoof]).await;
            assert_eq!(reply.header(subject), [presets::SUBJECT], "{setting}");
            assert_eq!(reply.header(email), [presets::EMAIL], "{setting}");
        }
    }
}
