//! A real browser: Chromium without a window, driven over the WebDriver protocol (W3C) by its own driver. A small client,
//! because a library would bring an async runtime and more along than these few commands.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::http::Client;
use crate::process::{PATIENCE, Running};

/// What the WebDriver protocol calls an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// For file names.
    pub name: &'static str,
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// A phone: it scales pages and has a touch screen.
    pub phone: bool,
    /// `prefers-color-scheme: dark`
    pub dark: bool,
}

impl View {
    /// A phone and a desk, each in light and dark.
    pub const ALL: [Self; 4] = [
        Self { name: "desk-light", width: 1280, height: 900, phone: false, dark: false },
        Self { name: "desk-dark", width: 1280, height: 900, phone: false, dark: true },
        Self { name: "phone-light", width: 375, height: 800, phone: true, dark: false },
        Self { name: "phone-dark", width: 375, height: 800, phone: true, dark: true },
    ];
}

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
    driver: Running,
    _home: tempfile::TempDir,
}

/// An element of the page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts it; without `scripts`, pages run no JavaScript.
    #[must_use]
    pub fn start(scripts: bool) -> Self {
        let home = tempfile::Builder::new().prefix("cb").tempdir().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path());
        command
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("HTTPS_PROXY");
        let (driver, line) = Running::start_until(&mut command, "successfully on port ")
            .unwrap_or_else(|(status, said)| panic!("chromedriver ended: {status}\n{said}"));
        let digits: String = line
            .split("successfully on port ")
            .nth(1)
            .unwrap()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let address = SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()));
        let data = home.path().join("profile");
        let arguments = [
            "--headless=new".to_owned(),
            // Namespaces inside containers, and root, leave the browser no sandbox of its own; it sees our pages alone.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--no-proxy-server".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--force-renderer-accessibility".to_owned(),
            format!("--user-data-dir={}", data.display()),
        ];
        let javascript = if scripts { 1 } else { 2 };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": { "profile.managed_default_content_settings.javascript": javascript },
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut client = Client::connect(address);
        let made = client.post("/session", &wanted).json();
        let session = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        Self { session: session.to_owned(), client, driver, _home: home }
    }

    fn try_command(&mut self, path: &str, body: Option<&Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        match body {
            Some(body) => self.client.post(&path, body).json(),
            None => self.client.get(&path).json(),
        }
    }

    fn command(&mut self, path: &str, body: Option<&Value>) -> Value {
        let mut reply = self.try_command(path, body);
        assert!(reply["value"]["error"].is_null(), "{path}: {reply}");
        reply["value"].take()
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&mut self, command: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
    }

    /// Goes to an address, and waits until it is there.
    pub fn open(&mut self, address: &str) {
        self.command("/url", Some(&json!({ "url": address })));
    }

    /// Where it is.
    pub fn address(&mut self) -> String {
        text_of(&self.command("/url", None))
    }

    /// The window's title.
    pub fn title(&mut self) -> String {
        text_of(&self.command("/title", None))
    }

    /// The elements that a CSS selector finds.
    pub fn all(&mut self, css: &str) -> Vec<Element> {
        let found = self.command("/elements", Some(&json!({ "using": "css selector", "value": css })));
        found.as_array().unwrap().iter().map(element_of).collect()
    }

    /// The one element that a CSS selector finds.
    pub fn one(&mut self, css: &str) -> Element {
        let mut all = self.all(css);
        assert_eq!(all.len(), 1, "{css} on {}", self.address());
        all.remove(0)
    }

    /// What a person reads in it.
    pub fn text(&mut self, css: &str) -> String {
        let element = self.one(css);
        text_of(&self.command(&format!("/element/{}/text", element.0), None))
    }

    /// A property of it, such as `value`.
    pub fn property(&mut self, css: &str, name: &str) -> Value {
        let element = self.one(css);
        self.command(&format!("/element/{}/property/{name}", element.0), None)
    }

    /// The role and the name that a screen reader says.
    pub fn spoken(&mut self, element: &Element) -> (String, String) {
        let role = self.command(&format!("/element/{}/computedrole", element.0), None);
        let name = self.command(&format!("/element/{}/computedlabel", element.0), None);
        (text_of(&role), text_of(&name))
    }

    /// Types into it; for a file field, chooses the files of these paths.
    pub fn type_into(&mut self, css: &str, text: &str) {
        let element = self.one(css);
        self.command(&format!("/element/{}/value", element.0), Some(&json!({ "text": text })));
    }

    /// Chooses a file.
    pub fn choose(&mut self, css: &str, path: &Path) {
        self.type_into(css, path.to_str().unwrap());
    }

    /// Clicks on what leads to another page, and waits until that page is there.
    pub fn follow(&mut self, css: &str) {
        self.leave(|browser| browser.click(css));
    }

    /// Does what leads to another page, and waits until that page is there.
    pub fn leave(&mut self, act: impl FnOnce(&mut Self)) {
        let old = self.one("html");
        act(self);
        self.wait_for("another page", |browser| {
            let reply = browser.try_command(&format!("/element/{}/name", old.0), None);
            reply["value"]["error"] == "stale element reference"
                || reply["value"]["error"] == "no such element"
        });
        let _loaded = self.one("html");
    }

    /// Clicks on it.
    pub fn click(&mut self, css: &str) {
        let element = self.one(css);
        self.click_on(&element);
    }

    /// The same for an element that was found before.
    pub fn click_on(&mut self, element: &Element) {
        self.command(&format!("/element/{}/click", element.0), Some(&json!({})));
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub fn press(&mut self, keys: &[char]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| {
                [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
            })
            .collect();
        self.command(
            "/actions",
            Some(&json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] })),
        );
    }

    /// What has the focus, as a screen reader says it: role and name.
    pub fn focus(&mut self) -> (String, String) {
        let element = element_of(&self.command("/element/active", None));
        self.spoken(&element)
    }

    /// Waits until `done` is true: each look is a round trip through the browser.
    pub fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        }
    }

    /// What the browser complained about since it was asked last: broken scripts, and everything that a content security
    /// policy kept from happening. Refused requests (4xx) are complained about, too, and left out.
    pub fn complaints(&mut self) -> Vec<String> {
        let log = self.command("/se/log", Some(&json!({ "type": "browser" })));
        let entries = log.as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap_or("?").to_owned());
        entries.filter(|m| !m.contains("the server responded with a status of 4")).collect()
    }

    /// Looks at the page in a certain way from now on.
    pub fn look(&mut self, view: View) {
        let metrics = json!({
            "width": view.width, "height": view.height, "mobile": view.phone,
            "deviceScaleFactor": if view.phone { 2 } else { 1 },
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if view.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Takes a picture of the whole page, and checks that nothing of it sticks out at the side.
    pub fn picture(&mut self, path: &Path, view: View) {
        self.look(view);
        let sizes = self.devtools("Page.getLayoutMetrics", &json!({}));
        let width = sizes["cssContentSize"]["width"].as_f64().unwrap();
        assert!(width <= f64::from(view.width), "the page is {width} wide in {view:?}: {}", path.display());
        let taken = self
            .devtools("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = data_encoding::BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Lets downloads go into a folder.
    pub fn download_into(&mut self, folder: &Path) {
        let behaviour = json!({ "behavior": "allow", "downloadPath": folder });
        self.devtools("Browser.setDownloadBehavior", &behaviour);
    }

    /// Every node that a screen reader knows: role and name.
    pub fn accessibility_tree(&mut self) -> Vec<(String, String)> {
        let tree = self.devtools("Accessibility.getFullAXTree", &json!({}));
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        let value = |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or_default().to_owned();
        nodes.map(|node| (value(node, "role"), value(node, "name"))).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when the session ends; killing the driver alone would leave it.
        let path = format!("/session/{}", self.session);
        let _gone = self.client.try_exchange("DELETE", &path, None);
        if !std::thread::panicking() {
            let _status = self.driver.terminate();
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

fn element_of(value: &Value) -> Element {
    Element(text_of(&value[ELEMENT]))
}
