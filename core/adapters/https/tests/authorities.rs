//! Against a server by TLS.

use axum::Router;
use lyceum_proxies::tls::{Tls, authority};

async fn serve() -> (String, String) {
    let (pem, acceptor) = authority();
    let (listener, url) = Tls::on_a_free_port(acceptor).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(async || "here")).await });
    (pem, url)
}

async fn ask(client: reqwest::ClientBuilder, url: &str) -> reqwest::Result<String> {
    client.no_proxy().build()?.get(url).send().await?.text().await
}

#[tokio::test]
async fn a_server_is_trusted_by_whoever_names_its_authority_and_by_nobody_else() {
    let (pem, url) = serve().await;
    assert_eq!(ask(lyceum_https::trusting(pem.as_bytes()).unwrap(), &url).await.unwrap(), "here");
    let (other, _) = authority();
    let both = format!("{other}\n{pem}");
    assert_eq!(ask(lyceum_https::trusting(both.as_bytes()).unwrap(), &url).await.unwrap(), "here");
    for client in [lyceum_https::builder(), lyceum_https::trusting(other.as_bytes()).unwrap()] {
        let error = lyceum_https::in_full(&ask(client, &url).await.unwrap_err());
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    // The certificate is for a name.
    let by_number = url.replace("localhost", "127.0.0.1");
    let error = ask(lyceum_https::trusting(pem.as_bytes()).unwrap(), &by_number).await.unwrap_err();
    let error = lyceum_https::in_full(&error);
    assert!(error.contains("certificate not valid for name"), "{error}");
}
