//! The failures of production, provoked against real servers.
//!
//! [`traffic`] is sent to topics; workers ([`worker`], processes that can be killed) read them behind proxies whose line
//! goes bad ([`tcp_proxy`]) or which answer in a service's stead ([`http_proxy`]); [`stand`] holds all of that for one row
//! of the matrix. Afterwards [`count`] holds what is there against [`oracle`], a plain fold over what was sent.

pub mod connect;
pub mod count;
pub mod emulator;
pub mod extent;
pub mod http_proxy;
pub mod oracle;
pub mod prefixed;
pub mod stand;
pub mod steps;
pub mod table;
pub mod tcp_proxy;
pub mod traffic;
pub mod worker;
