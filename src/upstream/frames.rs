//! Where WebSocket frames begin and end (RFC 6455 §5.2), told from their headers alone.

/// Follows one direction of a WebSocket. It holds no byte of any payload.
#[derive(Debug, Default)]
pub(super) struct FrameBoundaries {
    header: [u8; Self::LONGEST_HEADER],
    header_length: usize,
    payload_left: u64,
    closing: bool,
}

impl FrameBoundaries {
    const LONGEST_HEADER: usize = 14;

    /// Notes that `bytes` have passed.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let here =
                    usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= here as u64;
                bytes = &bytes[here..];
            } else {
                self.pass_header(*first);
                bytes = rest;
            }
        }
    }

    /// Whether a frame of ours would stand between two frames. Control frames may come between the fragments of a
    /// message (§5.4).
    pub(super) const fn at_boundary(&self) -> bool {
        self.header_length == 0 && self.payload_left == 0
    }

    /// Whether a Close frame has passed, after which none may follow (§5.5.1).
    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    fn pass_header(&mut self, byte: u8) {
        self.header[self.header_length] = byte;
        self.header_length += 1;
        if self.header_length < 2 || self.header_length < self.whole_header() {
            return;
        }
        self.payload_left = self.payload();
        self.closing |= self.header[0] & 0x0f == OPCODE_CLOSE;
        self.header_length = 0;
    }

    /// The length of the header whose first two bytes are here.
    fn whole_header(&self) -> usize {
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload(&self) -> u64 {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => big_endian(&self.header[2..4]),
            127 => big_endian(&self.header[2..10]),
            short => u64::from(short),
        }
    }
}

const OPCODE_CLOSE: u8 = 8;

/// A Close frame from a server (§5.5.1, §7.4.1): unmasked, with a status code and no reason.
pub(super) const fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x80 | OPCODE_CLOSE, 2, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload {
            0..126 => frame.push(mask + u8::try_from(payload).unwrap()),
            126..65536 => {
                frame.push(mask + 126);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask + 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0xff; payload + if masked { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn a_boundary_is_after_the_last_byte_of_a_frame_and_nowhere_else() {
        for payload in [0, 1, 125, 126, 300, 65_535, 65_536, 100_000] {
            let mut frames = FrameBoundaries::default();
            let bytes = frame(2, payload, false);
            for (at, byte) in bytes.iter().enumerate() {
                assert_eq!(frames.at_boundary(), at == 0, "{payload}: {at}");
                frames.pass(&[*byte]);
            }
            assert!(frames.at_boundary(), "{payload}");
        }
    }

    #[test]
    fn frames_are_followed_whatever_the_pieces_they_come_in() {
        let bytes = [frame(1, 5, false), frame(9, 0, false), frame(2, 70_000, false)].concat();
        for piece in [1, 2, 3, 7, 1000, 65_536, bytes.len()] {
            let mut frames = FrameBoundaries::default();
            bytes.chunks(piece).for_each(|piece| frames.pass(piece));
            assert!(frames.at_boundary() && !frames.is_closing(), "{piece}");
            frames.pass(&bytes[..bytes.len() - 1]);
            assert!(!frames.at_boundary(), "{piece}");
        }
    }

    #[test]
    fn a_masked_frame_is_four_bytes_longer_once_it_has_a_payload_or_not() {
        let mut frames = FrameBoundaries::default();
        frames.pass(&frame(1, 3, true));
        assert!(frames.at_boundary());
        frames.pass(&frame(1, 0, true));
        assert!(frames.at_boundary());
    }

    #[test]
    fn a_close_frame_is_noticed() {
        let mut frames = FrameBoundaries::default();
        frames.pass(&close_frame(1008));
        assert!(frames.is_closing() && frames.at_boundary());
        assert_eq!(close_frame(1008), [0x88, 2, 0x03, 0xf0]);
    }

    #[test]
    fn a_length_beyond_all_measure_is_no_trouble() {
        let mut frames = FrameBoundaries::default();
        frames.pass(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        frames.pass(&[0; 1000]);
        assert!(!frames.at_boundary());
    }
}
