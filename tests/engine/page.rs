//! The page of the real opencode in a browser, as somebody sees it who typed `docklet open`.

use std::process::Child;

use crate::browser::Browser;
use crate::open::opened;
use crate::real::real;
use crate::support::*;

const PROMPT: &str = "//*[@data-component='prompt-input']";
const PROJECT: &str = "//button[contains(., 'my-project') and contains(., '~/')]";

/// Chooses the project in the dialog that this opens.
fn add_project(browser: &Browser, open: &str) {
    browser.click(open);
    browser.sees("Open project");
    browser.click(PROJECT);
}

/// `docklet open` ends when the browser has come.
fn ends_well(docklet: Child) {
    let ended = docklet.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", shown(&ended));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_page_opens_signed_in_offers_the_projects_and_begins_a_session() {
    let world = real();
    let page = format!("http://127.0.0.1:{}/", world.port);
    let browser = Browser::start(&world);
    let (docklet, address) = opened(&world, "browser", &[("BROWSER", "browser"), ("DISPLAY", ":none")]);
    browser.go(&address);
    ends_well(docklet);
    browser.sees("Add project");
    assert_eq!(browser.address(), page, "without the password");

    add_project(&browser, "//*[@data-action='home-add-project-row']");
    browser.sees("Nothing here yet");
    browser.picture("page-project");
    browser.click("//*[@data-action='home-project-new-session']");
    browser.types(PROMPT, "a question from the browser");
    browser.picture("page-session");
    let password = world.password();
    let begun = || {
        // On a busy machine the button is there before the list of models is, and a click does nothing then.
        browser.clicks("//*[@data-action='prompt-submit']");
        let (_, sessions) = world.http_get("/session?directory=/workspace/my-project", Some(&password));
        sessions.contains("\"ses_")
    };
    browser.until("the session that was begun by clicking", begun);

    // The plain address goes on working in a browser that has signed in.
    browser.go(&page);
    browser.sees("my-project");
    browser.click("//*[@data-action='home-project-new-session']");
    browser.types(PROMPT, "one more");
}
