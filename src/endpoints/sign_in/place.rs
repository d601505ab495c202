//! Which request is for what.

/// What is below the path of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The path itself: an app signs in.
    SignIn,
}

impl Place {
    const ALL: [Self; 1] = [Self::SignIn];

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
        }
    }

    /// The one method that it takes.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::SignIn => "POST",
        }
    }
}
