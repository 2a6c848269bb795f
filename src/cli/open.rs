//! `docklet open`

use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
    open(&url).await?;
    let page = page_url(network.bind.0, network.port.0);
    context.reporter.report(&Event::Note { text: format!("opened {page} in the browser") });
    Ok(())
}

/// The address that signs in whoever opens it (FACTS: `auth_token` is base64 of `user:password`).
fn signed_in(context: &Context, url: &str) -> Result<String> {
    let login = format!("{}:{}", context.appliance.login.user, context.password()?.reveal());
    let token = base64::engine::general_purpose::STANDARD.encode(login);
    // The letters of base64 that mean something else in a query.
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    Ok(format!("{url}?auth_token={token}"))
}

/// Opens an address that holds a secret. The browser is a program whose arguments every user of
/// this machine can list, so it gets the address of a listener that sends it on, once.
async fn open(url: &str) -> Result<()> {
    let failed = |e: std::io::Error| Error::Usage {
        message: format!("cannot hand the address to the browser: {}", crate::error::io_reason(&e)),
        hint: Some("open it yourself: docklet open --print".to_owned()),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|e| Error::bug(format!("no randomness: {e}")))?;
    let path = format!("/{}", crate::appliance::hex(&random));
    browser::open(&format!("http://{address}{path}"))?;
    let send_on = async {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0u8; 1024];
            let read = stream.read(&mut request).await?;
            // Somebody else on this machine may ask, too; only the browser knows the path.
            if request[..read].starts_with(format!("GET {path} ").as_bytes()) {
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await?;
                return stream.shutdown().await;
            }
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
        }
    };
    match tokio::time::timeout(PATIENCE, send_on).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed(std::io::Error::other("no browser asked for it"))),
    }
}
