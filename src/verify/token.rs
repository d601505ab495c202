//! A token that nobody has judged yet. `UnverifiedToken::open` is the only way to what it says.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use memchr::memchr_iter;
use serde_json::Value;

use super::{
    base64url,
    claims::SignedClaims,
    error::{Malformation, Part, TokenFault},
    json,
    jwks::{KeyId, VerifyingKey},
    printable::Printable,
};

/// Text in the shape of a JWS in compact serialisation (RFC 7515 §3.1): three non-empty parts.
///
/// It has no accessor for claims, and does not print what it holds.
pub struct UnverifiedToken<'a> {
    text: &'a [u8],
    signing_input: &'a [u8],
    header: &'a [u8],
    claims: &'a [u8],
    signature: &'a [u8],
    decoded_header: OnceLock<JoseHeader>,
}

impl<'a> UnverifiedToken<'a> {
    /// The longest token that is looked at, in bytes. Real ones have 640 to 880.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Takes `text` for a token if it has the size and shape of one. Nothing is decoded yet.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Oversized`] and [`TokenFault::Malformed`].
    pub fn parse(text: &'a str) -> Result<Self, TokenFault> {
        check_size(text.as_bytes())?;
        check_characters(text.as_bytes())?;
        Self::outline(text.as_bytes())
    }

    /// Takes `text` for a token if it has the size of one, and three parts. Whether its characters are a token's turns out when
    /// it is judged ([`open`](Self::open)): one whose verdict is remembered is what it was then.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub(crate) fn outline(text: &'a [u8]) -> Result<Self, TokenFault> {
        check_size(text)?;
        let mut dots = memchr_iter(b'.', text);
        let (Some(first), Some(last), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(
                Malformation::Parts(memchr_iter(b'.', text).count().saturating_add(1)).into()
            );
        };
        let (signing_input, signature) = around(text, last);
        let (header, claims) = around(signing_input, first);
        let token = Self {
            text,
            signing_input,
            header,
            claims,
            signature,
            decoded_header: OnceLock::new(),
        };
        token.check_no_part_is_empty()?;
        Ok(token)
    }

    fn check_no_part_is_empty(&self) -> Result<(), Malformation> {
        let parts = [
            (self.header, Part::Header),
            (self.claims, Part::Claims),
            (self.signature, Part::Signature),
        ];
        parts
            .iter()
            .find(|(text, _)| text.is_empty())
            .map_or(Ok(()), |(_, part)| Err(Malformation::Empty(*part)))
    }

    /// The `kid` of the JOSE header (RFC 7515 §4.1.4): which key to open the token with.
    pub(crate) fn key_id(&self) -> Result<&KeyId, TokenFault> {
        self.decoded_header().map(|header| &header.key_id)
    }

    /// Checks the signature with `key`, under the key's own algorithm, and only then reads the claims, for
    /// [`ClaimRules`](super::claims::ClaimRules) to `accept`: they borrow from what is decoded here.
    ///
    /// # Errors
    ///
    /// [`TokenFault`] when `key` is another one, the signature is wrong, or the claims are no JSON object; else what `accept`
    /// says.
    pub(super) fn open<T>(
        &self,
        key: &VerifyingKey,
        accept: impl FnOnce(SignedClaims<'_>) -> Result<T, TokenFault>,
    ) -> Result<T, TokenFault> {
        let key_id = self.key_id()?;
        if key_id != key.key_id() {
            return Err(TokenFault::UnknownKey { key_id: key_id.clone() });
        }
        // The other parts are decoded before the signature is checked, and these would be only after it.
        check_characters(self.claims)?;
        let signature = std::str::from_utf8(self.signature);
        let signature = signature.map_err(|_no_text| Malformation::Base64(Part::Signature))?;
        key.verify(self.signing_input, signature)?;
        let claims = decode(self.claims, Part::Claims)?;
        let claims = json::parse_object(&claims)
            .map_err(|error| Malformation::Json(Part::Claims, error.into()))?;
        accept(SignedClaims::new(claims, Arc::clone(key.name())))
    }

    /// The exact bytes, for a digest of them.
    pub(super) const fn as_bytes(&self) -> &[u8] {
        self.text
    }

    fn decoded_header(&self) -> Result<&JoseHeader, TokenFault> {
        if let Some(header) = self.decoded_header.get() {
            return Ok(header);
        }
        let header = JoseHeader::parse(&decode(self.header, Part::Header)?)?;
        Ok(self.decoded_header.get_or_init(|| header))
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

fn check_characters(text: &[u8]) -> Result<(), Malformation> {
    // Each byte is looked at whatever the others were: without a way out of the loop, many are looked at at once.
    match text.iter().fold(0, |strange, byte| strange | u8::from(!has_place(*byte))) {
        0 => Ok(()),
        _ => Err(Malformation::Character),
    }
}

/// Whether `byte` is one of base64url's characters (RFC 4648 §5), or the dot between two parts. Letters of both cases differ in
/// one bit, and `-` and `.` are neighbours: with fewer comparisons more bytes are compared at once.
const fn has_place(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26
        || byte.wrapping_sub(b'0') < 10
        || byte.wrapping_sub(b'-') < 2
        || byte == b'_'
}

fn check_size(text: &[u8]) -> Result<(), TokenFault> {
    const LIMIT: usize = UnverifiedToken::MAX_BYTES;
    match text.len() {
        ..=LIMIT => Ok(()),
        bytes => Err(TokenFault::Oversized { bytes, limit: LIMIT }),
    }
}

/// What stands before and behind the one byte at `at`.
fn around(text: &[u8], at: usize) -> (&[u8], &[u8]) {
    let behind = text.get(at.saturating_add(1)..);
    (text.get(..at).unwrap_or_default(), behind.unwrap_or_default())
}

fn decode(text: &[u8], part: Part) -> Result<Vec<u8>, TokenFault> {
    base64url::decode(text)
        .map_err(|_not_shown: base64::DecodeError| Malformation::Base64(part).into())
}

/// What we need of the JOSE header (RFC 7515 §4). `typ` is not judged: Apple sends none. `jku`, `jwk`, `x5u` and `x5c`
/// are ignored: where keys come from is ours to say.
#[derive(Debug)]
struct JoseHeader {
    key_id: KeyId,
}

impl JoseHeader {
    fn parse(bytes: &[u8]) -> Result<Self, TokenFault> {
        let header = json::parse_object(bytes)
            .map_err(|error| Malformation::Json(Part::Header, error.into()))?;
        for parameter in ["crit", "b64", "zip"] {
            if header.contains_key(parameter) {
                return Err(TokenFault::UnsupportedHeader { parameter });
            }
        }
        match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => {}
            Some(other) => return Err(TokenFault::Algorithm { found: Printable::new(other) }),
            None => return Err(Malformation::HeaderParameter("alg").into()),
        }
        let kid = header.get("kid").and_then(Value::as_str).and_then(KeyId::new);
        Ok(Self { key_id: kid.ok_or(Malformation::HeaderParameter("kid"))? })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;

    fn encode(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn fault_of_header(json: &str) -> &'static str {
        let text = format!("{}.e30.c2ln", encode(json));
        UnverifiedToken::parse(&text).unwrap().key_id().unwrap_err().code()
    }

    #[test]
    fn three_parts_of_base64url_have_the_shape_of_a_token() {
        let text = format!("{}.e30.c2ln", encode(r#"{"kid":"YuyXoY","alg":"RS256"}"#));
        assert_eq!(UnverifiedToken::parse(&text).unwrap().key_id().unwrap().as_str(), "YuyXoY");
    }

    #[test]
    fn the_characters_of_base64url_and_the_dot_have_a_place_in_a_token() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert_eq!(has_place(byte), expected, "{byte}");
        }
    }

    #[test]
    fn other_shapes_are_malformed() {
        for text in [
            "",
            "a",
            "a.b",
            ".b.c",
            "a..c",
            "a.b.",
            "a.b.c.d",
            "a.b.c.d.e",
            "a.b.c=",
            " a.b.c",
            "a.b.ç",
            "{}",
        ] {
            assert_eq!(
                UnverifiedToken::parse(text).unwrap_err().code(),
                "token_malformed",
                "{text}"
            );
        }
    }

    #[test]
    fn an_outline_leaves_the_characters_to_be_checked() {
        for text in ["a.b.c=", " a.b.c", "a.b.c ", "a.b.ç", "a.\0.c"] {
            assert!(UnverifiedToken::outline(text.as_bytes()).is_ok(), "{text}");
            let fault = UnverifiedToken::parse(text).unwrap_err();
            assert!(matches!(fault, TokenFault::Malformed(Malformation::Character)), "{text}");
        }
        for text in [&b"a.b"[..], b"a.b.c.d", b".b.c", b"a.b.", b"\xff", &[b'.'; 9000]] {
            assert!(UnverifiedToken::outline(text).is_err());
        }
    }

    #[test]
    fn size_is_judged_before_shape() {
        let text = "!".repeat(UnverifiedToken::MAX_BYTES + 1);
        assert_eq!(UnverifiedToken::parse(&text).unwrap_err().code(), "token_oversized");
    }

    #[test]
    fn only_rs256_is_an_algorithm() {
        for alg in ["none", "HS256", "ES256", "RS384", "PS256", "rs256", "RS256 ", ""] {
            assert_eq!(
                fault_of_header(&format!(r#"{{"kid":"k","alg":"{alg}"}}"#)),
                "token_algorithm",
                "{alg}"
            );
        }
        assert_eq!(fault_of_header(r#"{"kid":"k"}"#), "token_malformed");
        assert_eq!(fault_of_header(r#"{"kid":"k","alg":["RS256"]}"#), "token_malformed");
    }

    #[test]
    fn a_header_that_must_be_understood_is_refused() {
        for parameter in ["crit", "b64", "zip"] {
            let json = format!(r#"{{"kid":"k","alg":"RS256","{parameter}":[]}}"#);
            assert_eq!(fault_of_header(&json), "token_unsupported_header", "{parameter}");
        }
    }

    #[test]
    fn a_key_id_is_a_short_name_that_cannot_hold_an_address() {
        let long = "k".repeat(200);
        let long = format!("\"{long}\"");
        for kid in [
            "1",
            "null",
            r#""""#,
            r#""a b""#,
            r#""\u0000""#,
            r#""é""#,
            r#""a@b""#,
            r#""a:b""#,
            &long,
        ] {
            assert_eq!(
                fault_of_header(&format!(r#"{{"kid":{kid},"alg":"RS256"}}"#)),
                "token_malformed",
                "{kid}"
            );
        }
    }

    #[test]
    fn a_token_does_not_print_itself() {
        let token = UnverifiedToken::parse("aaaa.bbbb.cccc").unwrap();
        assert_eq!(format!("{token:?}"), "UnverifiedToken { bytes: 14, .. }");
    }
}
