//! Which apps share consent: a person who stops using Sign in with Apple with one app of a group stops it for the group.

use super::super::identity::ClientId;

/// The groups of apps. Apps that are in none, and all of them where there is no group, are one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientGroups(Vec<Vec<ClientId>>);

impl ClientGroups {
    /// The name of what concerns every app. No app is called so.
    pub(super) const ALL: &str = "";

    pub(crate) const fn new(groups: Vec<Vec<ClientId>>) -> Self {
        Self(groups)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of the group that the app is in, if it is in one.
    pub(super) fn place_of(&self, client_id: &ClientId) -> Option<usize> {
        self.0.iter().position(|group| group.contains(client_id))
    }

    /// The name of the group that the app is in: that of its first app, which must not change.
    pub(super) fn name_of(&self, client_id: Option<&ClientId>) -> &str {
        let place = client_id.and_then(|client_id| self.place_of(client_id));
        place.and_then(|place| self.first_of(place)).map_or(Self::ALL, ClientId::as_str)
    }

    /// The app by which a group goes.
    pub(super) fn first_of(&self, place: usize) -> Option<&ClientId> {
        self.0.get(place)?.first()
    }

    /// The place of the group of that name. A name that means no group means all apps: it may be that of a group that was
    /// taken apart since.
    pub(super) fn place_named(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|group| group.first().is_some_and(|first| first.as_str() == name))
    }
}
