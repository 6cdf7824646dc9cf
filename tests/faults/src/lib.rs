//! The failures of production, provoked against real servers.
//!
//! [`traffic`] is sent to topics; workers ([`worker`], processes that can be killed) read them behind proxies whose line
//! goes bad ([`lyceum_proxies::tcp`]) or which answer in a service's stead ([`lyceum_proxies::http`]); [`stand`] holds all of that for one row
//! of the matrix. Afterwards [`count`] holds what is there against [`oracle`], a plain fold over what was sent.

pub mod connect;
mod container;
pub mod count;
pub mod emulator;
pub mod extent;
pub mod oracle;
pub mod prefixed;
pub mod stand;
pub mod steps;
pub mod table;
pub mod traffic;
pub mod worker;
