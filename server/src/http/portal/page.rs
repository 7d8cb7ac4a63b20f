//! The frame that every page of the portal stands in. All text goes through `maud`, which escapes it.

use claviger_protocol::documents::VendorProfile;
use maud::{DOCTYPE, Markup, html};

/// What a page shows.
pub(super) struct Page {
    /// For the window's title and the history.
    pub(super) title: String,
    /// Everything between header and footer, its `h1` included.
    pub(super) body: Markup,
}

impl Page {
    /// The whole page. Its links are relative, so that a proxy may serve it below another path; `up` leads from this
    /// page's address to the folder that `offline` is in.
    pub(super) fn render(&self, profile: &VendorProfile, up: &str) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – " (profile.name) }
                    // Before anything that takes time: the address is cleared first of all.
                    script src=(format!("{up}offline/portal.js")) {}
                    link rel="stylesheet" href=(format!("{up}offline/portal.css"));
                    link rel="icon" type="image/svg+xml" href=(format!("{up}offline/icon.svg"));
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header { p { bdi { (profile.name) } } }
                    main #main tabindex="-1" { (self.body) }
                    (footer(profile))
                }
            }
        }
        .into_string()
    }
}

fn footer(profile: &VendorProfile) -> Markup {
    let contact = &profile.contact;
    html! {
        footer {
            p {
                "This is the license server of " bdi { (profile.name) } " (" (profile.iss) ")."
                @if let Some(policy) = web_address(profile.policy.as_deref()) {
                    " " a href=(policy) { "Privacy policy" } "."
                }
                @if let Some(url) = web_address(contact.url.as_deref()) {
                    " " a href=(url) { "Support" } "."
                }
                @if let Some(email) = &contact.email {
                    " " a href=(format!("mailto:{email}")) { (email) }
                }
            }
            p { "It needs no account, sets no cookie and loads nothing from elsewhere." }
        }
    }
}

/// An address that may stand in a link: of the web, not a script.
fn web_address(address: Option<&str>) -> Option<&str> {
    address.filter(|a| a.starts_with("https://") || a.starts_with("http://"))
}

/// A sentence of ours with `commands` between backticks.
pub(super) fn sentence(text: &str) -> Markup {
    html! {
        @for (at, piece) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// A name that somebody else chose: kept apart from the text around it, so that letters written from right to left turn
/// nothing else around. Characters that nobody sees are shown as what they are.
pub(super) fn name(text: &str) -> Markup {
    let visible: String = text
        .chars()
        .map(|c| if claviger_protocol::ids::is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    html! { "“" bdi { (visible) } "”" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_text() {
        assert_eq!(name("<b>\u{202e}x").into_string(), "“<bdi>&lt;b&gt;\u{fffd}x</bdi>”");
        assert_eq!(sentence("run `a <b>` & go").into_string(), "run <code>a &lt;b&gt;</code> &amp; go");
        assert_eq!(web_address(Some("javascript:alert(1)")), None);
    }
}
