//! The toy's discovery document (OpenID Connect Discovery 1.0 §3), with the members of Apple's.

use serde_json::{Value, json};

/// Says `issuer`, and names the endpoints below `url`.
pub(super) fn document(issuer: &str, url: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{url}/auth/authorize"),
        "token_endpoint": format!("{url}/auth/token"),
        "revocation_endpoint": format!("{url}/auth/revoke"),
        "jwks_uri": format!("{url}/auth/keys"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "name"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "claims_supported": [
            "aud", "email", "email_verified", "exp", "iat", "is_private_email", "iss", "nonce", "nonce_supported",
            "real_user_status", "sub", "transfer_sub",
        ],
    })
}
