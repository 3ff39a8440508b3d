//! The settings in environment variables, `TICKBELL_SECTION__KEY`, and what else begins with `TICKBELL_`.

use std::ffi::OsString;

use crate::settings::SettingsError;

/// The prefix of the variables.
const PREFIX: &str = "TICKBELL_";
/// What stands between a section and a key.
const SEPARATOR: &str = "__";
/// The variables that compose, the build, the tests and the scripts read. The program is started beside them.
const NO_SETTINGS: [&str; 4] = ["TICKBELL_IMAGE", "TICKBELL_COMMIT", "TICKBELL_SHARED", "TICKBELL_NEXT_RELEASE"];
const NO_SETTINGS_PREFIXES: [&str; 2] = ["TICKBELL_TEST_", "TICKBELL_RUNTIME_CHECK_"];

/// A setting in an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name of the variable.
    pub name: String,
    /// The dotted name of the setting.
    pub key: String,
    /// The value as text; a setting parses it.
    pub value: String,
}

/// Returns the name of the variable of a setting, like `TICKBELL_HTTP__PORT` for `http.port`.
pub fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

/// Picks the settings from the environment. An empty variable counts as absent. Other variables that begin alike are no error
/// where Kubernetes or a file of this project makes them; any other is a misspelt setting.
pub fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Variable>, SettingsError> {
    let mut found = Vec::new();
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| name.to_uppercase().starts_with(PREFIX)) else { continue };
        if value.is_empty() {
            continue;
        }
        let value =
            value.into_string().map_err(|_| SettingsError(format!("the environment variable {name} is not UTF-8")))?;
        let upper = name.to_uppercase();
        if is_service_link(&upper, &value) || is_ours(&upper) {
            continue;
        }
        let key = upper[PREFIX.len()..].to_lowercase().replace(SEPARATOR, ".");
        let parts = || key.split('.');
        let is_name =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if parts().count() < 2 || !parts().all(is_name) {
            return Err(SettingsError(format!(
                "the environment variable {name} is not a setting: a setting is named TICKBELL_SECTION__KEY, with two \
                 underscores between the section and the key, like TICKBELL_NATS__URL; correct the name, or unset it"
            )));
        }
        found.push(Variable { name: name.to_owned(), key, value });
    }
    // The same order in each run, so that of two bad variables the same one is named.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether Kubernetes has made the variable for a service of the namespace, like `TICKBELL_GATEWAY_SERVICE_HOST`:
/// <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|protocol| value.starts_with(protocol));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && is_address {
        return true;
    }
    // TICKBELL_GATEWAY_PORT_8080_TCP, and the same with _PROTO, _PORT and _ADDR.
    let Some((_, rest)) = name.rsplit_once("_PORT_").filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    else {
        return false;
    };
    let mut parts = rest.split('_');
    let number = parts.next().is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let protocol = parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol));
    let what = parts.next();
    number && protocol && what.is_none_or(|what| ["PROTO", "PORT", "ADDR"].contains(&what)) && parts.next().is_none()
}

fn is_ours(name: &str) -> bool {
    NO_SETTINGS.contains(&name) || NO_SETTINGS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, value: &str) -> Result<Option<String>, String> {
        let all = [(OsString::from(name), OsString::from(value))];
        let found = variables(all.into_iter()).map_err(|error| error.to_string())?;
        Ok(found.into_iter().next().map(|variable| variable.key))
    }

    #[test]
    fn a_setting_is_found_by_its_section_and_key() {
        let setting = |key: &str| Ok(Some(key.to_owned()));
        assert_eq!(key("TICKBELL_NATS__URL", "x"), setting("nats.url"));
        assert_eq!(
            key("TICKBELL_PRICE_INGESTOR__SIMULATOR__INTERVAL", "x"),
            setting("price_ingestor.simulator.interval")
        );
        assert_eq!(key("tickbell_nats__url", "x"), setting("nats.url"));
        assert_eq!(variable_name("price_ingestor.simulator.interval"), "TICKBELL_PRICE_INGESTOR__SIMULATOR__INTERVAL");
    }

    #[test]
    fn what_kubernetes_and_this_project_make_is_no_error() {
        for (name, value) in [
            ("TICKBELL_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("TICKBELL_GATEWAY_SERVICE_PORT", "80"),
            ("TICKBELL_GATEWAY_SERVICE_PORT_HTTP", "80"),
            ("TICKBELL_GATEWAY_SERVICE_PORT_HTTP__ADMIN", "80"),
            ("TICKBELL_GATEWAY_PORT", "tcp://10.0.0.1:80"),
            ("TICKBELL_GATEWAY_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("TICKBELL_GATEWAY_PORT_80_TCP_PROTO", "tcp"),
            ("TICKBELL_GATEWAY_PORT_80_TCP_PORT", "80"),
            ("TICKBELL_GATEWAY_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("TICKBELL_SERVICE_HOST", "10.0.0.1"),
            ("TICKBELL_PORT", "tcp://10.0.0.1:80"),
            ("TICKBELL_PORT_53_UDP", "udp://10.0.0.1:53"),
            ("TICKBELL_PORT_99_SCTP_ADDR", "10.0.0.1"),
            ("TICKBELL_IMAGE", "tickbell:local"),
            ("TICKBELL_TEST_KEEP", "1"),
            ("TICKBELL_NATS_URL", ""),
            ("TICKBELL", "x"),
            ("OTHER_NATS_URL", "x"),
        ] {
            assert_eq!(key(name, value), Ok(None), "{name}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_an_error_that_names_the_variable() {
        for (name, value) in [
            ("TICKBELL_NATS_URL", "nats://x"),
            ("TICKBELL_GATEWAY_PORT", "8080"),
            ("TICKBELL_GATEWAY_PORT_80_HTTP", "8080"),
            ("TICKBELL_GATEWAY_PORT_TCP", "8080"),
            ("TICKBELL_LOG", "info"),
            ("TICKBELL_IMAGES", "x"),
            ("TICKBELL__NATS_URL", "x"),
            ("TICKBELL_NATS____URL", "x"),
            ("TICKBELL_NATS__", "x"),
            ("TICKBELL_NATS__U-RL", "x"),
        ] {
            let error = key(name, value).expect_err(name);
            assert!(error.contains(&format!("the environment variable {name} ")), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_value_that_is_not_text_is_named_and_what_is_not_ours_is_skipped() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        assert!(variables([(bad(), bad()), ("PATH".into(), bad())].into_iter()).is_ok());
        let error = variables([("TICKBELL_NATS__URL".into(), bad())].into_iter()).expect_err("no text").to_string();
        assert!(error.contains("TICKBELL_NATS__URL"), "{error}");
    }
}
