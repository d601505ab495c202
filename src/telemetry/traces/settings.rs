//! What the variables of OpenTelemetry ask for:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! Whether traces are exported, and where to, is decided here. The details (headers, timeouts, batches, the resource, the
//! sampler) are read by OpenTelemetry's own SDK; what that would pass over in silence is refused here.

use std::fmt;

use url::Url;

/// Where traces are exported to.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceSettings {
    endpoint: Url,
}

/// A variable that says what cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVariable {
    /// Its name.
    pub name: &'static str,
    /// What is wrong, and the mend.
    pub what: String,
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

impl TraceSettings {
    /// What the variables ask for that `value_of` tells; none unless they name an endpoint.
    ///
    /// # Errors
    ///
    /// All variables that say what cannot be done.
    pub fn from_variables(
        value_of: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Vec<InvalidVariable>> {
        // To the specification an empty variable is one that is not set.
        let value_of = |name: &str| value_of(name).filter(|value| !value.is_empty());
        let is_off = value_of("OTEL_SDK_DISABLED")
            .is_some_and(|it| it.eq_ignore_ascii_case("true"))
            || value_of("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter == "none");
        if is_off {
            return Ok(None);
        }
        let Some(endpoint) = endpoint(&value_of) else { return Ok(None) };
        let faults = protocol_faults(&value_of).chain(sampler_fault(&value_of));
        let mut faults: Vec<_> = faults.collect();
        match endpoint {
            Ok(endpoint) if faults.is_empty() => return Ok(Some(Self { endpoint })),
            Ok(_) => {}
            Err(fault) => faults.push(fault),
        }
        Err(faults)
    }

    /// Where batches are posted to.
    #[must_use]
    pub const fn endpoint(&self) -> &Url {
        &self.endpoint
    }
}

impl fmt::Debug for TraceSettings {
    /// Some write a password into the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.origin().ascii_serialization();
        f.debug_struct("TraceSettings").field("endpoint", &endpoint).finish()
    }
}

/// That of traces as it is, or that of everything with the path of traces.
fn endpoint(value_of: &impl Fn(&str) -> Option<String>) -> Option<Result<Url, InvalidVariable>> {
    let (name, text) = match (value_of(TRACES_ENDPOINT), value_of(ENDPOINT)) {
        (Some(own), _) => (TRACES_ENDPOINT, own),
        (None, Some(base)) => (ENDPOINT, format!("{}/v1/traces", base.trim_end_matches('/'))),
        (None, None) => return None,
    };
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
    let what = || "must be an http or https URL, such as http://127.0.0.1:4318".to_owned();
    let url = Url::parse(&text).ok().filter(is_http);
    Some(url.ok_or_else(|| InvalidVariable { name, what: what() }))
}

fn protocol_faults(
    value_of: &impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = InvalidVariable> {
    let is_other = |name: &&str| value_of(name).is_some_and(|it| it != "http/protobuf");
    PROTOCOLS.into_iter().filter(is_other).map(|name| InvalidVariable {
        name,
        what: "must be http/protobuf: no other protocol is spoken here".to_owned(),
    })
}

/// The SDK records everything when it does not know the sampler, or what to make of its argument.
fn sampler_fault(value_of: &impl Fn(&str) -> Option<String>) -> Option<InvalidVariable> {
    let sampler = value_of(SAMPLER)?;
    let ratio = value_of(SAMPLER_ARGUMENT).and_then(|ratio| ratio.parse::<f64>().ok());
    match sampler.as_str() {
        "always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off" => None,
        "traceidratio" | "parentbased_traceidratio" => {
            let fits = ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio));
            let what = format!("must be a number from 0 to 1 for the sampler {sampler}");
            (!fits).then_some(InvalidVariable { name: SAMPLER_ARGUMENT, what })
        }
        _ => Some(InvalidVariable {
            name: SAMPLER,
            what:
                "must be always_on, always_off or traceidratio, or one of these after parentbased_"
                    .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(variables: &[(&str, &str)]) -> Result<Option<String>, Vec<&'static str>> {
        let value_of = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        TraceSettings::from_variables(value_of)
            .map(|settings| settings.map(|it| it.endpoint().to_string()))
            .map_err(|faults| faults.iter().map(|fault| fault.name).collect())
    }

    #[test]
    fn an_endpoint_is_what_asks_for_traces() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        assert_eq!(settled(&[("OTEL_SERVICE_NAME", "api")]), Ok(None));
        assert_eq!(settled(&[base]), Ok(Some("http://collector:4318/v1/traces".to_owned())));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/spans");
        assert_eq!(settled(&[base, own]), Ok(Some("https://other/spans".to_owned())));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(settled(&[base, off]), Ok(None));
        }
        assert_eq!(settled(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
    }

    #[test]
    fn what_cannot_be_done_is_refused_all_at_once() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "7"),
        ];
        let names = vec![
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_TRACES_SAMPLER_ARG",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        assert_eq!(settled(&variables), Err(names));
        let jaeger = [variables[0], ("OTEL_TRACES_SAMPLER", "jaeger_remote")];
        assert_eq!(settled(&jaeger).unwrap_err()[0], "OTEL_TRACES_SAMPLER");
    }

    #[test]
    fn a_password_in_the_endpoint_does_not_print() {
        let name = |_: &str| Some("https://user:secret@collector/x".to_owned());
        let only = |it: &str| if it == TRACES_ENDPOINT { name(it) } else { None };
        let settings = TraceSettings::from_variables(only).unwrap().unwrap();
        assert_eq!(format!("{settings:?}"), r#"TraceSettings { endpoint: "https://collector" }"#);
    }
}
