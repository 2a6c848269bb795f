//! Export: the container that the settings want, as files for another engine. Changes nothing here, and asks the engine only
//! whom an image that was built here runs as.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{Instance, backup, backup_contents};
use crate::{
    appliance::{Ids, hex},
    data::encrypted_file::{self, Unlock},
    desired::{Desired, Given, ImagePlan},
    engine::reference::Reference,
    error::{Error, Result},
    export::{
        self, Member, SecretFile, compose,
        kubernetes::{self, BackupFrom},
        quadlet,
    },
    instance_name::InstanceName,
    paths,
    present::data as text,
    report::{ExportReport, ExportedFile},
    sandbox::{
        ids,
        network_rules::{self, Rules},
        secret_files::SecretFiles,
    },
    secrets,
    settings::{Git, ImageSource, Port, Settings},
};

/// What to export.
#[derive(Debug, Clone)]
pub struct Export {
    /// For which engine.
    pub target: ExportTarget,
    /// The image that the engine gets; `None`: the one of the settings.
    pub image: Option<String>,
    /// One instance for each of these names, with the same settings; empty: this instance.
    pub instances: Vec<InstanceName>,
    /// Whether secrets are written.
    pub with_secrets: bool,
    /// The folder to write to; `None`: the report has the text.
    pub folder: Option<PathBuf>,
}

/// An engine that takes over.
#[derive(Debug, Clone)]
pub enum ExportTarget {
    /// Kubernetes.
    Kubernetes {
        /// The namespace; `None`: the one that `kubectl` is set to.
        namespace: Option<String>,
        /// Size of the claims for sessions and for projects, such as `20Gi`.
        storage: String,
        /// The storage class; `None`: the cluster's default.
        storage_class: Option<String>,
        /// The host name of the page and the Secret with its certificate.
        ingress: Option<(String, String)>,
        /// The backup whose data the instance begins with, and how it comes into the cluster.
        backup: Option<(PathBuf, BackupFrom)>,
    },
    /// Docker Compose.
    Compose,
    /// Podman's Quadlet.
    Quadlet,
}

impl ExportTarget {
    fn name(&self) -> &'static str {
        match self {
            ExportTarget::Kubernetes { .. } => "kubernetes",
            ExportTarget::Compose => "compose",
            ExportTarget::Quadlet => "quadlet",
        }
    }
}

impl Instance {
    /// The files with which another engine runs the same container. Existing files with another text are overwritten only
    /// after a yes.
    ///
    /// # Errors
    /// [`Error::NotSetUp`] when there are neither settings nor an image; what reading the settings and the secrets and writing
    /// the files find.
    pub async fn export(&self, request: &Export) -> Result<ExportReport> {
        check(request)?;
        let settings = self.settings_to_export(request).await?;
        let ids = self.ids_of_image(&settings).await;
        let names = if request.instances.is_empty() { vec![self.name.clone()] } else { request.instances.clone() };
        let members = names.iter().enumerate().map(|(place, name)| self.member(request, &settings, ids, name, place));
        let members: Vec<Member> = members.collect::<Result<_>>()?;
        let mut made = match &request.target {
            ExportTarget::Kubernetes { namespace, storage, storage_class, ingress, backup } => {
                let options = kubernetes::Options {
                    namespace: namespace.clone(),
                    storage: storage.parse().map_err(Error::usage)?,
                    storage_class: storage_class.clone(),
                    ingress: ingress.clone(),
                    with_secrets: request.with_secrets,
                    backup: match backup {
                        Some((file, from)) => Some(self.backup_to_export(file, from).await?),
                        None => None,
                    },
                };
                kubernetes::export(&members, &options)?
            }
            ExportTarget::Compose => compose::export(&members, request.with_secrets)?,
            ExportTarget::Quadlet => quadlet::export(&members)?,
        };
        made.notes.extend(left_here(request, &settings, &members));
        if let (ExportTarget::Compose, Some(folder)) = (&request.target, &request.folder) {
            made.commands.insert(0, format!("cd {}", shell_words::quote(&folder.display().to_string())));
        }
        made.notes.iter().for_each(|text| self.warn(text.clone()));
        for command in &made.commands {
            self.note(format!("run first: {command}"));
        }
        for command in &made.then {
            self.note(format!("run then: {command}"));
        }
        let files = match &request.folder {
            Some(folder) => self.write(folder, &made.files)?,
            None => made.files.into_iter().map(in_report).collect(),
        };
        Ok(ExportReport {
            target: request.target.name().to_owned(),
            instances: names.iter().map(ToString::to_string).collect(),
            folder: request.folder.as_ref().map(|folder| folder.display().to_string()),
            changed: files.iter().any(|file| file.written),
            files,
            notes: made.notes,
            commands: made.commands,
            commands_after: made.then,
        })
    }

    /// The settings; the defaults where nothing is set up here and the image is from elsewhere.
    async fn settings_to_export(&self, request: &Export) -> Result<Settings> {
        match Settings::load(&self.files.settings())? {
            Some(settings) => Ok(settings),
            None if request.image.is_some() => {
                self.note(format!("instance {} is not set up here; the default settings are exported", self.name));
                Ok(Settings::default())
            }
            None => self.settings().await,
        }
    }

    /// Whom the image runs as. One that docklet built for an engine of this machine runs as the user here.
    async fn ids_of_image(&self, settings: &Settings) -> Ids {
        let default = self.appliance.container.ids();
        if settings.image.source != ImageSource::Build {
            return default;
        }
        match self.engine().await {
            Ok(engine) => ids::of(&engine, settings, default),
            Err(_) => default,
        }
    }

    fn member(
        &self,
        request: &Export,
        settings: &Settings,
        ids: Ids,
        name: &InstanceName,
        place: usize,
    ) -> Result<Member> {
        let mut settings = Settings { mounts: vec![], ..settings.clone() };
        settings.git.ssh_agent = false;
        if !request.instances.is_empty() {
            // Each on a port of its own, and no commit of one developer in the name of another.
            let port = u16::try_from(place).ok().and_then(|place| settings.network.port.0.checked_add(place));
            settings.network.port =
                port.map(Port).ok_or_else(|| Error::usage("there are more instances than ports"))?;
            settings.git = Git::default();
        }
        let given = Given { memory: 0, ids, secrets: String::new(), remote: false };
        let desired = Desired::new(&self.appliance, &settings, name, &self.paths.instance(name), &given, None);
        let built = request.image.is_none() && matches!(desired.image, ImagePlan::Build { .. });
        let mut container = desired.container;
        if let Some(image) = &request.image {
            let _: Reference = image.parse()?;
            container.image.clone_from(image);
        }
        let proxies = network_rules::proxies(&self.files)?;
        let proxies = || proxies.iter().map(String::as_str);
        let volume = |role: &String| (role.clone(), name.volume(&self.appliance.name, role));
        Ok(Member {
            container,
            volumes: self.appliance.volumes.iter().map(|volume| &volume.role).map(volume).collect(),
            appliance: self.appliance.name.clone(),
            home: self.appliance.container.home.clone(),
            version: built.then(|| self.appliance.version.clone()),
            restart: settings.restart.policy,
            ready_timeout: u32::try_from(self.appliance.health.ready_timeout().as_secs()).unwrap_or(u32::MAX),
            allow: network_rules::allowed(&settings, proxies()).collect(),
            network_rules: Rules::new(&settings, proxies()).command(&self.appliance, &[]),
            unpack_backup: self.appliance.container.unpack_backup.clone(),
            secrets: self.secret_files(&settings, request)?,
        })
    }

    /// Reads all of a backup: the cluster gets one with the same SHA-256, or none.
    async fn backup_to_export(&self, file: &Path, from: &BackupFrom) -> Result<kubernetes::Backup> {
        let shown = file.display().to_string();
        if encrypted_file::is_encrypted(file) {
            return Err(Error::Usage {
                message: format!("{shown} is encrypted, and no key is in the cluster"),
                hint: Some(format!("decrypt it: {}", text::decrypt_command(&shown))),
            });
        }
        let contents = backup::check(self, file, &Unlock::Identities(vec![])).await?;
        backup_contents::belongs_here(self, file, &contents.header)?;
        let file = file.to_owned();
        let hash = move || {
            let mut digest = Sha256::new();
            io::copy(&mut fs_err::File::open(&file)?, &mut digest).map(|_| hex(&digest.finalize()))
        };
        let sha256 = tokio::task::spawn_blocking(hash).await.map_err(|e| Error::bug(format!("hashing: {e}")))?;
        let sha256 = sha256.map_err(|e| Error::file("read", Path::new(&shown), &e))?;
        Ok(kubernetes::Backup { path: shown, sha256, from: from.clone() })
    }

    /// The secrets of this instance. Several instances have its keys in common, but each a password of its own.
    fn secret_files(&self, settings: &Settings, request: &Export) -> Result<BTreeMap<String, SecretFile>> {
        let files = SecretFiles::read(&self.appliance, settings, &self.files, &BTreeMap::new())?;
        let bundle = Some(self.files.ca_bundle()).filter(|copy| copy.exists());
        let bundle = bundle.unwrap_or_else(|| PathBuf::from(&settings.trust.ca_file));
        let path = |name: &String| {
            if *name == self.appliance.container.ca_bundle { bundle.clone() } else { self.files.secrets().join(name) }
        };
        let known = files.contents().iter();
        let known = known
            .map(|(name, content)| (name.clone(), SecretFile { path: Some(path(name)), content: content.clone() }));
        let mut all: BTreeMap<String, SecretFile> = known.collect();
        let password = &self.appliance.login.password_secret;
        if !request.instances.is_empty() || !all.contains_key(password) {
            let content = secrets::generate_password()?.reveal().as_bytes().to_vec();
            all.insert(password.clone(), SecretFile { path: None, content });
        }
        Ok(all)
    }

    fn write(&self, folder: &Path, files: &[export::File]) -> Result<Vec<ExportedFile>> {
        let is_same =
            |file: &export::File| Ok(paths::read_text(&folder.join(&file.name))?.as_ref() == Some(&file.text));
        let same: Vec<bool> = files.iter().map(is_same).collect::<Result<_>>()?;
        let existing = files.iter().zip(&same).filter(|(file, same)| !**same && folder.join(&file.name).exists());
        let existing: Vec<&str> = existing.map(|(file, _)| file.name.as_str()).collect();
        if !existing.is_empty() {
            self.confirm(&format!("overwrite {} in {}?", existing.join(", "), folder.display()))?;
        }
        for (file, _) in files.iter().zip(&same).filter(|(_, same)| !**same) {
            let path = folder.join(&file.name);
            let above = path.parent().unwrap_or(folder);
            fs_err::create_dir_all(above).map_err(|e| Error::file("create the folder", above, &e))?;
            paths::write_file(&path, file.text.as_bytes(), if file.private { 0o600 } else { 0o644 })?;
        }
        let done =
            |(file, same): (&export::File, bool)| ExportedFile { name: file.name.clone(), text: None, written: !same };
        Ok(files.iter().zip(same).map(done).collect())
    }
}

fn in_report(file: export::File) -> ExportedFile {
    ExportedFile { name: file.name, text: Some(file.text), written: false }
}

/// Refuses what no file can hold.
fn check(request: &Export) -> Result<()> {
    let refuse =
        |message: &str, hint: &str| Err(Error::Usage { message: message.to_owned(), hint: Some(hint.to_owned()) });
    let twice = request.instances.iter().enumerate().find(|(at, name)| request.instances[..*at].contains(name));
    if let Some((_, name)) = twice {
        return Err(Error::usage(format!("--instances names {name} twice")));
    }
    match request.target {
        ExportTarget::Kubernetes { backup: Some(_), .. } if request.instances.len() > 1 => {
            refuse("a backup is the data of one instance", "export each instance alone, with a backup of its own")
        }
        ExportTarget::Compose if request.with_secrets && request.folder.is_none() => {
            refuse("Compose reads secrets from files of their own", "add --output DIR")
        }
        ExportTarget::Quadlet if request.with_secrets => {
            refuse("unit files can't hold secrets", "leave out --with-secrets, and run the commands that it prints")
        }
        _ => Ok(()),
    }
}

/// What of the settings stays on this machine.
fn left_here(request: &Export, settings: &Settings, members: &[Member]) -> Vec<String> {
    let mut notes = vec![];
    if let (None, ImageSource::Build | ImageSource::Load, Some(member)) =
        (&request.image, settings.image.source, members.first())
    {
        let image = &member.container.image;
        notes.push(match request.target {
            ExportTarget::Quadlet => {
                format!("image {image} is only here; if your engine is Docker: docker save {image} | podman load")
            }
            ExportTarget::Compose | ExportTarget::Kubernetes { .. } => format!(
                "image {image} is only here; for another engine, push it (docker tag {image} REGISTRY/NAME:TAG, docker push \
                 REGISTRY/NAME:TAG) and export again with --image REGISTRY/NAME:TAG"
            ),
        });
    }
    if !matches!(request.target, ExportTarget::Kubernetes { .. }) {
        notes.extend(super::exposure(settings));
    }
    for mount in &settings.mounts {
        notes.push(format!("the mount {} is a folder of this machine and is left out", mount.container));
    }
    if settings.git.ssh_agent {
        notes.push("git.ssh_agent is this machine's ssh agent and is left out".to_owned());
    }
    let has_identity = settings.git.name != Git::default().name || settings.git.email != Git::default().email;
    if !request.instances.is_empty() && has_identity {
        notes.push("git.name and git.email are yours and are left out: each developer sets their own".to_owned());
    }
    notes
}
