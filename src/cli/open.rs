//! `docklet open`

use std::time::{Duration, Instant};

use serde_json::json;

use super::{args, context::Context};
use crate::{
    desired::{Publish, page_url},
    error::{Error, Result},
    host::{
        browser::{self, Entrance, NoBrowser},
        ports,
    },
    observed::PortState,
    ops::stop::{find_if_there, find_running},
    probe::Seen,
    settings::Network,
};

/// How long the browser may take to ask for the address.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the page may be too busy to answer, and the time between two tries.
const BUSY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Opens the page in the browser, signed in, or prints how to sign in by hand.
pub async fn run(context: &Context, args: &args::Open) -> Result<()> {
    if args.print {
        let network = context.settings().await?.network;
        refuse_stranger(context, &network).await?;
        return print(context, &page_url(network.bind.0, network.port.0), None).await;
    }
    let opened = open(context).await?;
    match opened.reason {
        Some(reason) => print(context, &opened.page, Some(reason)).await,
        None => {
            let report = json!({ "instance": context.name, "url": opened.page, "user": null, "password": null });
            context.output.result(&report, |_| format!("opened {} in the browser", opened.page));
            Ok(())
        }
    }
}

/// Prints the plain address, and what the page asks for. An address with both in it would sign a browser in, too, but
/// the page breaks under one.
async fn print(context: &Context, page: &str, reason: Option<NoBrowser>) -> Result<()> {
    let (user, password) = (&context.appliance.login.user, context.password()?);
    let report = json!({
        "instance": context.name, "url": page, "user": user, "password": password.reveal(),
    });
    if let Some(reason) = reason {
        context.note(reason.hint(context.settings().await?.network.port.0));
    }
    context.output.result(&report, |_| format!("{page}\n\n  user       {user}\n  password   {}", password.reveal()));
    Ok(())
}

/// Opens the page at the end of another command, which has its own result.
pub async fn afterwards(context: &Context) -> Result<()> {
    let opened = open(context).await?;
    let text = match opened.reason {
        None => format!("opened {} in the browser", opened.page),
        Some(reason) => {
            let hint = reason.hint(context.settings().await?.network.port.0);
            format!("{hint} (docklet{} open --print)", context.name.flag())
        }
    };
    context.note(text);
    Ok(())
}

/// Whoever reads the address signs in there: not where another program has the port, while ours does not run.
async fn refuse_stranger(context: &Context, network: &Network) -> Result<()> {
    let address = network.bind.0;
    let PortState::Taken { holder, free_port } = ports::state(address, network.port.0) else { return Ok(()) };
    let engine = context.engine().await?;
    let container = if engine.is_local() { find_if_there(context, &engine).await? } else { None };
    let publishes = |publish: &Publish| publish.port == network.port.0;
    if !engine.is_local() || container.is_some_and(|c| c.running && publishes(&c.live.publish)) {
        return Ok(());
    }
    Err(Error::PortInUse { address: address.to_string(), port: network.port.0, holder, free_port })
}

/// What came of opening the page.
struct Opened {
    page: String,
    /// Why it was not opened.
    reason: Option<NoBrowser>,
}

/// Opens the page in the browser; says why not, where there is none.
async fn open(context: &Context) -> Result<Opened> {
    let publish = check_page(context).await?;
    let page = page_url(publish.address, publish.port);
    let session = context.environment.session;
    if let Err(reason) = browser::can_open(session) {
        return Ok(Opened { page, reason: Some(reason) });
    }
    let entrance = entrance(context, &page)?;
    // Once more when the browser has come: that can take a while.
    let check = async || check_page(context).await.map(drop);
    if browser::open_privately(&entrance, session, PATIENCE, check).await? {
        return Ok(Opened { page, reason: None });
    }
    Err(Error::Usage {
        message: format!("no browser asked for the page within {} s", PATIENCE.as_secs()),
        hint: Some("docklet open --print".to_owned()),
    })
}

/// Makes sure, before the password goes anywhere, that our container runs and that its page answers; what it publishes.
async fn check_page(context: &Context) -> Result<Publish> {
    context.settings().await?;
    let container = find_running(context, &context.engine().await?).await?;
    let (name, publish) = (container.name, container.live.publish);
    let (probe, began) = (context.probe_of(&publish)?, Instant::now());
    loop {
        match probe.check().await {
            Seen::Works => return Ok(publish),
            // An agent at work can keep the page from answering for some seconds.
            Seen::Silent { .. } if began.elapsed() < BUSY => tokio::time::sleep(PAUSE).await,
            seen => return Err(Error::Unhealthy { name, reason: seen.to_string(), log: vec![] }),
        }
    }
}

/// The page, and the addresses that sign in whoever opens them: user and password are in them, as browsers
/// understand it. opencode's own `?auth_token=` signs in the page alone: what the page loads then gets 401.
fn entrance(context: &Context, page: &str) -> Result<Entrance> {
    let login = &context.appliance.login;
    let password = percent_encoded(context.password()?.reveal());
    let signed_in = page.replacen("http://", &format!("http://{}:{password}@", login.user), 1);
    let hold = login.hold.as_ref().map(|path| format!("{}{path}", signed_in.trim_end_matches('/')));
    Ok(Entrance { page: page.to_owned(), signed_in, hold })
}

/// Escapes all but RFC 3986's unreserved characters.
fn percent_encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}
