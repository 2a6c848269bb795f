//! Loads the network rules of `network.egress` into the container's network namespace, by a helper container of the
//! same image, and reads what they refused. The container's entrypoint waits for the rules before it starts anything.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    appliance::Appliance,
    clock, desired,
    engine::{
        Engine,
        helper::{HelperNetwork, HelperSpec},
    },
    error::{Error, Result},
    paths::InstancePaths,
    sandbox::own_networks,
    settings::{Allow, Egress, Settings},
    state_file,
};

/// Most destinations that are kept of a report.
const MOST_DESTINATIONS: usize = 20;

/// The exit code of the program in the image for arguments that it does not know.
const WRONG_ARGUMENTS: i64 = 2;

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    mode: Egress,
    /// `HOST PORT` for each entry, as the program in the image reads them.
    entries: Vec<String>,
}

impl Rules {
    /// The rules that the settings want. `proxies` are the values of the proxy variables that the appliance gets: what
    /// they name is always allowed.
    pub fn new<'a>(settings: &Settings, proxies: impl IntoIterator<Item = &'a str>) -> Self {
        let mut entries: Vec<String> = allowed(settings, proxies).map(entry).collect();
        entries.sort();
        entries.dedup();
        Rules { mode: settings.network.egress, entries }
    }

    /// The same for a container that was made with another mode.
    pub fn for_mode(&self, mode: Egress) -> Self {
        Rules { mode, entries: self.entries.clone() }
    }

    /// Whether there is something to load.
    pub fn exist(&self) -> bool {
        self.mode.has_rules()
    }

    /// Whether there are none to load, or these were loaded since the container was started.
    pub fn are_loaded(&self, files: &InstancePaths) -> bool {
        !self.exist() || Loaded::load(files).rules == as_lines(self)
    }

    /// The program in the image that loads them, with its arguments. `own`: networks that `internet` refuses, too.
    pub fn command(&self, appliance: &Appliance, own: &[IpNet]) -> Vec<String> {
        let own = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let program = [appliance.container.network_rules.clone(), self.mode.to_string(), own];
        program.into_iter().chain(self.entries.iter().cloned()).collect()
    }
}

/// What may be reached beyond what the mode allows: the entries of `network.allow` and the proxies.
pub fn allowed<'a>(settings: &Settings, proxies: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = Allow> {
    settings.network.allow.iter().cloned().chain(proxies.into_iter().filter_map(proxy))
}

fn entry(allow: Allow) -> String {
    let host = if allow.host == Allow::HOST { desired::HOST_NAME } else { &allow.host };
    format!("{host} {}", allow.port.map_or("-".to_owned(), |port| port.to_string()))
}

/// The host and port of a proxy's address, such as `http://user:password@proxy.example.org:3128/`.
fn proxy(address: &str) -> Option<Allow> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let mut allow: Allow = host.parse().ok()?;
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => 1080,
    };
    allow.port = allow.port.or(Some(default));
    Some(allow)
}

/// Loads the rules for a running container, in which nothing has begun yet or whose rules change.
///
/// # Errors
/// [`Error::RulesNotLoaded`] with the helper's words, and what the engine says.
pub async fn load(engine: &Engine, helper: HelperSpec, rules: &Rules, appliance: &Appliance) -> Result<()> {
    run(engine, helper, rules, appliance, false).await.map(drop)
}

/// Loads the rules again, with the addresses that names have now; what they refused so far.
///
/// # Errors
/// As [`load`].
pub async fn refresh(engine: &Engine, helper: HelperSpec, rules: &Rules, appliance: &Appliance) -> Result<Refusals> {
    let output = run(engine, helper, rules, appliance, true).await?;
    Ok(Refusals::parse(&String::from_utf8_lossy(&output)))
}

async fn run(
    engine: &Engine,
    mut helper: HelperSpec,
    rules: &Rules,
    appliance: &Appliance,
    read: bool,
) -> Result<Vec<u8>> {
    let own = match rules.mode {
        Egress::Internet => own_networks::find(engine, &helper, appliance).await?,
        Egress::Listed | Egress::All => vec![],
    };
    let container = match &helper.network {
        HelperNetwork::Container(name) => name.clone(),
        HelperNetwork::None | HelperNetwork::Host => String::new(),
    };
    helper.command = rules.command(appliance, &own);
    helper.capabilities = vec!["NET_ADMIN".to_owned()];
    let not_loaded =
        |reason: String| Error::RulesNotLoaded { name: container.clone(), mode: rules.mode.to_string(), reason };
    let (ended, output) = if read {
        engine.run_helper(&helper, None).await?
    } else {
        match engine.run_quick_helper(&helper).await {
            // The engine refuses to make or start such a container: a capability or a namespace that it won't give.
            Err(Error::StartFailed { reason, .. } | Error::EngineRefused { reason, .. }) => {
                return Err(not_loaded(reason));
            }
            ended => (ended?, vec![]),
        }
    };
    match ended.code {
        0 => Ok(output),
        WRONG_ARGUMENTS if ended.complaints.is_empty() => {
            Err(not_loaded("the image was made for another version of docklet".to_owned()))
        }
        _ => Err(not_loaded(ended.reason())),
    }
}

/// What the rules of a running container refused so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusals {
    /// When this was read, RFC 3339 in UTC.
    pub at: String,
    /// How many connections were refused.
    pub count: u64,
    /// Where they went, most first.
    pub destinations: Vec<Destination>,
    /// Names in `network.allow` that have no address now.
    pub unresolved: Vec<String>,
}

/// Where refused connections went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Address.
    pub address: String,
    /// `tcp`, `udp` or a protocol's number.
    pub protocol: String,
    /// Port.
    pub port: u16,
    /// How many.
    pub count: u64,
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address: String =
            if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        write!(f, "{address}:{}", self.port)
    }
}

impl Refusals {
    /// Reads what the program in the image prints.
    fn parse(output: &str) -> Self {
        let mut refusals = Refusals { at: clock::now_rfc3339(), ..Refusals::default() };
        for line in output.lines() {
            if let Some(name) = line.strip_prefix("unresolved ") {
                refusals.unresolved.push(name.to_owned());
            } else if let Ok(json) = serde_json::from_str::<serde_json::Value>(line) {
                refusals.read(&json);
            }
        }
        refusals.destinations.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.address.cmp(&b.address)));
        refusals.destinations.truncate(MOST_DESTINATIONS);
        refusals
    }

    fn read(&mut self, json: &serde_json::Value) {
        for object in json["nftables"].as_array().into_iter().flatten() {
            if object["counter"]["name"] == "refused" {
                self.count = object["counter"]["packets"].as_u64().unwrap_or(0);
            }
            for element in object["set"]["elem"].as_array().into_iter().flatten() {
                let element = &element["elem"];
                let value = &element["val"]["concat"];
                let Some(address) = value[0].as_str().filter(|_| element["counter"].is_object()) else { continue };
                self.destinations.push(Destination {
                    address: address.to_owned(),
                    protocol: protocol(&value[1]),
                    port: value[2].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
                    count: element["counter"]["packets"].as_u64().unwrap_or(0),
                });
            }
        }
    }
}

fn protocol(value: &serde_json::Value) -> String {
    match (value.as_str(), value.as_u64()) {
        (Some(name), _) => name.to_owned(),
        (_, Some(6)) => "tcp".to_owned(),
        (_, Some(17)) => "udp".to_owned(),
        (_, number) => number.unwrap_or(0).to_string(),
    }
}

/// Which rules were loaded last and what they refused: a file, so that `start` knows whether they are still what is
/// wanted and `status` needs no call for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loaded {
    /// Mode and entries.
    pub rules: Vec<String>,
    /// What they refused, where it was asked for since the container started.
    pub refusals: Option<Refusals>,
}

impl Loaded {
    /// Reads the file; a missing or damaged one counts as none.
    pub fn load(files: &InstancePaths) -> Self {
        state_file::load(&files.network_rules()).unwrap_or_default()
    }

    /// The container is about to be started, or was started by somebody else: it has no rules yet.
    pub fn forget(files: &InstancePaths) {
        let _ = std::fs::remove_file(files.network_rules());
    }

    /// Remembers what was loaded. A file that cannot be written costs a second loading, and nothing else.
    pub fn keep(files: &InstancePaths, rules: &Rules, refusals: Option<Refusals>) {
        let loaded = Loaded { rules: as_lines(rules), refusals };
        let _ = state_file::save(&files.network_rules(), &loaded);
    }
}

fn as_lines(rules: &Rules) -> Vec<String> {
    std::iter::once(rules.mode.to_string()).chain(rules.entries.iter().cloned()).collect()
}

/// The values of the proxy variables among the appliance's secrets.
///
/// # Errors
/// When a secret cannot be read.
pub fn proxies(files: &InstancePaths) -> Result<Vec<String>> {
    let read = |name: &&str| crate::secrets::read(&files.secrets(), name).map(|s| s.map(|s| s.reveal().to_owned()));
    let values: Vec<Option<String>> =
        ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].iter().map(read).collect::<Result<_>>()?;
    Ok(values.into_iter().flatten().collect())
}

/// What helps where a proxy listens only on this machine's own address.
pub const LOOPBACK_FIX: &str = "let the proxy listen on the engine's gateway address, too (docker network inspect bridge shows it), then: HTTPS_PROXY=http://GATEWAY:PORT docklet setup";

/// A warning about those of the appliance's proxies that listen only on this machine's own address, where nothing in the
/// container reaches them. Without the password that an address may have.
///
/// # Errors
/// When a secret cannot be read.
pub fn loopback_proxies(files: &InstancePaths) -> Result<Option<String>> {
    // An entry of rules has its own word for this machine's own address.
    let unreached = |address: String| {
        let Allow { host, port } = proxy(&address)?;
        let own = host == Allow::HOST || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        own.then(|| port.map_or("127.0.0.1".to_owned(), |port| format!("127.0.0.1:{port}")))
    };
    let mut unreached: Vec<String> = proxies(files)?.into_iter().filter_map(unreached).collect();
    unreached.sort();
    unreached.dedup();
    let list = unreached.join(", ");
    Ok((!list.is_empty())
        .then(|| format!("nothing in the container reaches the proxy at {list}, this machine's own address")))
}

/// The labels and the name that helper containers of an instance have.
pub fn helper(
    name: &str,
    image: &str,
    labels: &BTreeMap<String, String>,
    what: &str,
    network: Option<&str>,
) -> HelperSpec {
    let mut labels = labels.clone();
    labels.insert(crate::desired::label::TASK.to_owned(), what.to_owned());
    HelperSpec {
        name: name.to_owned(),
        image: image.to_owned(),
        labels,
        network: network.map_or(HelperNetwork::None, |container| HelperNetwork::Container(container.to_owned())),
        ..HelperSpec::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rules(allow: &[&str], proxies: &[&str]) -> Rules {
        let mut settings = Settings::default();
        settings.network.allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        Rules::new(&settings, proxies.iter().copied())
    }

    #[test]
    fn entries_are_what_the_program_reads() {
        let wanted = rules(
            &["host:11434", "10.8.0.0/16", "git.example.org:22"],
            &["http://u:p@proxy.lan:3128/", "socks5h://10.1.1.1"],
        );
        let own = ["203.0.113.0/24", "2001:db8::/64"].map(|network| network.parse().unwrap());
        let command = wanted.command(&Appliance::embedded().unwrap(), &own);
        let entries =
            ["10.1.1.1 1080", "10.8.0.0/16 -", "git.example.org 22", "host.docker.internal 11434", "proxy.lan 3128"];
        assert_eq!(command[1..], [&["internet", "203.0.113.0/24 2001:db8::/64"], &entries[..]].concat());
    }

    #[test]
    fn a_proxy_on_this_machines_own_address_is_told_without_its_password() {
        let home = tempfile::tempdir().unwrap();
        let files = crate::paths::Paths::find(Some(home.path())).unwrap().instance(&"default".parse().unwrap());
        let told = |name: &str, value: &str| {
            crate::secrets::write(&files.secrets(), name, &crate::secrets::Secret::new(value.to_owned())).unwrap();
            loopback_proxies(&files).unwrap().unwrap_or_default()
        };
        assert_eq!(told("HTTP_PROXY", "http://192.168.1.2:3128"), "");
        let own = told("HTTPS_PROXY", "http://me:secret@127.0.0.1:3128/");
        assert!(own.contains("127.0.0.1:3128") && !own.contains("secret"), "{own}");
        assert!(told("HTTPS_PROXY", "localhost:8080").contains("127.0.0.1:8080"));
        assert!(told("HTTPS_PROXY", "http://[::1]:8080").contains(":8080"));
        assert_eq!(told("HTTPS_PROXY", "http://localhost.example.org"), "");
    }

    #[test]
    fn what_was_refused_is_read() {
        let output = concat!(
            "unresolved nowhere.example\n",
            r#"{"nftables": [{"counter": {"name": "refused", "packets": 7, "bytes": 9}}, {"set": {"name": "refused4", "#,
            r#""elem": [{"elem": {"val": {"concat": ["172.17.0.1", 6, 22]}, "counter": {"packets": 2, "bytes": 1}}}, "#,
            r#"{"elem": {"val": {"concat": ["10.0.0.1", "udp", 53]}, "counter": {"packets": 5, "bytes": 1}}}]}}]}"#,
        );
        let refusals = Refusals::parse(output);
        assert_eq!((refusals.count, refusals.unresolved), (7, vec!["nowhere.example".to_owned()]));
        let shown: Vec<String> =
            refusals.destinations.iter().map(|d| format!("{d} {} {}", d.protocol, d.count)).collect();
        assert_eq!(shown, ["10.0.0.1:53 udp 5", "172.17.0.1:22 tcp 2"]);
        assert_eq!(Refusals::parse("{broken").count, 0);
    }
}
