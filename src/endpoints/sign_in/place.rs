//! Which request is for what.

/// What is below the path of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignInPlace {
    /// The path itself: an app signs in.
    SignIn,
    /// It asks for a nonce to start with.
    Nonce,
    /// It asks for the next tokens of its session.
    Refresh,
    /// It signs out.
    Logout,
    /// Somebody deletes their account.
    Account,
}

impl SignInPlace {
    const ALL: [Self; 5] = [Self::SignIn, Self::Nonce, Self::Refresh, Self::Logout, Self::Account];

    /// The place at `path`, if it is `base` or one of ours below.
    pub(super) fn find(base: &str, path: &str) -> Option<Self> {
        let below = path.strip_prefix(base)?;
        Self::ALL.into_iter().find(|place| place.suffix() == below)
    }

    /// Every path of a door at `base`.
    pub(crate) fn paths(base: &str) -> impl Iterator<Item = String> {
        Self::ALL.into_iter().map(move |place| format!("{base}{}", place.suffix()))
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::SignIn => "",
            Self::Nonce => "/nonce",
            Self::Refresh => "/refresh",
            Self::Logout => "/logout",
            Self::Account => "/account",
        }
    }

    /// The one method that it takes.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::SignIn | Self::Nonce | Self::Refresh | Self::Logout => "POST",
            Self::Account => "DELETE",
        }
    }
}
