//! `docklet open`

use serde_json::json;

use super::{args, context::Context};
use crate::{
    desired::page_url,
    error::{Error, Result},
    event::Event,
    host::browser::{self, Entrance, NoBrowser},
    probe::Seen,
};

/// How long the browser may take to ask for the address.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Opens the page in the browser, signed in, or prints its address.
pub async fn run(context: &Context, args: &args::Open) -> Result<()> {
    let entrance = entrance(context)?;
    let report = json!({
        "schema": 1, "instance": context.instance, "url": entrance.signed_in, "page": entrance.page,
    });
    let address = &entrance.signed_in;
    let printed = match args.print {
        true => Some(address.clone()),
        false => match open(context).await? {
            Ok(()) => None,
            Err(reason) => Some(format!("{}\n{address}", hint(context, reason)?)),
        },
    };
    if let Some(printed) = printed {
        context.output.result(&report, |_| printed);
        if entrance.hold.is_some() {
            let text = format!(
                "this address signs a browser in; then go to {}, for under an address with a password in it the page breaks when a session is begun",
                entrance.page
            );
            context.reporter.report(&Event::Note { text });
        }
        return Ok(());
    }
    context.output.result(&report, |_| format!("opened {} in the browser", entrance.page));
    Ok(())
}

/// Opens the page at the end of another command, which has its own result.
pub async fn afterwards(context: &Context) -> Result<()> {
    let text = match open(context).await? {
        Ok(()) => format!("opened {} in the browser", entrance(context)?.page),
        Err(reason) => {
            format!("{} (docklet{} open --print)", hint(context, reason)?, context.instance.flag())
        }
    };
    context.reporter.report(&Event::Note { text });
    Ok(())
}

/// Opens the page in the browser; says why not, where there is none.
async fn open(context: &Context) -> Result<Result<(), NoBrowser>> {
    match context.probe(&context.settings()?)?.look().await {
        Seen::Works => {}
        seen => {
            let name = context.container_name();
            let container = context.engine().await?.container(&name).await?;
            return Err(match container {
                Some(container) if container.running && !container.paused => {
                    Error::Unhealthy { name, reason: seen.to_string(), log: vec![] }
                }
                Some(container) => Error::NotRunning { name, state: container.status },
                None => Error::NotRunning { name, state: "missing".to_owned() },
            });
        }
    }
    let session = context.environment.session;
    if let Err(reason) = browser::can_open(session) {
        return Ok(Err(reason));
    }
    if browser::open_privately(&entrance(context)?, session, PATIENCE).await? {
        return Ok(Ok(()));
    }
    Err(Error::Usage {
        message: format!("no browser asked for the page within {} s", PATIENCE.as_secs()),
        hint: Some("docklet open --print prints the address".to_owned()),
    })
}

fn hint(context: &Context, reason: NoBrowser) -> Result<String> {
    Ok(reason.hint(context.settings()?.network.port.0))
}

/// The page, and the addresses that sign in whoever opens them: user and password are in them, as browsers
/// understand it. opencode's own `?auth_token=` signs in the page alone: what the page loads then gets 401.
fn entrance(context: &Context) -> Result<Entrance> {
    let network = context.settings()?.network;
    let page = page_url(network.bind.0, network.port.0);
    let login = &context.appliance.login;
    let password = percent_encoded(context.password()?.reveal());
    let signed_in = page.replacen("http://", &format!("http://{}:{password}@", login.user), 1);
    let hold = login.hold.as_ref().map(|path| format!("{}{path}", signed_in.trim_end_matches('/')));
    Ok(Entrance { page, signed_in, hold })
}

/// Escapes all but RFC 3986's unreserved characters.
fn percent_encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}
