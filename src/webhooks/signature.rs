//! What proves to a receiver that an event comes from here.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use crate::clock::UnixTime;

/// A secret shared with a receiver: `whsec_` and the base64 of 24 to 64 bytes. It does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookSecret(Zeroizing<Vec<u8>>);

/// Not a secret for webhooks.
#[derive(Debug, thiserror::Error)]
#[error(
    "must hold `whsec_` and the base64 of 24 to 64 random bytes, as `echo whsec_$(openssl rand -base64 32)` prints it"
)]
pub(crate) struct InvalidSecret;

impl WebhookSecret {
    /// Takes `text` for a secret.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`].
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(InvalidSecret)?;
        let bytes =
            Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_not_shown| InvalidSecret)?);
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidSecret) }
    }

    /// The value of `webhook-signature` for a message: HMAC-SHA256 over its id, the time of sending and its body.
    pub(super) fn sign(&self, id: &str, sent_at: UnixTime, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let signed = format!("{id}.{}.{body}", sent_at.as_secs());
        format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes())))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            UnixTime::from_secs(1_614_265_330),
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_random_bytes_in_base64() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        for text in ["", "secret", "whsec_", "whsec_????", &short, &long] {
            assert!(WebhookSecret::parse(text).is_err(), "{text}");
        }
        let secret = WebhookSecret::parse(&format!("whsec_{}", BASE64_STANDARD.encode([7; 24])));
        assert_eq!(format!("{:?}", secret.unwrap()), "WebhookSecret(..)");
    }
}
