//! A call as it arrives, told apart: ours, the one that introspects, or neither.

use claviger_protocol::ipc::{DESCRIPTION, INTERFACE, Method};
use claviger_protocol::json::from_slice_strict;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

/// The interface that every Varlink service has.
pub(super) const SERVICE: &str = "org.varlink.service";

/// Its description, as <https://varlink.org/Service> prints it.
const SERVICE_DESCRIPTION: &str = "\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

# Get a list of all the interfaces a service provides and information
# about the implementation.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# Get the description of an interface that is implemented by this service.
method GetInterfaceDescription(interface: string) -> (description: string)

# The requested interface was not found.
error InterfaceNotFound (interface: string)

# The requested method was not found
error MethodNotFound (method: string)

# The interface defines the requested method, but the service does not
# implement it.
error MethodNotImplemented (method: string)

# One of the passed parameters is invalid.
error InvalidParameter (parameter: string)

# Client is denied access
error PermissionDenied ()

# Method is expected to be called with 'more' set to true, but wasn't
error ExpectedMore ()
";

/// A call before its parameters are read.
#[derive(Debug, Deserialize)]
pub(super) struct RawCall {
    pub(super) method: String,
    #[serde(default)]
    pub(super) parameters: Option<Box<RawValue>>,
}

impl Drop for RawCall {
    fn drop(&mut self) {
        // There may be an unlock code in it.
        if let Some(raw) = self.parameters.take() {
            Box::<str>::from(raw).into_string().zeroize();
        }
    }
}

/// A call that can be answered.
pub(super) enum Parsed {
    Ours(Method),
    Info,
    Description(&'static str),
}

/// An error of the service interface.
#[derive(Debug, Serialize)]
#[serde(tag = "error", content = "parameters")]
pub(super) enum ServiceError {
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound { interface: String },
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound { method: String },
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter { parameter: String },
    #[serde(rename = "org.varlink.service.PermissionDenied")]
    PermissionDenied {},
}

/// Reply to `GetInfo`.
#[derive(Debug, Serialize)]
pub(super) struct Info {
    vendor: &'static str,
    product: &'static str,
    version: &'static str,
    url: &'static str,
    interfaces: [&'static str; 2],
}

pub(super) const INFO: Info = Info {
    vendor: "Claviger",
    product: "Claviger daemon",
    version: env!("CARGO_PKG_VERSION"),
    url: env!("CARGO_PKG_REPOSITORY"),
    interfaces: [SERVICE, INTERFACE],
};

/// Reply to `GetInterfaceDescription`.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    pub(super) description: &'static str,
}

/// Reads a call's parameters.
pub(super) fn parse(call: &RawCall) -> Result<Parsed, ServiceError> {
    let short = |text: &str| text.chars().take(128).collect::<String>();
    let Some((interface, name)) = call.method.rsplit_once('.') else {
        return Err(ServiceError::MethodNotFound { method: short(&call.method) });
    };
    let parameters = call.parameters.as_ref().map_or("{}", |raw| raw.get());
    let parameters = if parameters == "null" { "{}" } else { parameters };
    match interface {
        INTERFACE => {
            if !DESCRIPTION.lines().any(|line| line.starts_with(&format!("method {name}("))) {
                return Err(ServiceError::MethodNotFound { method: short(&call.method) });
            }
            // The name is one of ours: it needs no escaping.
            let whole =
                Zeroizing::new(format!(r#"{{"method":"{}","parameters":{parameters}}}"#, call.method));
            from_slice_strict(whole.as_bytes())
                .map(Parsed::Ours)
                .map_err(|e| ServiceError::InvalidParameter { parameter: parameter_of(&e.to_string()) })
        }
        SERVICE => match name {
            "GetInfo" => Ok(Parsed::Info),
            "GetInterfaceDescription" => {
                #[derive(Deserialize)]
                struct Asked {
                    interface: String,
                }
                let asked: Asked = from_slice_strict(parameters.as_bytes())
                    .map_err(|_| ServiceError::InvalidParameter { parameter: "interface".to_owned() })?;
                match asked.interface.as_str() {
                    INTERFACE => Ok(Parsed::Description(DESCRIPTION)),
                    SERVICE => Ok(Parsed::Description(SERVICE_DESCRIPTION)),
                    other => Err(ServiceError::InterfaceNotFound { interface: short(other) }),
                }
            }
            _ => Err(ServiceError::MethodNotFound { method: short(&call.method) }),
        },
        other => Err(ServiceError::InterfaceNotFound { interface: short(other) }),
    }
}

/// The parameter that a reader complains about. It names fields in backticks; a value is never handed back.
fn parameter_of(error: &str) -> String {
    let named = error.split("field `").nth(1).and_then(|rest| rest.split('`').next());
    named.unwrap_or("parameters").chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, parameters: Option<&str>) -> RawCall {
        let parameters = parameters.map(|p| RawValue::from_string(p.to_owned()).unwrap());
        RawCall { method: method.to_owned(), parameters }
    }

    #[test]
    fn calls_are_told_apart() {
        let ours = |name: &str| format!("{INTERFACE}.{name}");
        assert!(matches!(parse(&call(&ours("GetStatus"), None)), Ok(Parsed::Ours(Method::GetStatus {}))));
        assert!(matches!(parse(&call(&ours("GetStatus"), Some("null"))), Ok(Parsed::Ours(_))));
        assert!(matches!(
            parse(&call(&ours("AddVendor"), Some("{}"))),
            Err(ServiceError::InvalidParameter { parameter }) if parameter == "profile"
        ));
        assert!(matches!(
            parse(&call(&ours("AddVendor"), Some("[1]"))),
            Err(ServiceError::InvalidParameter { .. })
        ));
        assert!(matches!(parse(&call(&ours("Nothing"), None)), Err(ServiceError::MethodNotFound { .. })));
        assert!(matches!(parse(&call("nothing", None)), Err(ServiceError::MethodNotFound { .. })));
        assert!(matches!(parse(&call("a.b.C", None)), Err(ServiceError::InterfaceNotFound { .. })));
        let asked = format!(r#"{{"interface":"{INTERFACE}"}}"#);
        assert!(matches!(
            parse(&call("org.varlink.service.GetInterfaceDescription", Some(&asked))),
            Ok(Parsed::Description(DESCRIPTION))
        ));
    }
}
