//! Passes requests from inside on to the host's ssh agent: to list keys, and to sign with one. All others, such as to
//! add or to remove keys, are refused here.

use std::{
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
};

use crate::{desired::ssh_agent::SOCKET, paths::InstancePaths, sandbox::ssh_agent};

/// Connections at a time; the others wait.
const CONNECTIONS: usize = 8;

/// Longest message, as in OpenSSH.
const LONGEST: usize = 256 << 10;

// The numbers of draft-ietf-sshm-ssh-agent.
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const EXTENSION: u8 = 27;
const FAILURE: &[u8] = &[5];

/// Tells the ssh agent which host is spoken to, so that keys that are bound to hosts (`ssh-add -h`) can be used.
const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

/// One that listens; it ends when this is dropped.
pub struct Forwarder {
    task: AbortHandle,
    socket: PathBuf,
}

impl Forwarder {
    /// Listens in the instance's folder.
    ///
    /// # Errors
    /// When the socket cannot be made there.
    pub fn start(files: &InstancePaths) -> io::Result<Self> {
        let socket = files.ssh_agent().join(SOCKET);
        let listener = listen(&socket)?;
        let files = files.clone();
        let task = tokio::spawn(serve(listener, move || ssh_agent::remembered(&files))).abort_handle();
        Ok(Forwarder { task, socket })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A socket that whoever gets to it may use. The name of its folder may be longer than a socket's may.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let folder = std::fs::File::open(folder)?;
    let listener = UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))?;
    std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, host: impl Fn() -> Option<PathBuf> + Send + Sync + 'static) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((inside, _)) => {
                let host = host();
                tokio::spawn(async move {
                    // Without an ssh agent on the host, ssh inside sees one that hangs up, and goes on without it.
                    if let Some(host) = host
                        && let Ok(host) = UnixStream::connect(host).await
                    {
                        let _ = pass_on(inside, host).await;
                    }
                    drop(permit);
                });
            }
            // Too many open files, say: the ones that are open end at some time.
            Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
}

/// Passes requests and answers on until one side hangs up.
async fn pass_on(mut inside: UnixStream, mut host: UnixStream) -> io::Result<()> {
    loop {
        let request = read_message(&mut inside).await?;
        if is_allowed(&request) {
            write_message(&mut host, &request).await?;
            let answer = read_message(&mut host).await?;
            write_message(&mut inside, &answer).await?;
        } else {
            write_message(&mut inside, FAILURE).await?;
        }
    }
}

fn is_allowed(request: &[u8]) -> bool {
    match request.split_first() {
        Some((&(REQUEST_IDENTITIES | SIGN_REQUEST), _)) => true,
        Some((&EXTENSION, rest)) => rest.split_first_chunk().is_some_and(|(length, rest)| {
            u32::from_be_bytes(*length) as usize == SESSION_BIND.len() && rest.starts_with(SESSION_BIND)
        }),
        _ => false,
    }
}

async fn read_message(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An ssh agent that answers each request with the request.
    fn echo(socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(request) = read_message(&mut stream).await {
                        write_message(&mut stream, &request).await.unwrap();
                    }
                });
            }
        });
    }

    fn extension(name: &[u8]) -> Vec<u8> {
        [&[EXTENSION], &u32::try_from(name.len()).unwrap().to_be_bytes()[..], name, b"rest"].concat()
    }

    #[tokio::test]
    async fn keys_are_listed_and_used_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        // Longer than the 107 bytes that the address of a socket may have.
        let folder = home.path().join("x".repeat(120));
        std::fs::create_dir(&folder).unwrap();
        let host = home.path().join("host.sock");
        echo(&host);
        let listener = listen(&folder.join(SOCKET)).unwrap();
        let served = host.clone();
        tokio::spawn(serve(listener, move || Some(served.clone())));
        let opened = std::fs::File::open(&folder).unwrap();
        let inside = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        let mut stream = UnixStream::connect(&inside).await.unwrap();
        for (request, allowed) in [
            (vec![REQUEST_IDENTITIES], true),
            ([&[SIGN_REQUEST], &[7; 5000][..]].concat(), true),
            (extension(SESSION_BIND), true),
            (extension(b"query"), false),
            (extension(b"session-bind@openssh.com.example"), false),
            (vec![EXTENSION, 0, 0], false),
            // Add, remove one, remove all, add a card, lock, unlock, version 1.
            (vec![17, 1], false),
            (vec![18, 1], false),
            (vec![19], false),
            (vec![20, 1], false),
            (vec![22, 1], false),
            (vec![23, 1], false),
            (vec![1], false),
            (vec![], false),
        ] {
            write_message(&mut stream, &request).await.unwrap();
            let answer = read_message(&mut stream).await.unwrap();
            assert_eq!(answer == request, allowed, "{request:?}");
            assert!(allowed || answer == FAILURE, "{request:?}: {answer:?}");
        }
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(stream.read_u8().await.is_err(), "a message without end is not read");
        std::fs::remove_file(&host).unwrap();
        let mut stream = UnixStream::connect(&inside).await.unwrap();
        assert!(stream.read_u8().await.is_err(), "without an ssh agent on the host, it hangs up");
    }
}
