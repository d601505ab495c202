//! What the reference shows where there is no default to show.

use toml::Value;

use super::{
    doors::{AUTH_REQUEST, FORWARD_AUTH, USERINFO},
    ext_authz::PATH_PREFIXES,
    upstream::UpstreamSection,
};
use crate::verify::{Issuer, TrustedUrl};

/// A value to show for each key whose default shows nothing.
pub(in super::super) fn example_of(key: &str) -> Option<Value> {
    let text = |text: &str| Value::from(text);
    let list = |paths: &[&str]| Value::Array(paths.iter().copied().map(Value::from).collect());
    Some(match key {
        "server.listen" => text("0.0.0.0:4180"),
        "server.proxy_protocol_peers" => Value::Array(vec![text("10.0.0.7")]),
        "tls.certificate" => text("/etc/siwa-proxy/tls.crt"),
        "tls.key" => text("/etc/siwa-proxy/tls.key"),
        "tls.client_authorities" => text("/etc/siwa-proxy/clients-ca.crt"),
        "limits.rate_per_second" => Value::Integer(20),
        "server.max_body_bytes" => text("10MiB"),
        "server.trusted_peers" => Value::Array(vec![text("10.0.0.0/8")]),
        "upstream.url" => text(UpstreamSection::EXAMPLE_URL),
        "doors.auth_request" => list(&AUTH_REQUEST),
        "doors.forward_auth" => list(&FORWARD_AUTH),
        "doors.userinfo" => list(&USERINFO),
        "doors.audience" | "upstream.audience" => text("my-app"),
        "ext_authz.grpc" => Value::Boolean(true),
        "ext_authz.path_prefixes" => list(&PATH_PREFIXES),
        "cors.allow_origins" | "browser.origins" => Value::Array(vec![text("https://app.example")]),
        "assertion.key_files" => Value::Array(vec![text("/etc/siwa-proxy/assertion.pem")]),
        "store.file" => text("/var/lib/siwa-proxy/store"),
        "store.redis_url" => text("rediss://redis.internal:6379/0"),
        "store.redis_username" => text("siwa-proxy"),
        "store.redis_password_file" => text("/etc/siwa-proxy/redis-password"),
        "store.redis_ca_file" => text("/etc/siwa-proxy/redis-ca.pem"),
        "sessions.key_files" => Value::Array(vec![text("/etc/siwa-proxy/session-key")]),
        "sign_in.path" | "browser.path" => text("/auth/apple"),
        "browser.client_id" | "browser.android_package" => text("com.example.app"),
        "browser.name" => text("Orders"),
        "browser.after_logout" => text("/goodbye"),
        "notifications.path" => text("/auth/apple/notifications"),
        "revocations.max_staleness" => text("10m"),
        "revocations.admin_token_file" => text("/etc/siwa-proxy/admin-token"),
        "webhooks.urls" => Value::Array(vec![text("http://127.0.0.1:3000/apple-events")]),
        "webhooks.secret_files" => Value::Array(vec![text("/etc/siwa-proxy/webhook-secret")]),
        "upstream.ca_file" => text("/etc/siwa-proxy/app-ca.pem"),
        "upstream.client_certificate_file" => text("/etc/siwa-proxy/client.pem"),
        "upstream.client_key_file" => text("/etc/siwa-proxy/client-key.pem"),
        "upstream.server_name" => text("app.internal"),
        "upstream.total_timeout" => text("5m"),
        "apple.client_ids" => Value::Array(vec![text("com.example.app")]),
        "apple.max_token_age" => text("1h"),
        "apple.team_id" => text("DEF123GHIJ"),
        "apple.key_id" => text("ABC123DEFG"),
        "apple.private_key_file" => text("/etc/siwa-proxy/AuthKey_ABC123DEFG.p8"),
        "apple.api_url" => text(TrustedUrl::APPLE),
        "policy.issuers" => Value::Array(vec![text(Issuer::APPLE)]),
        "policy.minimum_real_user_status" => text("likely_real"),
        "policy.allow_subjects" => {
            Value::Array(vec![text("001999.0a1b2c3d4e5f60718293a4b5c6d7e8f9.0918")])
        }
        "policy.allow_emails" => Value::Array(vec![text("example.com")]),
        "jwks.url" => text(TrustedUrl::APPLE_KEYS),
        "jwks.file" => text("/etc/siwa-proxy/apple-keys.json"),
        "jwks.cache_file" => text("/var/lib/siwa-proxy/apple-keys"),
        "jwks.ca_file" => text("/etc/siwa-proxy/ca.pem"),
        "jwks.proxy" => text("http://proxy.example.com:3128"),
        _ => return None,
    })
}
