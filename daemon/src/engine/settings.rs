//! What a person may set: the proxy, and whether this daemon uses the network at all. The administrator's policy wins, and what
//! it decides is locked.

use claviger_protocol::ipc::{CallError, Setting, SettingSource};

use super::Engine;
use crate::egress::{check_proxy, shown};
use crate::policy;

/// The proxy's address.
const PROXY: &str = "proxy";
/// `on` or `off`.
const NETWORK: &str = "network";

impl Engine {
    /// Everything that may be set, as this caller sees it: `may_set` is false for whom only may look. A password in the
    /// proxy's address is left out.
    #[must_use]
    pub fn settings(&self, may_set: bool) -> Vec<Setting> {
        let choices = self.egress.choices();
        let (policy, broken) = (&self.policy, self.policy.problem.is_some());
        let (proxy, proxy_source) = match (&policy.proxy, &choices.proxy) {
            (Some(proxy), _) => (Some(proxy), SettingSource::Policy),
            (None, Some(proxy)) => (Some(proxy), SettingSource::Yours),
            (None, None) => (None, SettingSource::Default),
        };
        let (network, network_source) = match (policy.network, choices.network) {
            (false, _) => (false, SettingSource::Policy),
            (true, Some(network)) => (network, SettingSource::Yours),
            (true, None) => (true, SettingSource::Default),
        };
        let locked = |source| !may_set || broken || source == SettingSource::Policy;
        vec![
            Setting {
                name: PROXY.to_owned(),
                value: proxy.map(|proxy| shown(proxy)),
                source: proxy_source,
                locked: locked(proxy_source),
            },
            Setting {
                name: NETWORK.to_owned(),
                value: Some(if network { "on" } else { "off" }.to_owned()),
                source: network_source,
                locked: locked(network_source),
            },
        ]
    }

    /// Sets one thing, or sets it back to its default. It holds from the next exchange on, and over restarts.
    ///
    /// # Errors
    /// [`CallError`]; then nothing changed.
    pub fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), CallError> {
        let found = self.settings(true).into_iter().find(|setting| setting.name == name);
        let Some(found) = found else {
            return Err(bad(
                "unknown_setting",
                format!("There is no setting “{}”.", clean(name)),
                "Those that there are: proxy, network.",
            ));
        };
        if found.locked {
            return Err(CallError::NotPermitted {
                message: format!("The administrator's policy decides about the {name} of this computer."),
                advice: Some(policy::advice()),
            });
        }
        let mut choices = self.egress.choices();
        if name == PROXY {
            choices.proxy = value.map(proxy).transpose()?;
        } else {
            choices.network = match value {
                None => None,
                Some("on") => Some(true),
                Some("off") => Some(false),
                Some(_) => {
                    return Err(bad(
                        "bad_setting",
                        "The network is “on” or “off”.".to_owned(),
                        "Say one of the two.",
                    ));
                }
            };
        }
        self.state.write_choices(&choices)?;
        self.egress.choose(choices);
        // What waited for the network may go now.
        self.announce();
        Ok(())
    }
}

/// A proxy's address that can be used.
fn proxy(text: &str) -> Result<String, CallError> {
    let text = text.trim();
    check_proxy(text).map_err(|why| {
        bad(
            "bad_proxy",
            format!("The proxy {} cannot be used: {why}.", shown(text)),
            "Give its address as http://proxy.example.com:3128, with user:password@ before the name if it wants them.",
        )
    })?;
    Ok(text.to_owned())
}

fn bad(code: &str, message: String, advice: &str) -> CallError {
    CallError::InvalidInput { code: code.to_owned(), message, advice: Some(advice.to_owned()) }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
