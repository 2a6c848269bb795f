//! A headless browser with an empty profile, driven through chromedriver's WebDriver interface: goes to addresses,
//! clicks, types, and reads what the page shows. For tests of the page.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::*;

/// The key under which WebDriver puts an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// For one thing that the page does. Chromium and opencode, both cold, missed 30 s beside other tests on two cores.
const PATIENCE: Duration = Duration::from_secs(90 * SLOW as u64);

/// A browser.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _folder: TempDir,
}

impl Browser {
    /// Starts one for a test.
    pub fn start(world: &World) -> Self {
        let folder = new_folder("browser ");
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .env("HOME", folder.path())
            // tests/run finds by it what a test that was killed has left.
            .env("DOCKLET_HOME", &world.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver, which tests/run installs");
        let mut browser = Browser { driver, port, session: String::new(), _folder: folder };
        wait_until(SOON, "chromedriver", || http(port, "GET", "/status", None, None).0 == 200);
        let profile = browser._folder.path().join("profile");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let mut options = json!({"args": arguments});
        // Debian's; where there is none, chromedriver looks for its own.
        if Path::new("/usr/bin/chromium").exists() {
            options["binary"] = json!("/usr/bin/chromium");
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.ask("POST", "/session", Some(&wanted)).expect("a browser");
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("its id"));
        browser
    }

    /// Asks chromedriver; what it answered, or why not.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = format!("{}{path}", self.session);
        let body = body.map(Value::to_string);
        let (status, answer) = http_within(Duration::from_secs(60), self.port, method, &path, None, body.as_deref())
            .ok_or("chromedriver does not answer")?;
        let answer: Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
        if status == 200 { Ok(answer["value"].clone()) } else { Err(answer["value"]["message"].to_string()) }
    }

    /// Goes to an address.
    pub fn go(&self, address: &str) {
        self.ask("POST", "/url", Some(&json!({"url": address}))).unwrap_or_else(|e| panic!("{address}: {e}"));
    }

    /// Where it is now.
    pub fn address(&self) -> String {
        self.ask("GET", "/url", None).expect("an address").as_str().unwrap_or_default().to_owned()
    }

    /// All text that the page shows.
    pub fn text(&self) -> String {
        let script = json!({"script": "return document.body ? document.body.innerText : ''", "args": []});
        // Between two pages there is none.
        self.ask("POST", "/execute/sync", Some(&script))
            .map(|t| t.as_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    }

    /// Waits until the page shows a text.
    pub fn sees(&self, text: &str) {
        self.until(&format!("the page to show {text:?}"), || self.text().contains(text));
    }

    /// Clicks on the first element that an XPath names, as soon as that can be done.
    pub fn click(&self, xpath: &str) {
        self.on(xpath, "click", &json!({}));
    }

    /// Clicks if it is there; a page that is not ready yet may take no notice of it.
    pub fn clicks(&self, xpath: &str) -> bool {
        let find = json!({"using": "xpath", "value": xpath});
        let Ok(element) = self.ask("POST", "/element", Some(&find)) else { return false };
        let id = element[ELEMENT].as_str().unwrap_or_default();
        self.ask("POST", &format!("/element/{id}/click"), Some(&json!({}))).is_ok()
    }

    /// Types into the first element that an XPath names, as soon as that can be done.
    pub fn types(&self, xpath: &str, text: &str) {
        self.on(xpath, "value", &json!({"text": text}));
    }

    fn on(&self, xpath: &str, verb: &str, body: &Value) {
        let find = json!({"using": "xpath", "value": xpath});
        self.until(&format!("{verb} on {xpath}"), || {
            let Ok(element) = self.ask("POST", "/element", Some(&find)) else { return false };
            let id = element[ELEMENT].as_str().unwrap_or_default();
            self.ask("POST", &format!("/element/{id}/{verb}"), Some(body)).is_ok()
        });
    }

    /// Waits until something holds; else fails with a picture of the page, its text and the browser's log.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > deadline {
                let picture = self.picture("page-failed");
                let (address, picture, log) = (self.address(), picture.display(), self.log());
                panic!("still waiting for {what} at {address} ({picture})\n{}\n{log}", self.text());
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// What the browser has to say: parts of the page that could not be loaded, and errors of its scripts.
    fn log(&self) -> String {
        let log = self.ask("POST", "/se/log", Some(&json!({"type": "browser"}))).unwrap_or_else(Value::String);
        format!("{log:#}")
    }

    /// Takes a picture of the page, for people to look at.
    pub fn picture(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-run");
        let file = folder.join(format!("{name}.png"));
        let picture = self.ask("GET", "/screenshot", None).expect("a picture");
        let picture = STANDARD.decode(picture.as_str().unwrap_or_default()).expect("base64");
        fs::create_dir_all(&folder).and_then(|()| fs::write(&file, picture)).expect("to write the picture");
        file
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; chromedriver itself has to be ended.
        let _ = self.ask("DELETE", "", None);
        kill(self.driver.id());
        let _ = self.driver.wait();
    }
}
