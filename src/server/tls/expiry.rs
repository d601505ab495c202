//! When a certificate ends: the one field of X.509 that rustls does not tell, read by hand instead of by a parser of
//! all the rest.

use std::time::UNIX_EPOCH;

/// DER (X.690 §8.1): what the elements on the way to the date are.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of `certificate`'s validity, in Unix time: RFC 5280 §4.1, `Certificate.tbsCertificate.validity.notAfter`.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(certificate)?;
    let (tag, mut fields, _) = element(certificate)?;
    if tag != SEQUENCE {
        return None;
    }
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _serial_number_then_signature_then_issuer in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, after_not_before) = element(validity)?;
    let (tag, time, _) = element(after_not_before)?;
    unix_time(tag, std::str::from_utf8(time).ok()?)
}

/// The tag and the content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, der) = der.split_first()?;
    let (first, der) = der.split_first()?;
    let (length, der) = match first {
        0..=0x7f => (usize::from(*first), der),
        // Four bytes count more than any certificate has.
        0x81..=0x84 => {
            let (digits, der) = der.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), der)
        }
        _ => return None,
    };
    let (content, rest) = der.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn unix_time(tag: u8, time: &str) -> Option<i64> {
    let whole = match tag {
        UTC_TIME if time.get(..2)? < "50" => format!("20{time}"),
        UTC_TIME => format!("19{time}"),
        GENERALIZED_TIME => time.to_owned(),
        _ => return None,
    };
    let part = |range| whole.get(range);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?
    );
    let since = humantime::parse_rfc3339(&rfc3339).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn expiry_in(year: i32) -> Option<i64> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 3);
        not_after(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn the_end_is_read_in_both_ways_of_writing_it() {
        assert_eq!(expiry_in(2027), Some(1_801_612_800));
        assert_eq!(expiry_in(2049), Some(2_495_923_200));
        assert_eq!(expiry_in(2050), Some(2_527_459_200));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"0", b"\x30\x03abc", b"\x30\x84\xff\xff\xff\xff", &[0x30; 64]] {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
    }
}
