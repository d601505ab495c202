//! Envoy's `ext_authz`, in both of its forms, without Envoy. With it: `real_programs::envoy`.

mod browsers;
#[cfg(feature = "ext-authz")]
mod check;
#[cfg(feature = "ext-authz")]
mod health;
mod http_form;
#[cfg(feature = "ext-authz")]
pub(crate) mod protocol;

#[cfg(feature = "ext-authz")]
pub(crate) use self::check::ask_at as ask;
