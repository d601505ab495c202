//! The PROXY protocol, versions 1 and 2: a balancer that passes bytes on says first whose they are
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! Whoever is believed must send it, and nobody else is asked: a header from a stranger is garbage to HTTP.

use std::{io, net::SocketAddr};

use bytes::{Buf, BytesMut};
use ppp::{PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::peers::has_address;

use super::sniff::Rewind;

/// The longest header that is taken, its extensions (TLVs) included. The specification keeps senders within 536 bytes.
const LONGEST: usize = 4 * 1024;

/// The longest line of version 1, its end included (§2.1).
const LONGEST_LINE: usize = 107;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why a connection that had to begin with a header is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the connection ended within the header")]
    Ended,
    #[error("what came is no header of the PROXY protocol")]
    Garbage,
}

/// Reads the header that begins `io`: the source that it announces, and the stream behind it.
///
/// No source means that the sender speaks for itself (`LOCAL`, as its health checks do) or does not know whose bytes these
/// are (`UNKNOWN`): the specification then has us use the connection's own peer.
pub(super) async fn read_header<IO: AsyncRead + Unpin>(
    mut io: IO,
) -> Result<(Option<SocketAddr>, Rewind<IO>), NoHeader> {
    let mut seen = BytesMut::with_capacity(256);
    loop {
        if let Some((source, length)) = parse(&seen)? {
            seen.advance(length);
            return Ok((source, Rewind::over(io, seen.freeze())));
        }
        if seen.len() >= LONGEST {
            return Err(NoHeader::Garbage);
        }
        if io.read_buf(&mut seen).await? == 0 {
            return Err(NoHeader::Ended);
        }
    }
}

/// The source and the header's length; `None` while more bytes could make it a header.
fn parse(seen: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let begins = |signature: &[u8]| seen.iter().zip(signature).all(|(a, b)| a == b);
    if !begins(V1) && !begins(V2) {
        return Err(NoHeader::Garbage);
    }
    let found = if begins(V2) { parse_v2(seen)? } else { parse_v1(seen)? };
    let Some((source, length)) = found else { return Ok(None) };
    // No connection comes from 0.0.0.0: to us that is a peer of a Unix domain socket, which must not be announced.
    match source {
        Some(source) if !has_address(source.ip()) => Err(NoHeader::Garbage),
        source => Ok(Some((source, length))),
    }
}

fn parse_v1(seen: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2) else {
        return if seen.len() < LONGEST_LINE { Ok(None) } else { Err(NoHeader::Garbage) };
    };
    // The whole line, and no more: of half a line the parser cannot always tell that it is half a line.
    let line = v1::Header::try_from(&seen[..end]).map_err(|_invalid| NoHeader::Garbage)?;
    Ok(Some((source_of_v1(&line), end)))
}

fn parse_v2(seen: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, NoHeader> {
    match v2::Header::try_from(seen) {
        Ok(header) => Ok(Some((source_of_v2(&header), header.len()))),
        Err(error) if error.is_incomplete() => Ok(None),
        Err(_invalid) => Err(NoHeader::Garbage),
    }
}

fn source_of_v1(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some(canonical((ip.source_address, ip.source_port).into())),
        v1::Addresses::Unknown => None,
    }
}

fn source_of_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.command, &header.addresses) {
        (v2::Command::Local, _)
        | (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some(canonical((ip.source_address, ip.source_port).into()))
        }
    }
}

fn canonical(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the header of `bytes`, which come one by one: the source, and what is behind it.
    async fn read(bytes: &[u8]) -> Result<(Option<String>, String), NoHeader> {
        let (mut sender, receiver) = tokio::io::duplex(1);
        let writing = async {
            tokio::io::AsyncWriteExt::write_all(&mut sender, bytes).await.ok();
            drop(sender);
        };
        let reading = async {
            let (source, mut rest) = read_header(receiver).await?;
            let mut behind = String::new();
            rest.read_to_string(&mut behind).await?;
            Ok((source.map(|source| source.to_string()), behind))
        };
        tokio::join!(writing, reading).1
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [V2, &[0x20 | command, family], &length, addresses, b"GET"].concat()
    }

    const IPV4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    #[tokio::test]
    async fn a_header_of_version_1_announces_the_source() {
        for (header, source) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n", Some("203.0.113.9:4711")),
            ("PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n", Some("[2001:db8::9]:4711")),
            ("PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 80\r\n", Some("203.0.113.9:4711")),
            ("PROXY UNKNOWN\r\n", None),
        ] {
            let (found, behind) = read(format!("{header}GET").as_bytes()).await.unwrap();
            assert_eq!((found.as_deref(), behind.as_str()), (source, "GET"), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_header_of_version_2_announces_the_source() {
        let with_extension = [&IPV4[..], &[0x04, 0, 2, 0, 0]].concat();
        for (header, source) in [
            (v2(1, 0x11, &IPV4), Some("203.0.113.9:4711")),
            (v2(1, 0x11, &with_extension), Some("203.0.113.9:4711")),
            (v2(0, 0x11, &IPV4), None),
            (v2(0, 0x00, &[]), None),
            (v2(1, 0x00, &[]), None),
            (v2(1, 0x31, &[b'x'; 216]), None),
        ] {
            let (found, behind) = read(&header).await.unwrap();
            assert_eq!((found.as_deref(), behind.as_str()), (source, "GET"), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_garbage() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP4 here there 1 2\r\n",
            b"PROXY TCP4 0.0.0.0 10.0.0.1 4711 80\r\n",
            b"PROXY TCP6 :: ::1 4711 80\r\n",
            b"proxy TCP4 203.0.113.9 10.0.0.1 4711 80\r\n",
            &v2(7, 0x11, &IPV4),
            &v2(1, 0x11, &IPV4[..4]),
            &v2(1, 0x11, &[0; LONGEST]),
            &[b"PROXY TCP4 ", &[b'1'; 300][..]].concat(),
        ] {
            let outcome = read(bytes).await;
            assert!(matches!(outcome, Err(NoHeader::Garbage)), "{outcome:?}: {bytes:?}");
        }
        assert!(matches!(read(b"PROXY TCP4 203").await, Err(NoHeader::Ended)));
    }
}
