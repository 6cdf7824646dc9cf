//! Event family: programs, sessions and bookings.
