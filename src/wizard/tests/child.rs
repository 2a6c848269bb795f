//! The process that asks, with the answers and the surroundings that a test names.

use std::path::PathBuf;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use crate::{
    settings::{ImageSource, Resources, RestartPolicy},
    wizard::*,
};

/// Set for the child: what to run. Its outcome goes into the file that `DOCKLET_TEST_OUTCOME` names.
pub const RUN: &str = "DOCKLET_TEST_WIZARD";
pub const OUTCOME: &str = "DOCKLET_TEST_OUTCOME";
pub const HOME: &str = "DOCKLET_TEST_WIZARD_HOME";
/// The terminal's size: columns, a space, rows.
pub const SIZE: &str = "DOCKLET_TEST_WIZARD_SIZE";
/// Set where the questions are plain lines.
pub const PLAIN: &str = "DOCKLET_TEST_WIZARD_PLAIN";

fn prompt(term: console::Term, style: crate::present::Style) -> Prompt {
    let plain = std::env::var_os(PLAIN).is_some();
    Prompt::new(term, style, plain, "nothing was changed; docklet setup begins again")
}

fn about(name: &str, endpoint: &str, origin: &str) -> EngineChoice {
    let about = About {
        endpoint: endpoint.into(),
        origin: origin.into(),
        name: name.into(),
        version: "20.10.24".into(),
        api_version: "1.41".into(),
        architecture: "amd64".into(),
    };
    EngineChoice { about, memory: 8 << 30 }
}

/// The one who asks, when run by a test (or by hand); nothing otherwise.
#[test]
fn wizard_child() {
    let Ok(run) = std::env::var(RUN) else { return };
    // The pseudo-terminal begins without echo; a real one has it.
    let mut modes = tcgetattr(std::io::stdin()).unwrap();
    modes.local_modes.insert(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Now, &modes).unwrap();
    // The test gives the terminal its size after the start.
    let size = std::env::var(SIZE).unwrap();
    let shown = |size: rustix::termios::Winsize| format!("{} {}", size.ws_col, size.ws_row);
    while shown(tcgetwinsize(std::io::stdin()).unwrap()) != size {
        std::thread::yield_now();
    }
    let term = console::Term::stderr();
    term.write_str("\u{1b}[2J\u{1b}[H").unwrap();
    let ascii = std::env::var("LC_ALL").is_ok_and(|locale| locale == "C");
    let style =
        crate::present::Style { color: std::env::var_os("NO_COLOR").is_none() && run == "tour", unicode: !ascii };
    let asking = prompt(term.clone(), style);
    let outcome = match run.as_str() {
        "confirm" => format!("{:?}", confirm_plan(&asking, "  1. build image opencode-cloud:1\n  2. start container")),
        "typed" => format!(
            "{:?}",
            typed_confirmation(&asking, "The three volumes and all in them are lost.", "opencode-cloud")
        ),
        "engine" => format!(
            "{:?}",
            ask_install_engine(&asking, "installs the package docker.io with apt, through sudo, and starts it")
        ),
        // As the commands do: they ask from inside a runtime.
        "runtime" => {
            drop(asking);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { asked(&prompt(term.clone(), style), &run) })
        }
        _ => asked(&asking, &run),
    };
    std::fs::write(std::env::var(OUTCOME).unwrap_or("/dev/null".into()), outcome).unwrap();
}

fn asked(prompt: &Prompt, run: &str) -> String {
    let mut engines = vec![about("Docker", "unix:///var/run/docker.sock", "the default socket")];
    if run == "engines" || run == "tour" {
        engines.push(about("Podman", "unix:///run/user/1000/podman/podman.sock", "Podman's socket"));
    }
    let taken_from = if run == "taken" { 3000 } else { 3005 };
    let port_state = |port: Port| {
        if port.0 == taken_from {
            PortState::Taken { holder: Some("node (pid 4711)".into()), free_port: Some(taken_from + 1) }
        } else {
            PortState::Available
        }
    };
    let choice = |title: &str, names: &[&str]| PackageChoice {
        title: title.into(),
        names: names.iter().map(|n| (*n).to_owned()).collect(),
    };
    let packages = [
        choice("Python", &["python3", "python3-pip", "python3-venv"]),
        choice("Node.js", &["nodejs", "npm"]),
        choice("Go", &["golang"]),
        choice("Rust", &["rustc", "cargo"]),
        choice("C/C++", &["build-essential", "cmake", "gdb"]),
    ];
    let key = |kind, title: &str, secret: &str| (kind, title.to_owned(), secret.to_owned());
    let keys = [
        key(KeyKind::Model, "Anthropic", "ANTHROPIC_API_KEY"),
        key(KeyKind::Model, "OpenAI", "OPENAI_API_KEY"),
        key(KeyKind::Model, "Google Gemini", "GOOGLE_GENERATIVE_AI_API_KEY"),
        key(KeyKind::Push, "GitHub", "GH_TOKEN"),
        key(KeyKind::Push, "GitLab", "GITLAB_TOKEN"),
    ];
    let keys_at_hand = ["OPENAI_API_KEY", "GH_TOKEN"].map(|name| (name.to_owned(), Secret::new("sk-at-hand"))).into();
    let secrets = if run == "again" { vec!["ANTHROPIC_API_KEY".to_owned()] } else { vec![] };
    let home = std::env::var_os(HOME).map(PathBuf::from);
    let kept = home.as_ref().unwrap().join("answers.json");
    let around = WizardInput {
        engines: &engines,
        port_state: &port_state,
        packages: &packages,
        keys: &keys,
        keys_at_hand: &keys_at_hand,
        secrets: &secrets,
        refuses: &|mounts| mounts.last()?.host.ends_with("refused").then(|| "it is refused".to_owned()),
        home: home.clone(),
        has_password: run == "again",
        can_autostart: run != "unmanaged",
        can_open: true,
        keep: &|answers| answers.keep(&kept).unwrap(),
    };
    let mut current = Settings { git: read_git("Ada Lovelace", "ada@example.org"), ..Settings::default() };
    if run == "again" {
        current.image.extra_packages =
            ["python3", "python3-pip", "python3-venv", "ffmpeg"].map(|p| p.parse().unwrap()).into();
        current.network.port = Port(3002);
        current.mounts.push("/home/me/app:/workspace/app".parse().unwrap());
        current.restart = crate::settings::Restart { policy: RestartPolicy::OnFailure, autostart: true };
    }
    let answers = match run {
        // Only the question that a test is about.
        "port" | "taken" => Answers { port: None, ..all_answers() },
        "packages" => Answers { extra_packages: None, ..all_answers() },
        "source" | "runtime" => Answers { source: None, ..all_answers() },
        "memory" => Answers { memory: None, ..all_answers() },
        "mount" => Answers { mounts: None, ..all_answers() },
        "password" => Answers { password: None, ..all_answers() },
        "keys" => Answers { keys: None, ..all_answers() },
        "git" => Answers { git: None, ..all_answers() },
        "two" => Answers { port: None, source: None, mounts: None, ..all_answers() },
        "nothing" => all_answers(),
        "unmanaged" => Answers { autostart: None, ..all_answers() },
        _ => Answers::default(),
    };
    let start = Answers::kept(&kept, std::path::Path::new("/nonexistent")).map_or(FlowStart::New, FlowStart::Kept);
    match ask(prompt, &current, &answers, start, &around) {
        Ok(choice) => {
            let Choice { settings, engine, image_file, password, keys, open, .. } = choice;
            let keys: Vec<String> = keys.iter().map(|(name, key)| format!("{name}={}", key.reveal())).collect();
            let password = match password {
                PasswordChoice::Own(secret) => format!("own {}", secret.reveal()),
                other => format!("{other:?}"),
            };
            format!(
                "engine {engine}, file {image_file:?}, password {password}, keys {keys:?}, open {open}\n{}",
                toml::to_string(&settings).unwrap()
            )
        }
        Err(error) => format!("{error:?}"),
    }
}

fn read_git(name: &str, email: &str) -> crate::settings::Git {
    crate::settings::Git { name: name.parse().unwrap(), email: email.parse().unwrap(), ..Default::default() }
}

fn all_answers() -> Answers {
    Answers {
        engine: Some(0),
        port: Some(Port(3000)),
        source: Some(ImageSource::Build),
        git: Some(read_git("", "")),
        extra_packages: Some(vec![]),
        memory: Some(Resources::default().memory),
        mounts: Some(vec![]),
        egress: Some(crate::settings::Egress::Internet),
        restart: Some(RestartPolicy::Always),
        autostart: Some(false),
        password: Some(PasswordChoice::Generated),
        keys: Some(BTreeMap::new()),
        open: Some(false),
        ..Answers::default()
    }
}
