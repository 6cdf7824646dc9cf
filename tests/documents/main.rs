//! Runs what `docs/events.md` shows in Rust. Whoever copies it has a TLS by the default features of `reqwest`, which this workspace has
//! from core/adapters/https.

#[expect(clippy::disallowed_methods, reason = "it is shown to people, whose reqwest has TLS")]
mod shown {
    include!("publish.rs");

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        main()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Nobody else did.
    _ = rustls::crypto::ring::default_provider().install_default();
    shown::run()
}
