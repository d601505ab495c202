//! Documents of Apple's, asked for over HTTPS: a bounded body in bounded time.

use bytes::Bytes;
use reqwest::{Client, Response, header};

use super::{super::error::FetchFault, Fetch, JwkSet, JwksSource};
use crate::https::{HttpsError, HttpsOptions, TrustedUrl, has_content_encoding, is_html};

/// One small document at one address.
#[derive(Clone, Debug)]
pub(super) struct Document {
    client: Client,
    url: TrustedUrl,
}

impl Document {
    pub(super) fn new(url: TrustedUrl, options: &HttpsOptions) -> Result<Self, HttpsError> {
        Ok(Self { client: options.client()?.build()?, url })
    }

    pub(super) async fn get(&self) -> Result<Bytes, FetchFault> {
        let request =
            self.client.get(self.url.as_url().clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unnamed)?;
        check_head(&response)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unnamed)? {
            if body.len().saturating_add(chunk.len()) > JwkSet::MAX_BYTES {
                return Err(FetchFault::Oversized { limit: JwkSet::MAX_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// What can be refused before a byte of the body is read.
fn check_head(response: &Response) -> Result<(), FetchFault> {
    if response.status() != 200 {
        return Err(FetchFault::Status(response.status().as_u16()));
    }
    if has_content_encoding(response.headers()) {
        return Err(FetchFault::ContentEncoding);
    }
    // Any other type may pass: what counts is whether a key set can be read, and static servers say what they like.
    if is_html(response.headers()) {
        return Err(FetchFault::Html);
    }
    Ok(())
}

/// A key endpoint, asked over HTTPS: no redirects, no proxy from the environment, a bounded body in bounded time.
#[derive(Clone, Debug)]
pub struct HttpsJwks {
    document: Document,
}

impl HttpsJwks {
    /// A source that asks `url` directly. Installs aws-lc-rs as the process's TLS provider unless one is installed.
    ///
    /// # Errors
    ///
    /// When the system's certificate roots cannot be loaded.
    pub fn new(url: TrustedUrl) -> Result<Self, HttpsError> {
        Self::with_options(url, &HttpsOptions::default())
    }

    /// A source that asks `url` in the way that `options` say.
    ///
    /// # Errors
    ///
    /// [`HttpsError`] when the certificate authorities cannot be loaded or the proxy is no proxy.
    pub fn with_options(url: TrustedUrl, options: &HttpsOptions) -> Result<Self, HttpsError> {
        Ok(Self { document: Document::new(url, options)? })
    }
}

/// The fault without the address, whose query may be a secret; whoever set it knows it.
fn unnamed(error: reqwest::Error) -> FetchFault {
    FetchFault::transport(error.without_url())
}

impl JwksSource for HttpsJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(self.document.get())
    }

    fn place(&self) -> String {
        self.document.url.as_url().to_string()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn keys_are_fetched_through_the_proxy_that_is_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let options = HttpsOptions::new(None, Some(proxy));
        let source = HttpsJwks::with_options(TrustedUrl::apple_keys(), &options).unwrap();
        let asked = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 39];
            connection.read_exact(&mut head).await.unwrap();
            connection.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let (asked, answer) = tokio::join!(asked, source.fetch());
        assert_eq!(asked, "CONNECT appleid.apple.com:443 HTTP/1.1\r");
        assert_eq!(answer.unwrap_err().code(), "transport");
    }
}
