//! The failures of production, provoked against real servers.
