//! HTTP/2 by hand (RFC 9113): frames of which a well-behaved library would write only some, and header fields with any
//! bytes in them (RFC 7541, without its tables and its Huffman code).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::support::open;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Flags, of which `END_STREAM` is `ACK` to other frames.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;
pub(super) const WHOLE: u8 = END_STREAM | END_HEADERS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame (§4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A setting and its value (§6.5.1).
pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Header fields, each a literal that is never indexed (RFC 7541 §6.2.2).
pub(super) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A string literal (RFC 7541 §5.2); its characters are those of Latin-1.
pub(super) fn text(text: &str) -> Vec<u8> {
    let bytes: Vec<u8> = text.chars().map(|char| u8::try_from(char).unwrap()).collect();
    [integer(bytes.len(), 0x7f, 0), bytes].concat()
}

/// An integer behind a prefix that ends in the bits of `most` (RFC 7541 §5.1).
pub(super) fn integer(mut value: usize, most: u8, prefix: u8) -> Vec<u8> {
    if value < usize::from(most) {
        return vec![prefix | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![prefix | most];
    value -= usize::from(most);
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code in a `GOAWAY` (§6.8).
    pub(super) fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[4..8].try_into().unwrap())
    }

    /// `:status`, the first field of an answer's `HEADERS`. We allow the peer no dynamic table, so it is in the static one or
    /// a literal.
    pub(super) fn status(&self) -> u16 {
        // The peer says that it heard about the table (RFC 7541 §6.3).
        let mut block = &self.payload[..];
        while block[0] & 0xe0 == 0x20 {
            block = &block[1..];
        }
        match block[0] {
            indexed @ 0x88..=0x8e => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
            }
            _ if block[1] & 0x80 == 0 => str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
            _ => huffman_digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
        }
    }
}

/// A number in the Huffman code (RFC 7541 appendix B): `0`, `1` and `2` have five bits, the other digits six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits = bytes.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let bits = bits << (32 - 8 * bytes.len());
    let (number, _) = (0..3).fold((0, bits), |(number, bits), _| {
        let (digit, length) = match bits >> 27 {
            short @ 0..3 => (short, 5),
            _ => ((bits >> 26) - 0b01_1001 + 3, 6),
        };
        (number * 10 + digit, bits << length)
    });
    u16::try_from(number).unwrap()
}

/// A connection that speaks whatever it is told to.
pub(super) struct Connection(TcpStream);

impl Connection {
    /// A connection that has said the preface, and that it has no room for a dynamic table.
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::with(address, &[]).await
    }

    /// Likewise, with further settings.
    pub(super) async fn with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut connection = Self(open(address).await);
        let settings = [setting(1, 0), settings.to_vec()].concat();
        connection.say(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await;
        connection
    }

    /// Writes `bytes`, unless the peer has gone.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame; none at the end of the connection.
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        hear(&mut self.0).await
    }

    /// Writes `bytes` and reads nothing, until the peer takes nothing more for as long as `patience`.
    pub(super) async fn pour(&mut self, bytes: &[u8], patience: Duration) {
        for piece in bytes.chunks(16_384) {
            if !timeout(patience, self.say(piece)).await.unwrap_or(false) {
                return;
            }
        }
    }

    /// Writes `bytes` and a ping, and reads on until that is answered or the connection ends.
    pub(super) async fn flood(&mut self, bytes: &[u8]) {
        const LAST: [u8; 8] = *b"the last";
        let (reading, mut writing) = self.0.split();
        let mut reading = BufReader::new(reading);
        let bytes = [bytes, &frame(PING, 0, 0, &LAST)].concat();
        let answered = async {
            while let Some(frame) = hear(&mut reading).await {
                if frame.kind == PING && frame.payload == LAST {
                    return;
                }
            }
        };
        tokio::join!(answered, async { writing.write_all(&bytes).await.ok() });
    }
}

async fn hear(reading: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    reading.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length.try_into().unwrap()];
    reading.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
    Some(Frame { kind: head[3], stream, payload })
}

#[test]
fn a_status_is_read_in_every_way_that_it_may_be_written() {
    let status =
        |payload: &[u8]| Frame { kind: HEADERS, stream: 1, payload: payload.to_vec() }.status();
    assert_eq!(status(&[0x88]), 200);
    assert_eq!(status(&[0x20, 0x8c]), 400);
    assert_eq!(status(b"\x08\x03401"), 401);
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302); // RFC 7541 C.6.1
    assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307); // RFC 7541 C.6.2
}
