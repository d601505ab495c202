//! Which door a request comes to: our own paths first, everything else is for the application.

use http::Request;
use http_body::Body;

use super::{
    Router,
    browser::{BrowserDoor, BrowserPlace},
    doors::{Door, Form},
    notifications::Notifications,
    pages::Page,
    sign_in::{AppDoor, SignInPlace},
};

/// Where a request comes in.
#[derive(Debug)]
pub(super) enum Entrance<'a> {
    /// Apple tells of an account.
    Notifications(&'a Notifications),
    /// Somebody signs out by an app's token and by a browser's cookie.
    TwoExits(&'a AppDoor),
    /// A browser comes to this place, with a body that may be for an app's door, if that is there, too.
    Browser(&'a BrowserDoor, BrowserPlace, Option<&'a AppDoor>),
    /// An app does.
    App(&'a AppDoor, SignInPlace),
    /// Somebody reads a page that is the same for everybody.
    Page(&'a Page),
    /// Another gateway asks, or a caller who it is.
    Door(Door),
    /// Envoy asks.
    ExtAuthz(Form),
    /// It is for the application.
    Proxy,
}

impl Router {
    /// Where `request` comes in.
    pub(super) fn entrance_of<B: Body>(&self, request: &Request<B>) -> Entrance<'_> {
        let path = request.uri().path();
        if let Some(door) = self.notifications.as_ref().filter(|door| door.is_at(path)) {
            return Entrance::Notifications(door);
        }
        if let Some(door) = self.signs_out_twice_at(request) {
            return Entrance::TwoExits(door);
        }
        if let Some((door, place)) = self.browser_at(request) {
            return Entrance::Browser(door, place, self.exit_beside(request));
        }
        if let Some((door, place)) = self.app_at(path) {
            return Entrance::App(door, place);
        }
        if let Some(page) = self.pages.find(path) {
            return Entrance::Page(page);
        }
        if let Some(door) = self.doors.find(path) {
            return Entrance::Door(door);
        }
        self.ext_authz.find(path).map_or(Entrance::Proxy, Entrance::ExtAuthz)
    }
}
