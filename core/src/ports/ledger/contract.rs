//! What every adapter of this port must do, and its twin and its model with it.
