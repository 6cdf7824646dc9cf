//! The services of a deployment, connected by what the environment says.
