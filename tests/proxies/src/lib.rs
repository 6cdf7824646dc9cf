//! What stands between a client and a service in tests: a line that goes bad ([`tcp`]), and a server that answers in the
//! service's stead, changes its answer, or loses it ([`http`]), or takes only what is signed as AWS wants it ([`signature`]); and how
//! a server listens by TLS ([`tls`]).

pub mod http;
pub mod signature;
pub mod tcp;
pub mod tls;
