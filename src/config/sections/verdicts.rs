//! `[verdicts]`.

use serde::{Deserialize, Serialize};

use crate::verify::VerifierBuilder;

/// `[verdicts]`: the memory of tokens that were judged already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VerdictsSection {
    /// Verdicts remembered at most; default 100 000. A remembered one saves an RSA verification each time its token
    /// comes again, until the token expires. Size it after the people active within a day, a few hundred bytes each:
    /// more costs memory, less costs time. Once that many are remembered, a token must come twice before its verdict
    /// is, and the least used one leaves. 0 remembers none, and judges every request anew.
    capacity: u64,
}

impl Default for VerdictsSection {
    fn default() -> Self {
        Self { capacity: VerifierBuilder::VERDICT_CAPACITY }
    }
}

impl VerdictsSection {
    pub(super) const fn check(self) -> u64 {
        let Self { capacity } = self;
        capacity
    }
}
