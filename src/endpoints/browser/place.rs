//! Which request is for what.

/// What is below the path of browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrowserPlace {
    /// The page with the button, or Apple's at once.
    Login,
    /// Where the button leads: a sign-in begins.
    Start,
    /// Where Apple has the browser post its answer.
    Callback,
    /// Where the session ends.
    Logout,
    /// Where Apple has an Android app's browser tab post its answer.
    Android,
}

impl BrowserPlace {
    const ALL: [Self; 5] = [Self::Login, Self::Start, Self::Callback, Self::Logout, Self::Android];

    /// The place at `path`, if it is one of ours below `base`.
    pub(super) fn find(base: &str, path: &str) -> Option<Self> {
        let below = path.strip_prefix(base)?;
        Self::ALL.into_iter().find(|place| place.suffix() == below)
    }

    /// Every path below `base`.
    pub(crate) fn paths(base: &str) -> impl Iterator<Item = (Self, String)> {
        Self::ALL.into_iter().map(move |place| (place, format!("{base}{}", place.suffix())))
    }

    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Login => "/login",
            Self::Start => "/start",
            Self::Callback => "/callback",
            Self::Logout => "/logout",
            Self::Android => "/android-callback",
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Self::Login | Self::Start => "GET, HEAD",
            Self::Callback | Self::Logout | Self::Android => "POST",
        }
    }
}
