//! The vendor profile: what a vendor ships with its installers and compiles into its plug-ins.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Accent, Document, DocumentError, Keyset, Logo};
use crate::clock::Timestamp;
use crate::ids::VendorId;
use crate::jws::Unverified;
use crate::keys::{KeyId, PublicKey};
use crate::serial::Prefix;

/// Who a vendor is, where its server stands and which keys speak for it. Signed by its root key.
///
/// A plug-in compiles it in and trusts it as it is; the daemon uses a copy on disk only to know where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorProfile {
    /// The vendor.
    pub iss: VendorId,
    /// When the profile was made.
    pub iat: Timestamp,
    /// The vendor's name for people.
    pub name: String,
    /// What its serial numbers begin with.
    pub prefix: Prefix,
    /// Base address of its activation server, `https://…` (or `http://` to loopback).
    pub server: String,
    /// The root keys.
    pub roots: RootKeys,
    /// A first keyset in compact form, so that a plug-in can verify without any other file.
    pub keyset: String,
    /// Where its privacy policy is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Whom to ask.
    #[serde(default)]
    pub contact: Contact,
    /// Its colour where several vendors are shown, as `#RRGGBB`; see [`Self::shown_accent`]. Of no meaning to a plug-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// Its picture there: a PNG in base64url; see [`Self::shown_logo`]. Of no meaning to a plug-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
}

/// The two root keys. Either may sign; the spare is kept elsewhere, for the day the active one is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKeys {
    /// The key in use.
    pub active: PublicKey,
    /// The key in reserve.
    pub spare: PublicKey,
}

/// Where a customer gets help.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Mail address of the support desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Page of the support desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl RootKeys {
    /// The root key of this name.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<PublicKey> {
        [self.active, self.spare].into_iter().find(|key| key.id() == *kid)
    }
}

impl Document for VendorProfile {
    const TYP: &'static str = "claviger-profile+jws";
    const MAX_LEN: usize = 128 * 1024;
}

impl VendorProfile {
    /// Verifies a profile that arrived as a file: signed by one of the root keys that it names itself, and its keyset
    /// by them too. That proves it whole, not whose it is: compare its root keys with the known ones ([`TrustAnchor`]).
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str) -> Result<(Self, Keyset), DocumentError> {
        let unverified = Unverified::parse::<Self>(text.trim())?;
        let claimed: Self = unverified.peek()?;
        let key = claimed.roots.find(unverified.kid()).ok_or(DocumentError::UnknownKey)?;
        let profile: Self = unverified.verify(&key)?;
        let keyset = Keyset::verify(&profile.keyset, &profile.anchor(0))?;
        if profile.name.is_empty() || profile.name.chars().count() > 128 {
            return Err(DocumentError::Claim("the vendor's name must have 1 to 128 characters"));
        }
        if !is_server_address(&profile.server) {
            return Err(DocumentError::Claim(
                "the server's address must begin with https:// (http:// is for this computer itself)",
            ));
        }
        Ok((profile, keyset))
    }

    /// The vendor's colour; `None` where there is none or it is not one: looks are no reason to refuse a profile.
    #[must_use]
    pub fn shown_accent(&self) -> Option<Accent> {
        self.accent.as_deref()?.parse().ok()
    }

    /// The vendor's picture; `None` where there is none or it is not one.
    #[must_use]
    pub fn shown_logo(&self) -> Option<Logo> {
        Logo::from_text(self.logo.as_deref()?).ok()
    }

    /// What this profile makes one believe, if one believes the profile.
    #[must_use]
    pub fn anchor(&self, least_keyset: u32) -> TrustAnchor {
        TrustAnchor { vendor: self.iss.clone(), roots: self.roots.clone(), least_keyset }
    }
}

/// Whether requests may be sent to `address`: over TLS, or without it to this computer itself.
///
/// Nothing is resolved and no credentials may hide in front of the host, so that what a person reads is where it goes.
#[must_use]
pub fn is_server_address(address: &str) -> bool {
    let plain = address.len() <= 512 && address.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let (rest, secure) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !plain || authority.contains('@') {
        return false;
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, "")) => (v6, None),
        Some((v6, after)) => match after.strip_prefix(':') {
            Some(port) => (v6, Some(port)),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return false;
    }
    secure || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What everything else is checked against: a vendor, its root keys, and the lowest keyset number still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// The vendor.
    pub vendor: VendorId,
    /// Its root keys.
    pub roots: RootKeys,
    /// Keysets with a lower number are refused.
    pub least_keyset: u32,
}

impl TrustAnchor {
    /// The anchor that is compiled into a plug-in, and the keyset that came with it.
    ///
    /// Signatures are not checked here: the bytes are part of the program, and whoever can change them can change the
    /// check as well. The vendor's build verifies them once (`claviger vendor add` does, and so do our tests).
    ///
    /// # Errors
    /// [`DocumentError`] when the text is not a profile.
    pub fn compiled_in(profile: &str) -> Result<(Self, VendorProfile, Keyset), DocumentError> {
        let profile: VendorProfile = Unverified::parse::<VendorProfile>(profile.trim())?.peek()?;
        let keyset: Keyset = Unverified::parse::<Keyset>(&profile.keyset)?.peek()?;
        let anchor = profile.anchor(keyset.number);
        Ok((anchor, profile, keyset))
    }

    /// Verifies a root-signed document and that it speaks for this vendor.
    pub(super) fn verify<D: Document>(&self, text: &str) -> Result<D, DocumentError> {
        let unverified = Unverified::parse::<D>(text.trim())?;
        let key = self.roots.find(unverified.kid()).ok_or(DocumentError::UnknownKey)?;
        unverified.verify(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_over_tls_or_stay_on_this_computer() {
        for good in [
            "https://licenses.example",
            "https://licenses.example:8443/claviger/",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            assert!(is_server_address(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "https://:443",
            "http://licenses.example",
            "http://127.0.0.1@evil.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example/",
            "http://localhost:80:80",
            "http://evil.example?127.0.0.1",
            "http://[::1]evil",
            "https://a b",
            "https://licenses.example\\@evil",
            "ftp://licenses.example",
            "HTTP://10.0.0.1",
        ] {
            assert!(!is_server_address(bad), "{bad}");
        }
    }
}
