//! `docklet open`

use super::{args, context::Context};
use crate::{
    desired::page_url,
    error::{Error, Result},
    event::Event,
    host::browser::{self, NoBrowser},
    probe::Seen,
};

/// How long the browser may take to ask for the address.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Opens the page in the browser, signed in, or prints its address.
pub async fn run(context: &Context, args: &args::Open) -> Result<()> {
    let settings = context.settings()?;
    let network = &settings.network;
    let url = signed_in(context, &page_url(network.bind.0, network.port.0))?;
    let report = serde_json::json!({"schema": 1, "instance": context.instance, "url": url});
    if args.print {
        context.output.result(&report, |_| url.clone());
        return Ok(());
    }
    match context.probe(&settings)?.look().await {
        Seen::Works => {}
        seen => return Err(Error::Unhealthy { name: context.container_name(), reason: seen.to_string(), log: vec![] }),
    }
    if let Err(reason) = browser::can_open(context.environment.session) {
        let port = network.port.0;
        let text = match reason {
            NoBrowser::Ssh | NoBrowser::NoDisplay => format!("{}\n{url}", reason.hint(port)),
        };
        context.output.result(&report, |_| text);
        return Ok(());
    }
    if !browser::open_privately(&url, PATIENCE).await? {
        return Err(Error::Usage {
            message: format!("no browser asked for the page within {} s", PATIENCE.as_secs()),
            hint: Some("docklet open --print prints the address".to_owned()),
        });
    }
    let page = page_url(network.bind.0, network.port.0);
    context.reporter.report(&Event::Note { text: format!("opened {page} in the browser") });
    Ok(())
}

/// The address that signs in whoever opens it: user and password in it, as browsers understand it.
/// opencode's own `?auth_token=` signs in the page alone: what the page loads then gets 401.
fn signed_in(context: &Context, url: &str) -> Result<String> {
    let password = percent_encoded(context.password()?.reveal());
    Ok(url.replacen("http://", &format!("http://{}:{password}@", context.appliance.login.user), 1))
}

/// Escapes all but RFC 3986's unreserved characters.
fn percent_encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}
