//! The arguments of `docklet setup`: an answer to each of its questions.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::PageTimeout;
use crate::settings::{Allow, Bind, Cpus, Egress, GitText, Memory, Mount, PackageName, Port, RestartPolicy, Variable};

/// Arguments of `docklet setup`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet setup --yes --port 3001 --extra-package python3")]
pub struct SetupArgs {
    /// Show what would be done, without doing it
    #[arg(long, env = "DOCKLET_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Port of the page on this machine [default: 3000]
    #[arg(long, env = "DOCKLET_PORT")]
    pub port: Option<Port>,
    /// Address to publish the page on; any other than 127.0.0.1 gives other machines access
    #[arg(long, env = "DOCKLET_BIND", value_name = "ADDRESS")]
    pub bind: Option<Bind>,
    /// Pull this image
    #[arg(long, env = "DOCKLET_IMAGE", value_name = "REF", conflicts_with_all = ["build", "image_file"])]
    pub image: Option<String>,
    /// Build the image on this machine (default)
    #[arg(long, env = "DOCKLET_BUILD", value_parser = BoolishValueParser::new(), conflicts_with = "image_file")]
    pub build: bool,
    /// Load the image from an archive made with `docker save`, without a network
    #[arg(long, env = "DOCKLET_IMAGE_FILE", value_name = "TAR")]
    pub image_file: Option<PathBuf>,
    /// Image to build on [default: debian:trixie-slim]
    #[arg(long, env = "DOCKLET_BASE_IMAGE", value_name = "REF", conflicts_with = "image")]
    pub base_image: Option<String>,
    /// Debian packages to install in the image, in place of those in the settings
    ///
    /// In DOCKLET_EXTRA_PACKAGE, commas separate them.
    #[arg(
        long = "extra-package", env = "DOCKLET_EXTRA_PACKAGE", value_name = "PKG", num_args = 1.., value_delimiter = ',',
        conflicts_with_all = ["image", "image_file"]
    )]
    pub extra_packages: Option<Vec<PackageName>>,
    /// Memory limit [default: 4GiB, or three quarters of the engine's memory]
    #[arg(long, env = "DOCKLET_MEMORY", value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Number of CPUs, 0 for all [default: 0]
    #[arg(long, env = "DOCKLET_CPUS", value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Where the agent may connect to [default: internet]
    #[arg(long, env = "DOCKLET_EGRESS", value_enum, value_name = "MODE")]
    pub egress: Option<Egress>,
    /// Additional host, address or range that the agent may connect to, in place of those in the settings; `host` means
    /// this machine, as in host:11434
    ///
    /// In DOCKLET_ALLOW, commas separate them.
    #[arg(long = "allow", env = "DOCKLET_ALLOW", value_name = "HOST[:PORT]", num_args = 1.., value_delimiter = ',')]
    pub allow: Option<Vec<Allow>>,
    /// Variable of the container, not for secrets; other variables stay (in DOCKLET_ENV: one a line)
    #[arg(long = "env", env = "DOCKLET_ENV", value_name = "NAME=VALUE", num_args = 1.., value_delimiter = '\n')]
    pub env: Vec<Variable>,
    /// Name that the agent commits with [default at the first setup: your git's]
    #[arg(long, env = "DOCKLET_GIT_NAME", value_name = "NAME")]
    pub git_name: Option<GitText>,
    /// E-mail address that the agent commits with [default at the first setup: your git's]
    #[arg(long, env = "DOCKLET_GIT_EMAIL", value_name = "ADDRESS")]
    pub git_email: Option<GitText>,
    /// Let ssh inside use the keys of your ssh agent, without reading them (SSH_AUTH_SOCK; needs an engine on this machine)
    #[arg(long, env = "DOCKLET_SSH_AGENT", value_parser = BoolishValueParser::new(), overrides_with = "no_ssh_agent", conflicts_with = "no_ssh_agent")]
    pub ssh_agent: bool,
    /// Don't let ssh inside use your ssh agent
    #[arg(long, env = "DOCKLET_NO_SSH_AGENT", value_parser = BoolishValueParser::new())]
    pub no_ssh_agent: bool,
    /// When docklet restarts opencode [default: always]
    #[arg(long, env = "DOCKLET_RESTART", value_enum, value_name = "WHEN")]
    pub restart: Option<RestartPolicy>,
    /// Start opencode when you log in
    #[arg(long, env = "DOCKLET_AUTOSTART", value_parser = BoolishValueParser::new(), overrides_with = "no_autostart", conflicts_with = "no_autostart")]
    pub autostart: bool,
    /// Don't start opencode when you log in
    #[arg(long, env = "DOCKLET_NO_AUTOSTART", value_parser = BoolishValueParser::new())]
    pub no_autostart: bool,
    /// Folder or file of this machine to mount, such as ~/code/app:/workspace/app, in place of those in the settings; append
    /// :ro for read-only
    ///
    /// In DOCKLET_MOUNT, commas separate them.
    #[arg(long = "mount", env = "DOCKLET_MOUNT", value_name = "HOST:CONTAINER[:ro]", value_delimiter = ',')]
    pub mounts: Option<Vec<Mount>>,
    /// File with a secret, such as ANTHROPIC_API_KEY=key.txt
    ///
    /// In DOCKLET_SECRET_FILE, commas separate them.
    #[arg(long = "secret-file", env = "DOCKLET_SECRET_FILE", value_name = "NAME=PATH", value_delimiter = ',')]
    pub secret_files: Vec<String>,
    /// File with a secret on each line, such as ANTHROPIC_API_KEY=…, or - for standard input
    #[arg(long, env = "DOCKLET_ENV_FILE", value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// File with the page's password, or - for standard input; by default, one is generated
    #[arg(long, env = "DOCKLET_PASSWORD_FILE", value_name = "PATH")]
    pub password_file: Option<PathBuf>,
    /// PEM file with additional certificate authorities, such as a company's
    #[arg(long, env = "DOCKLET_CA_FILE", value_name = "PATH")]
    pub ca_file: Option<PathBuf>,
    /// Create everything, but don't start it
    #[arg(long, env = "DOCKLET_NO_START", value_parser = BoolishValueParser::new())]
    pub no_start: bool,
    /// Open the page in the browser at the end
    #[arg(long, env = "DOCKLET_OPEN", value_parser = BoolishValueParser::new())]
    pub open: bool,
    #[command(flatten)]
    pub page: PageTimeout,
    /// Install and start a container engine if there is none
    #[arg(long, env = "DOCKLET_INSTALL_ENGINE", value_parser = BoolishValueParser::new())]
    pub install_engine: bool,
}
