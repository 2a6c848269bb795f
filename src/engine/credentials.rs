//! Who we are to a registry, as the user's docker config says: a stored name and password, a
//! token, or a credential helper program. Reads only; asks nobody and stores nothing. What goes
//! wrong here is a warning: most images need no credentials.

use std::{collections::HashMap, fmt, path::Path, process::Stdio, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD, prelude::BASE64_URL_SAFE};
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{context::config_text, reference::DEFAULT_REGISTRY};
use crate::event::Reporter;

/// How long a credential helper may take.
const HELPER_DEADLINE: Duration = Duration::from_secs(10);

/// Under which Docker Hub is stored, for historical reasons.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Name and secret for one registry. Shows neither in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    registry: String,
    secret: StoredLogin,
}

#[derive(Clone, PartialEq, Eq)]
enum StoredLogin {
    Password {
        user: String,
        password: String,
    },
    /// An identity token, which stands for both.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.registry)
    }
}

impl Credentials {
    /// Nobody's: without any, Docker 20.10 does not push at all.
    #[cfg(test)]
    pub(super) fn of_nobody() -> Self {
        let secret = StoredLogin::Password { user: String::new(), password: String::new() };
        Credentials { registry: String::new(), secret }
    }

    /// As an engine wants them beside a request: in the alphabet of base64 for addresses.
    pub(super) fn header(&self) -> HeaderValue {
        let mut fields = json!({"serveraddress": key_of(&self.registry)});
        match &self.secret {
            StoredLogin::Password { user, password } => {
                fields["username"] = user.as_str().into();
                fields["password"] = password.as_str().into();
            }
            StoredLogin::Token(token) => fields["identitytoken"] = token.as_str().into(),
        }
        let text = BASE64_URL_SAFE.encode(fields.to_string());
        let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// The parts of docker's `config.json` that matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CredentialsConfig {
    auths: HashMap<String, Stored>,
    #[serde(rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// What is stored for a registry; a helper leaves an empty entry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stored {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// Looks up who we are to a registry. `docker_config` is the folder of docker's `config.json`.
/// `None` when nothing is known; troubles are reported as warnings.
pub async fn find(docker_config: &Path, registry: &str, reporter: &dyn Reporter) -> Option<Credentials> {
    let warn = |text: String| reporter.warn(text);
    let file = docker_config.join("config.json");
    let text = match fs_err::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => {
            let reason = crate::error::io_reason(&e);
            warn(format!("cannot read {}: {reason}; going on without registry credentials", file.display()));
            return None;
        }
    };
    let config: CredentialsConfig = match serde_json::from_str(config_text(&text)) {
        Ok(config) => config,
        // serde's message would quote what it stumbled over, which may be a secret.
        Err(e) => {
            let place = format!("line {}, column {}", e.line(), e.column());
            warn(format!("{} is not valid at {place}; going on without registry credentials", file.display()));
            return None;
        }
    };
    let helper =
        config.helpers.get(registry).or_else(|| config.helpers.get(key_of(registry))).or(config.store.as_ref());
    if let Some(helper) = helper.filter(|name| !name.is_empty()) {
        match ask_helper(helper, key_of(registry)).await {
            Ok(Some(secret)) => return Some(Credentials { registry: registry.to_owned(), secret }),
            Ok(None) => {}
            Err(reason) => warn(format!(
                "the credential helper docker-credential-{helper} {reason}; going on without credentials for {registry}"
            )),
        }
    }
    let secret = stored(&config.auths, registry)?;
    Some(Credentials { registry: registry.to_owned(), secret })
}

fn key_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { DOCKER_HUB_KEY } else { registry }
}

/// What is stored in the file itself. Keys are host names, or addresses from older days.
fn stored(auths: &HashMap<String, Stored>, registry: &str) -> Option<StoredLogin> {
    let host = |key: &str| {
        let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        key.split('/').next().unwrap_or_default().to_owned()
    };
    let same = |key: &str| {
        host(key) == registry
            || registry == DEFAULT_REGISTRY && matches!(host(key).as_str(), "index.docker.io" | "registry-1.docker.io")
    };
    let entry = auths
        .get(key_of(registry))
        .or_else(|| auths.iter().filter(|(key, _)| same(key)).min_by_key(|(key, _)| *key).map(|(_, entry)| entry))?;
    if let Some(token) = entry.identitytoken.as_ref().filter(|t| !t.is_empty()) {
        return Some(StoredLogin::Token(token.clone()));
    }
    let decoded = entry.auth.as_ref().and_then(|auth| {
        let bytes = STANDARD.decode(auth.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
    });
    let (user, password) = decoded.or_else(|| Some((entry.username.clone()?, entry.password.clone()?)))?;
    (!user.is_empty()).then_some(StoredLogin::Password { user, password })
}

/// Asks a helper by its name in the config. `Ok(None)`: it knows nothing of that registry. `Err`:
/// what went wrong, as a sentence without its subject.
async fn ask_helper(helper: &str, server: &str) -> Result<Option<StoredLogin>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !helper.chars().all(plain) {
        return Err("has a name that no program has".to_owned());
    }
    ask(Command::new(format!("docker-credential-{helper}")).arg("get"), server, HELPER_DEADLINE).await
}

/// Asks a program that speaks the credential helpers' protocol.
async fn ask(program: &mut Command, server: &str, deadline: Duration) -> Result<Option<StoredLogin>, String> {
    let work = async {
        let mut child =
            program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that does not read is judged by what it answers.
            let _ = input.write_all(format!("{server}\n").as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(deadline, work).await {
        Err(_) => return Err(format!("did not answer within {} s", deadline.as_secs())),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => return Err("is not installed".to_owned()),
        Ok(Err(e)) => return Err(format!("cannot be run: {}", crate::error::io_reason(&e))),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout).to_lowercase();
        return if words.contains("not found") { Ok(None) } else { Err("failed".to_owned()) };
    }
    let helped: Helped =
        serde_json::from_slice(&output.stdout).map_err(|_| "answered with something other than JSON".to_owned())?;
    Ok(match helped.username.as_str() {
        "<token>" => Some(StoredLogin::Token(helped.secret)),
        "" => None,
        _ => Some(StoredLogin::Password { user: helped.username, password: helped.secret }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::scripted::Recorder, *};

    /// Looks `registry` up in a config file with this text; the answer and the warnings.
    async fn look_up(text: &str, registry: &str) -> (Option<(String, String)>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let recorder = Recorder::default();
        let found = find(folder.path(), registry, &recorder).await.map(|c| match c.secret {
            StoredLogin::Password { user, password } => (user, password),
            StoredLogin::Token(token) => ("<token>".to_owned(), token),
        });
        let folder = folder.path().display().to_string();
        (found, recorder.notes().iter().map(|n| n.replace(&folder, "DIR")).collect())
    }

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[tokio::test]
    async fn stored_credentials_are_found_under_every_spelling() {
        let auth = STANDARD.encode("me:pass:word");
        for (key, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ] {
            let text = format!(r#"{{"auths":{{"other.org":{{}},"{key}":{{"auth":"{auth}"}}}}}}"#);
            assert_eq!(look_up(&text, registry).await, (pair("me", "pass:word"), vec![]), "{key}");
            assert_eq!(look_up(&text, "quay.io").await, (None, vec![]), "{key}");
        }
    }

    #[tokio::test]
    async fn tokens_and_plain_fields_count_and_empty_entries_do_not() {
        let of = async |entry: &str| look_up(&format!(r#"{{"auths":{{"a.org":{entry}}}}}"#), "a.org").await.0;
        assert_eq!(of(r#"{"auth":"bWU6eA==","identitytoken":"T"}"#).await, pair("<token>", "T"));
        assert_eq!(of(r#"{"username":"me","password":"x"}"#).await, pair("me", "x"));
        assert_eq!(of("{}").await, None);
        assert_eq!(of(r#"{"auth":"not base64!"}"#).await, None);
    }

    #[tokio::test]
    async fn no_file_is_no_news_and_a_broken_one_is_a_warning_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::default();
        assert!(find(folder.path(), "a.org", &recorder).await.is_none());
        assert_eq!(recorder.notes(), [""; 0]);
        let (found, notes) = look_up(r#"{"auths": {"a.org": {"auth": s3cret}}}"#, "a.org").await;
        assert_eq!(found, None);
        assert_eq!(notes, ["DIR/config.json is not valid at line 1, column 30; going on without registry credentials"]);
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_or_unspeakable_is_a_warning() {
        let (found, notes) = look_up(r#"{"credsStore":"docklet-test-missing"}"#, "a.org").await;
        assert_eq!(found, None);
        assert_eq!(
            notes,
            [
                "the credential helper docker-credential-docklet-test-missing is not installed; going on without credentials for a.org"
            ]
        );
        let (_, notes) = look_up(r#"{"credHelpers":{"a.org":"../../bin/sh"}}"#, "a.org").await;
        assert!(notes[0].contains("has a name that no program has"), "{notes:?}");
        let both = r#"{"credsStore":"docklet-test-missing","auths":{"a.org":{"auth":"bWU6eA=="}}}"#;
        assert_eq!(look_up(both, "a.org").await.0, pair("me", "x"), "the file still counts");
    }

    #[tokio::test]
    async fn a_helper_is_asked_in_its_own_protocol() {
        let run = async |script: &str| {
            ask(Command::new("sh").args(["-c", script]), "https://a.org", Duration::from_millis(500)).await.map(|s| {
                s.map(|s| match s {
                    StoredLogin::Password { user, password } => (user, password),
                    StoredLogin::Token(token) => ("<token>".to_owned(), token),
                })
            })
        };
        let answer =
            |user: &str| format!(r#"read s; printf '{{"ServerURL":"x","Username":"{user}","Secret":"%s"}}' "$s"#);
        assert_eq!(run(&format!("{}\"", answer("me"))).await, Ok(pair("me", "https://a.org")));
        assert_eq!(run(&format!("{}\"", answer("<token>"))).await, Ok(pair("<token>", "https://a.org")));
        let unknown = "echo credentials not found in native keychain; exit 1";
        assert_eq!(run(unknown).await, Ok(None));
        assert_eq!(run("exit 1").await, Err("failed".to_owned()));
        assert_eq!(run("echo hello").await, Err("answered with something other than JSON".to_owned()));
        assert_eq!(run("exec sleep 5").await, Err("did not answer within 0 s".to_owned()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = StoredLogin::Password { user: "me".into(), password: "s3cret".into() };
        let shown = format!("{:?}", Credentials { registry: "a.org".into(), secret });
        assert_eq!(shown, "Credentials(a.org, …)");
    }
}
