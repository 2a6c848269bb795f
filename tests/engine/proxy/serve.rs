//! One connection of a client and its own to the engine: requests go there, answers come back, and what is due
//! happens to them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::fault::Action;
use super::http::{Body, Head};
use super::{Shared, Ticket};

/// Asked of the answering side for each call that goes to the engine.
struct Expect {
    ticket: Ticket,
    method: String,
    action: Option<Action>,
    /// The request may turn the connection raw; say whether it did.
    may_hijack: Option<mpsc::Sender<bool>>,
}

/// Serves one client with one connection of its own to the engine: one thread takes requests, one brings answers.
pub(super) fn serve(shared: &Arc<Shared>, client: Conn) {
    let engine = match Conn::to_engine(&shared.engine) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("proxy: {}: {error}", shared.engine);
            return client.close();
        }
    };
    let (Ok(client_end), Ok(engine_end)) = (client.another(), engine.another()) else {
        return;
    };
    let (Ok(client_out), Ok(engine_out)) = (client.another(), engine.another()) else {
        return;
    };
    let number = shared.next_connection.fetch_add(1, Ordering::SeqCst);
    shared.open.lock().expect("open connections").insert(number, vec![client_end, engine_end]);
    if shared.stopping.load(Ordering::SeqCst) {
        client.close();
        engine.close();
    }

    let (expect, expected) = mpsc::channel();
    let answering = Arc::clone(shared);
    let answers = thread::spawn(move || {
        let mut engine = BufReader::new(engine);
        let mut client = client_out;
        let _ = bring_answers(&answering, &expected, &mut engine, &mut client);
        client.close();
        engine.get_ref().close();
    });
    let mut requests = BufReader::new(client);
    let mut engine = engine_out;
    match take_requests(shared, &expect, &mut requests, &mut engine) {
        Ok(End::Answering) => {}
        Ok(End::Closed) | Err(_) => {
            requests.get_ref().close();
            engine.close();
        }
    }
    drop(expect);
    let _ = answers.join();
    shared.open.lock().expect("open connections").remove(&number);
}

enum End {
    /// The client or a fault ended it.
    Closed,
    /// Nothing more goes to the engine; what it still says is passed on.
    Answering,
}

fn take_requests(
    shared: &Arc<Shared>,
    expect: &mpsc::Sender<Expect>,
    client: &mut BufReader<Conn>,
    engine: &mut Conn,
) -> io::Result<End> {
    while let Some(head) = Head::read(client)? {
        let mut words = head.first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let (ticket, action) = shared.record(&method, &path);
        let body = head.request_body();
        match &action {
            Some(Action::KillBefore) => {
                shared.kill();
                return Ok(End::Closed);
            }
            Some(Action::CutBefore) => return Ok(End::Closed),
            Some(Action::Hang) => {
                io::copy(client, &mut io::sink())?;
                return Ok(End::Closed);
            }
            Some(Action::Status(status, text)) => {
                body.copy(client, &mut io::sink())?;
                let reply = format!(
                    "HTTP/1.1 {status} Fault\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                let text = if method == "HEAD" { "" } else { text };
                let mut out = client.get_ref().another()?;
                out.write_all(format!("{reply}{text}").as_bytes())?;
                shared.update(ticket, |call| call.status = Some(*status));
                continue;
            }
            Some(Action::KillAfter | Action::Cut | Action::Delay(_) | Action::Rewrite(..)) | None => {}
        }
        let attach = method == "POST" && (path.contains("/attach") || path.contains("/exec/"));
        let (verdict, hijacked) = mpsc::channel();
        let may_hijack = (attach || head.value("upgrade").is_some()).then_some(verdict);
        let wait = may_hijack.is_some();
        shared.update(ticket, |call| call.forwarded = true);
        if expect.send(Expect { ticket, method, action, may_hijack }).is_err() {
            return Ok(End::Closed);
        }
        let sent = engine.write_all(&head.bytes).and_then(|()| body.copy(client, engine));
        match sent {
            // The engine stopped listening before the end of the body: its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Answering),
            other => other?,
        }
        if wait && hijacked.recv().unwrap_or(false) {
            pump(client, engine)?;
            engine.shutdown(Shutdown::Write);
            return Ok(End::Answering);
        }
    }
    Ok(End::Closed)
}

fn bring_answers(
    shared: &Arc<Shared>,
    expected: &mpsc::Receiver<Expect>,
    engine: &mut BufReader<Conn>,
    client: &mut Conn,
) -> io::Result<()> {
    while let Ok(expect) = expected.recv() {
        let Some(mut head) = Head::read(engine)? else {
            return Ok(());
        };
        while head.status() / 100 == 1 && head.status() != 101 {
            client.write_all(&head.bytes)?;
            head = match Head::read(engine)? {
                Some(next) => next,
                None => return Ok(()),
            };
        }
        let status = head.status();
        let body = head.answer_body(&expect.method, status);
        match expect.action {
            Some(Action::KillAfter) => {
                shared.kill();
                return Ok(());
            }
            Some(Action::Cut) => {
                // With a body: the head and half of the first piece. Without: half of the head.
                let mut piece = Vec::new();
                if !matches!(body, Body::None | Body::Length(0)) {
                    piece = engine.fill_buf()?.to_vec();
                }
                if piece.is_empty() {
                    client.write_all(&head.bytes[..head.bytes.len() / 2])?;
                } else {
                    client.write_all(&head.bytes)?;
                    client.write_all(&piece[..piece.len() / 2])?;
                }
                return Ok(());
            }
            Some(Action::Delay(time)) => {
                let deadline = Instant::now() + time;
                let mut state = shared.lock();
                while Instant::now() < deadline && !shared.stopping.load(Ordering::SeqCst) {
                    let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
                    state =
                        shared.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
                }
            }
            _ => {}
        }
        shared.update(expect.ticket, |call| call.status = Some(status));
        client.write_all(&head.bytes)?;
        let kind = head.value("content-type").unwrap_or_default();
        let raw = status == 101
            || (matches!(body, Body::ToEnd) && expect.may_hijack.is_some())
            || (matches!(body, Body::ToEnd) && kind.contains("-stream"));
        if let Some(verdict) = expect.may_hijack {
            let _ = verdict.send(raw);
        }
        if raw {
            pump(engine, client)?;
            client.shutdown(Shutdown::Write);
            return Ok(());
        }
        if let Some(Action::Rewrite(from, to)) = expect.action {
            let mut whole = Vec::new();
            body.copy(engine, &mut whole)?;
            client.write_all(String::from_utf8_lossy(&whole).replace(from, to).as_bytes())?;
        } else {
            body.copy(engine, client)?;
        }
        if matches!(body, Body::ToEnd) {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes on what comes, as it comes, until the end.
fn pump(from: &mut BufReader<Conn>, to: &mut Conn) -> io::Result<()> {
    loop {
        let data = from.fill_buf()?;
        if data.is_empty() {
            return Ok(());
        }
        to.write_all(data)?;
        let length = data.len();
        from.consume(length);
    }
}
