//! The shares of the server's capacity, one for each kind of request.

use axum::http::Method;

/// A part of what the server can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    /// Orders, their cancellations and deposits.
    Orders,
    /// Requests with a password to hash, which takes long.
    Passwords,
    /// All other requests.
    Other,
}

impl Share {
    /// Returns the share that a request belongs to. Probes and metrics belong to none: they must work when the server is
    /// overloaded.
    pub(crate) fn of(method: &Method, route: &str) -> Option<Self> {
        match (method.as_str(), route) {
            (_, "/healthz" | "/readyz" | "/metrics") => None,
            ("POST", "/v1/orders" | "/v1/deposits") | ("DELETE", "/v1/orders/{id}") => Some(Self::Orders),
            (
                "POST",
                "/v1/users" | "/v1/sessions" | "/v1/password-resets/{token}" | "/join/{token}" | "/reset/{token}",
            )
            | ("PUT", "/v1/me/password") => Some(Self::Passwords),
            _ => Some(Self::Other),
        }
    }

    /// Returns the label of the share in metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Passwords => "passwords",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_request_has_a_share_of_its_own() {
        for (method, route, share) in [
            ("GET", "/healthz", None),
            ("GET", "/readyz", None),
            ("GET", "/metrics", None),
            ("POST", "/v1/orders", Some(Share::Orders)),
            ("DELETE", "/v1/orders/{id}", Some(Share::Orders)),
            ("POST", "/v1/deposits", Some(Share::Orders)),
            ("GET", "/v1/orders", Some(Share::Other)),
            ("GET", "/v1/orders/{id}", Some(Share::Other)),
            ("POST", "/v1/sessions", Some(Share::Passwords)),
            ("DELETE", "/v1/sessions", Some(Share::Other)),
            ("PUT", "/v1/me/password", Some(Share::Passwords)),
            ("GET", "/join/{token}", Some(Share::Other)),
            ("POST", "/join/{token}", Some(Share::Passwords)),
            ("GET", "/v1/prices", Some(Share::Other)),
            ("GET", "none", Some(Share::Other)),
        ] {
            let method: Method = method.parse().expect("a method");
            assert_eq!(Share::of(&method, route), share, "{method} {route}");
        }
    }
}
