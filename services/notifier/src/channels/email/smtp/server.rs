//! The mail server as the settings describe it.

use std::{path::Path, sync::Arc};

use percent_encoding::percent_decode_str;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use thiserror::Error;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// A mail server, from its URL.
pub(crate) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) tls_name: ServerName<'static>,
    pub(super) connector: TlsConnector,
    pub(super) credentials: Option<Credentials>,
    /// The name for EHLO; none means the address of the connection.
    pub(super) helo: Option<String>,
    pub(super) allows_plaintext_auth: bool,
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// The connection is in plain text.
    Never,
    /// STARTTLS is used where the server offers it.
    Opportunistic,
    /// STARTTLS is used, and no mail is sent without it.
    Required,
    /// TLS begins with the first byte.
    Implicit,
}

/// The account at the mail server.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// A URL that names no mail server. The error does not repeat the URL, because it may contain a password.
#[derive(Debug, Error)]
pub(crate) enum BadServer {
    #[error(
        "smtp.url {0}: give smtps://user:password@host:465, smtp://user:password@host:587?tls=required, or without TLS \
         smtp://host:25; special characters in the password are percent-encoded"
    )]
    Url(String),
    #[error(
        "smtp.url has a password, and asks for no TLS, so that everybody on the way can read it: give \
         smtp://…:587?tls=required or smtps://…:465, or set smtp.allow_plaintext_auth = true"
    )]
    PlaintextAuth,
    #[error("smtp.ca = {path:?} {problem}: give a file with certificates in PEM")]
    Ca { path: String, problem: String },
    #[error(
        "smtp.helo = {0:?} is no name for EHLO: give a domain like mail.example.com, or an address like [192.0.2.1]{1}"
    )]
    Helo(String, String),
}

impl Server {
    /// Parses the URL: `tls` is `required` or `opportunistic`. `helo` is empty for the default, which is `sender_domain` where
    /// that is a name that others can resolve, and the address of the connection elsewhere; `ca` is empty for none.
    pub(crate) fn parse(
        url: &str,
        helo: &str,
        sender_domain: &str,
        ca: &Path,
        allows_plaintext_auth: bool,
    ) -> Result<Self, BadServer> {
        let bad = |problem: String| BadServer::Url(problem);
        let url = Url::parse(url).map_err(|error| bad(format!("is not a URL ({error})")))?;
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(bad("names no host".into())),
        };
        let wanted = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
        let (tls, port) = match (url.scheme(), wanted.as_deref()) {
            ("smtp", None) => (Tls::Never, 25),
            ("smtp", Some("required")) => (Tls::Required, 587),
            ("smtp", Some("opportunistic")) => (Tls::Opportunistic, 587),
            ("smtps", _) => (Tls::Implicit, 465),
            ("smtp", Some(tls)) => return Err(bad(format!("has tls={tls}, which is not known"))),
            (scheme, _) => return Err(bad(format!("has scheme {scheme}, which is not known"))),
        };
        if !url.path().trim_matches('/').is_empty() {
            return Err(bad("has a path, which means nothing (the name for EHLO is smtp.helo)".into()));
        }
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
            decoded.map_err(|_| bad("has a user or password that is not UTF-8".into()))
        };
        let credentials = match url.password() {
            Some(password) => Some(Credentials { user: decode(url.username())?, password: decode(password)? }),
            None => None,
        };
        if credentials.is_some() && tls == Tls::Never && !allows_plaintext_auth {
            return Err(BadServer::PlaintextAuth);
        }
        let tls_name = ServerName::try_from(host.clone())
            .map_err(|error| bad(format!("names a host that no certificate can have ({error})")))?;
        let connector = TlsConnector::from(Arc::new(tls_config(ca)?));
        let helo = name_for_helo(helo, sender_domain)?;
        Ok(Self {
            port: url.port().unwrap_or(port),
            host,
            tls,
            tls_name,
            connector,
            credentials,
            helo,
            allows_plaintext_auth,
        })
    }
}

/// Trusts the certificate authorities of the machine, and those of the file `ca`.
fn tls_config(ca: &Path) -> Result<ClientConfig, BadServer> {
    let bad = |problem: String| BadServer::Ca { path: ca.display().to_string(), problem };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !ca.as_os_str().is_empty() {
        let file = CertificateDer::pem_file_iter(ca).map_err(|error| bad(format!("cannot be read ({error})")))?;
        let mut count = 0;
        for certificate in file {
            let certificate = certificate.map_err(|error| bad(format!("is not PEM ({error})")))?;
            roots.add(certificate).map_err(|error| bad(format!("has no usable certificate ({error})")))?;
            count += 1;
        }
        if count == 0 {
            return Err(bad("has no certificate".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder =
        versions.map_err(|error| BadServer::Url(format!("asks for TLS, which cannot be set up ({error})")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the name for EHLO. Many servers refuse a name without a dot.
fn name_for_helo(helo: &str, sender_domain: &str) -> Result<Option<String>, BadServer> {
    if helo.is_empty() {
        return Ok(Some(sender_domain).filter(|domain| domain.contains('.')).map(str::to_owned));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_literal = helo.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| {
        let address = inner.strip_prefix("IPv6:").unwrap_or(inner);
        address.parse::<std::net::IpAddr>().is_ok()
    });
    if helo.len() <= 255 && (is_literal || helo.bytes().all(is_name)) {
        return Ok(Some(helo.to_owned()));
    }
    let hint = ascii_domain(helo).map(|ascii| format!(", here {ascii}")).unwrap_or_default();
    Err(BadServer::Helo(helo.to_owned(), hint))
}

/// Returns a domain with letters beyond ASCII in the form that mail servers know; none for another one.
pub(crate) fn ascii_domain(domain: &str) -> Option<String> {
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if !domain.is_ascii() => Some(ascii),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, helo: &str, sender_domain: &str, ca: &str, plaintext: bool) -> Result<Server, String> {
        Server::parse(url, helo, sender_domain, Path::new(ca), plaintext).map_err(|error| error.to_string())
    }

    fn server(url: &str) -> Server {
        parse(url, "", "example.com", "", false).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn the_url_says_where_how_and_who() {
        for (url, host, port, tls) in [
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, Tls::Never),
            ("smtp://mail.example.com", "mail.example.com", 25, Tls::Never),
            ("smtp://[::1]:2525", "::1", 2525, Tls::Never),
            ("smtp://mail.example.com?tls=required", "mail.example.com", 587, Tls::Required),
            ("smtp://mail.example.com?tls=opportunistic", "mail.example.com", 587, Tls::Opportunistic),
            ("smtps://mail.example.com", "mail.example.com", 465, Tls::Implicit),
        ] {
            let server = server(url);
            assert_eq!((server.host.as_str(), server.port, server.tls), (host, port, tls), "{url}");
            assert!(server.credentials.is_none(), "{url}");
        }
        let credentials =
            server("smtps://ada%40example.com:p%2Bq%2F@mail.example.com").credentials.expect("an account");
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("ada@example.com", "p+q/"));
    }

    #[test]
    fn the_name_for_ehlo_is_the_senders_domain_or_the_setting() {
        for (helo, sender_domain, expected) in [
            ("", "bell.example.com", Some("bell.example.com")),
            ("", "localhost", None),
            ("relay.example.com", "localhost", Some("relay.example.com")),
            ("relay", "example.com", Some("relay")),
            ("[192.0.2.1]", "example.com", Some("[192.0.2.1]")),
            ("[IPv6:2001:db8::1]", "example.com", Some("[IPv6:2001:db8::1]")),
        ] {
            let server = parse("smtp://a.example", helo, sender_domain, "", false).expect("a server");
            assert_eq!(server.helo.as_deref(), expected, "{helo:?} {sender_domain}");
        }
        for bad in ["two words", "a\r\nRCPT TO:<eve@example.com>", "[300.1.1.1]", "b\u{fc}cher.example"] {
            let error = parse("smtp://a.example", bad, "example.com", "", false).err().expect(bad);
            assert!(error.starts_with("smtp.helo = "), "{error}");
            assert_eq!(error.contains("xn--bcher-kva.example"), bad.contains('\u{fc}'), "{error}");
        }
    }

    #[test]
    fn a_password_in_the_clear_is_a_decision() {
        let url = "smtp://ada:hunter2@mail.example.com";
        let error = parse(url, "", "example.com", "", false).err().expect("no TLS");
        assert!(error.contains("smtp.allow_plaintext_auth") && !error.contains("hunter2"), "{error}");
        assert!(parse(url, "", "example.com", "", true).is_ok());
        assert!(parse(&format!("{url}?tls=required"), "", "example.com", "", false).is_ok());
    }

    #[test]
    fn a_bad_file_of_certificates_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "nothing\n").expect("a file");
        let missing = folder.path().join("missing.pem");
        for (path, problem) in [(&file, "has no certificate"), (&missing, "cannot be read")] {
            let path = path.to_str().expect("a path");
            let error = parse("smtps://a.example", "", "example.com", path, false).err().expect("bad");
            assert!(error.starts_with("smtp.ca = ") && error.contains(problem), "{error}");
        }
    }
}
