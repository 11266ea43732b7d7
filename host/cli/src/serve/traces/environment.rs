//! The environment variables of OpenTelemetry that the exporter does not read by itself, and those that say what this
//! program cannot do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// What the specification has.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The one protocol that is built in.
const PROTOCOL: &str = "http/protobuf";

/// What the environment wants.
pub(super) struct Environment {
    /// How long one batch may take.
    pub(super) timeout: Duration,
    /// The authority of the collector, in place of the system's.
    pub(super) certificate: Option<PathBuf>,
    /// Whether the service has a name.
    pub(super) has_service_name: bool,
}

impl Environment {
    /// `None`: it wants no traces. A variable that is empty counts as not set.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        // What is for traces alone goes before what is for every signal.
        let of_otlp = |name: &str| {
            set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match set("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") => {}
            None if of_otlp("ENDPOINT").is_some() => {}
            None => return Ok(None),
            Some(_) => bail!("OTEL_TRACES_EXPORTER is `otlp` or `none`: this program has no other exporter"),
        }
        let protocol = of_otlp("PROTOCOL");
        ensure!(
            protocol.as_deref().is_none_or(|protocol| protocol == PROTOCOL),
            "OTEL_EXPORTER_OTLP_PROTOCOL is `{PROTOCOL}`: this program speaks no other; collectors listen for it at \
             the port 4318"
        );
        let timeout = of_otlp("TIMEOUT").map(|value| value.parse().map(Duration::from_millis)).transpose();
        let timeout = timeout.context("OTEL_EXPORTER_OTLP_TIMEOUT is a number of milliseconds")?;
        let attributes = set("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let is_named = attributes.split(',').any(|attribute| attribute.trim_start().starts_with("service.name="));
        Ok(Some(Self {
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
            certificate: of_otlp("CERTIFICATE").map(PathBuf::from),
            has_service_name: is_named || set("OTEL_SERVICE_NAME").is_some(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Environment>> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Environment::read(of)
    }

    #[test]
    fn traces_are_off_unless_an_endpoint_or_the_exporter_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let wanted: [(&[_], bool); 8] = [
            (&[], false),
            (&[("OTEL_SERVICE_NAME", "shop")], false),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], false),
            (&[endpoint], true),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")], true),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
            (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")], false),
        ];
        for (variables, on) in wanted {
            assert_eq!(read(variables).unwrap().is_some(), on, "{variables:?}");
        }
    }

    #[test]
    fn what_the_program_cannot_do_is_refused_with_words() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ] {
            let told = read(&[endpoint, (name, value)]).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(told.contains("OTEL_"), "{name}={value}: {told}");
        }
    }

    #[test]
    fn variables_for_traces_go_before_those_for_every_signal() {
        let variables = [
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=shop"),
        ];
        let read = read(&variables).unwrap().unwrap();
        assert_eq!(read.timeout, Duration::from_millis(250));
        assert_eq!(read.certificate, Some(PathBuf::from("ca.pem")));
        assert!(read.has_service_name);
    }
}
