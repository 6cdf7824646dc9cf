//! How a process is asked to end.

/// Comes back when a person or the system asks the process to end; it is listened for from this call on.
pub fn asked_to_end() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        async move {
            match signals {
                [Ok(mut interrupt), Ok(mut terminate)] => {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                }
                [Ok(mut one), _] | [_, Ok(mut one)] => drop(one.recv().await),
                _ => std::future::pending().await,
            }
        }
    }
    #[cfg(not(unix))]
    async {
        drop(tokio::signal::ctrl_c().await);
    }
}
