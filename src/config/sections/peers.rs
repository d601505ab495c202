//! Lists of peers, as they are written.

use super::super::problems::Problems;
use crate::peers::{PeerRange, Peers};

/// The peers of `list`, which is what was written at `key`.
pub(super) fn check_peers(problems: &mut Problems, key: &str, list: &[String]) -> Peers {
    list.iter().filter_map(|peer| check_peer(problems, key, peer)).collect()
}

fn check_peer(problems: &mut Problems, key: &str, peer: &str) -> Option<PeerRange> {
    let Ok(range) = peer.parse() else {
        let what =
            format!("`{peer}` is neither an address, nor a network such as 10.0.0.0/8, nor unix");
        problems.note(key, what);
        return None;
    };
    if let PeerRange::Net(net) = range
        && net.prefix_len() == 0
    {
        let what = format!("`{peer}` is the whole Internet: list the proxies in front of this one");
        problems.note(key, what);
    }
    Some(range)
}
