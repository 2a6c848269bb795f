//! The order of the questions. A question that does not apply is skipped in both directions; Esc goes to the one that was
//! asked before. At the end all choices are shown, and each can be changed.

mod review;

pub(super) use self::review::author;

use super::{
    Answers, Choice, PasswordChoice, WizardInput,
    answers::KeyKind,
    mode::{InputMode, TerminalMode},
    prompt::{Escape, Leave, Prompt, Reply},
};
use crate::{
    error::Result,
    settings::{ImageSource, Settings},
};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WizardStep {
    Engine,
    Port,
    Image,
    Reference,
    File,
    Languages,
    Packages,
    Memory,
    Folder,
    Place,
    Git,
    Egress,
    Restart,
    Autostart,
    Password,
    OwnPassword,
    Repeat,
    /// Which keys of a kind to add.
    Keys(KeyKind),
    /// One of them, by index in [`WizardInput::keys`].
    Key(usize),
    Open,
}

impl WizardStep {
    /// Whether the question belongs to the one before it.
    fn follows(self) -> bool {
        use WizardStep::{File, Key, OwnPassword, Place, Reference, Repeat};
        matches!(self, Reference | File | Place | OwnPassword | Repeat | Key(_))
    }
}

/// What the questions read, and the answers that they write.
pub(super) struct Wizard<'a> {
    pub prompt: &'a Prompt,
    /// The settings as they are.
    pub current: &'a Settings,
    /// What is not asked.
    pub given: &'a Answers,
    pub around: &'a WizardInput<'a>,
    pub answers: Answers,
    /// The questions that apply or may come to.
    order: Vec<WizardStep>,
    /// Those that were answered, by index.
    trail: Vec<usize>,
    /// How many answers are on the screen, one line each.
    shown: usize,
}

/// Where to begin.
#[derive(Debug)]
pub enum FlowStart {
    /// With the first question.
    New,
    /// With the first question and the answers of an earlier run.
    Kept(Answers),
    /// With the review of what was answered in this run.
    Review(Answers),
}

/// Asks everything that has no answer yet. What is proposed: the answers that there are, else the settings as they are.
///
/// # Errors
/// [`crate::error::Error::Interrupted`] after Ctrl-C, [`crate::error::Error::Cancelled`] after a no.
pub fn ask(
    prompt: &Prompt,
    current: &Settings,
    given: &Answers,
    start: FlowStart,
    around: &WizardInput<'_>,
) -> Result<Choice> {
    let (is_new, is_review) = (matches!(start, FlowStart::New), matches!(start, FlowStart::Review(_)));
    let answers = match start {
        FlowStart::New => given.clone(),
        FlowStart::Kept(answers) | FlowStart::Review(answers) => given.clone().or(answers),
    };
    let mut wizard = Wizard { prompt, current, given, around, answers, order: order(around), trail: vec![], shown: 0 };
    // What is typed ahead is not echoed: it can be a secret.
    let quiet = if prompt.is_plain() { InputMode::Line { hidden: true } } else { InputMode::Keys };
    let _quiet = TerminalMode::enter(&prompt.term, quiet);
    if is_review {
        wizard.trail = (0..wizard.order.len()).filter(|at| wizard.applies(wizard.order[*at])).collect();
    } else {
        wizard.introduce(!is_new)?;
        let start = wizard.next(0);
        wizard.walk(start, true)?;
    }
    while !wizard.trail.is_empty() && !wizard.review()? {}
    prompt.on_escape(Escape::Quits);
    Ok(wizard.choice())
}

fn order(around: &WizardInput<'_>) -> Vec<WizardStep> {
    use WizardStep::{
        Autostart, Egress, Engine, File, Folder, Git, Image, Key, Keys, Languages, Memory, Open, OwnPassword, Packages,
        Password, Place, Port, Reference, Repeat, Restart,
    };
    let mut order = vec![Engine, Port, Image, Reference, File, Languages, Packages, Memory, Folder, Place, Git];
    order.extend([Egress, Restart, Autostart, Password, OwnPassword, Repeat]);
    for kind in [KeyKind::Model, KeyKind::Push] {
        order.push(Keys(kind));
        order.extend(around.keys.iter().enumerate().filter(|(_, key)| key.0 == kind).map(|(index, _)| Key(index)));
    }
    order.push(Open);
    order
}

impl Wizard<'_> {
    fn introduce(&self, is_resumed: bool) -> Result<()> {
        if is_resumed {
            self.prompt.say_wrapped("Your answers from last time are proposed again.", 0)?;
        }
        self.prompt.say_wrapped(
            match self.prompt.is_plain() {
                true => "Enter: accept what is in parentheses. <: back. Ctrl-C: quit without changes.",
                false => "Enter: accept the default, Esc: back, Ctrl-C: quit without changes.",
            },
            0,
        )?;
        if !self.prompt.is_plain() {
            self.prompt.say("")?;
        }
        Ok(())
    }

    /// The settings with the answers so far.
    pub fn settings(&self) -> Settings {
        self.answers.settings(self.current)
    }

    pub fn source(&self) -> ImageSource {
        self.answers.source.unwrap_or(self.current.image.source)
    }

    fn applies(&self, step: WizardStep) -> bool {
        let (given, source) = (self.given, self.source());
        let own_password = matches!(self.answers.password, Some(PasswordChoice::Own(_)));
        match step {
            WizardStep::Engine => given.engine.is_none() && self.around.engines.len() > 1,
            WizardStep::Port => given.port.is_none(),
            WizardStep::Image => given.source.is_none(),
            WizardStep::Reference => given.reference.is_none() && source == ImageSource::Pull,
            WizardStep::File => given.image_file.is_none() && source == ImageSource::Load,
            WizardStep::Languages => self.applies(WizardStep::Packages) && !self.around.packages.is_empty(),
            WizardStep::Packages => given.extra_packages.is_none() && source == ImageSource::Build,
            WizardStep::Memory => given.memory.is_none(),
            WizardStep::Folder => given.mounts.is_none(),
            WizardStep::Place => {
                self.applies(WizardStep::Folder) && self.answers.folder.is_some() && !self.answers.place_is_said
            }
            WizardStep::Git => given.git.is_none(),
            WizardStep::Egress => given.egress.is_none(),
            WizardStep::Restart => given.restart.is_none(),
            WizardStep::Autostart => given.autostart.is_none() && self.around.can_autostart,
            WizardStep::Password => given.password.is_none(),
            WizardStep::OwnPassword | WizardStep::Repeat => given.password.is_none() && own_password,
            WizardStep::Keys(kind) => given.keys.is_none() && self.around.keys.iter().any(|key| key.0 == kind),
            WizardStep::Key(index) => given.keys.is_none() && self.wants_key(index),
            WizardStep::Open => given.open.is_none() && self.around.can_open,
        }
    }

    /// The first question that applies, from an index on.
    fn next(&self, from: usize) -> usize {
        let rest = self.order.iter().enumerate().skip(from);
        rest.into_iter().find(|(_, step)| self.applies(**step)).map_or(self.order.len(), |(index, _)| index)
    }

    fn ask(&mut self, step: WizardStep) -> Reply<()> {
        match step {
            WizardStep::Engine => self.engine(),
            WizardStep::Port => self.port(),
            WizardStep::Image => self.image(),
            WizardStep::Reference => self.reference(),
            WizardStep::File => self.image_file(),
            WizardStep::Languages => self.languages(),
            WizardStep::Packages => self.packages(),
            WizardStep::Memory => self.memory(),
            WizardStep::Folder => self.folder(),
            WizardStep::Place => self.place(),
            WizardStep::Git => self.git(),
            WizardStep::Egress => self.egress(),
            WizardStep::Restart => self.restart(),
            WizardStep::Autostart => self.autostart(),
            WizardStep::Password => self.password(),
            WizardStep::OwnPassword => self.own_password(),
            WizardStep::Repeat => self.repeat_password(),
            WizardStep::Keys(kind) => self.keys(kind),
            WizardStep::Key(index) => self.key(index),
            WizardStep::Open => self.open(),
        }
    }

    /// Asks from a question on: all that are left, or (`whole` unset) only it and those that belong to it. False: the
    /// user went back to before the first.
    fn walk(&mut self, start: usize, whole: bool) -> Result<bool> {
        let begun = self.trail.len();
        let mut at = start;
        while let Some(step) = self.order.get(at).copied() {
            if !whole && at != start && !step.follows() {
                break;
            }
            let is_first = whole && self.trail.is_empty();
            self.prompt.on_escape(if is_first { Escape::Ignored } else { Escape::Back });
            match self.ask(step) {
                Ok(()) => {
                    (self.around.keep)(&self.answers);
                    self.trail.push(at);
                    self.shown += 1;
                    at = self.next(at + 1);
                }
                Err(Leave::Failed(error)) => return Err(error),
                Err(Leave::Back) if !whole && self.trail.len() == begun => return Ok(false),
                Err(Leave::Back) => at = self.step_back()?.unwrap_or(at),
            }
        }
        Ok(true)
    }

    /// The question that was answered last; its answer is gone from the screen.
    fn step_back(&mut self) -> Result<Option<usize>> {
        let before = self.trail.pop();
        if before.is_some() && self.shown > 0 {
            self.prompt.forget(1)?;
            self.shown -= 1;
        }
        Ok(before)
    }

    fn choice(self) -> Choice {
        let settings = self.settings();
        let has_password = self.around.has_password;
        let answers = self.answers;
        let all = answers.clone();
        Choice {
            answers: all,
            engine: answers.engine.unwrap_or_default(),
            image_file: answers
                .image_file
                .filter(|file| settings.image.source == ImageSource::Load && !file.as_os_str().is_empty()),
            settings,
            password: answers.password.unwrap_or(match has_password {
                true => PasswordChoice::Keep,
                false => PasswordChoice::Generated,
            }),
            keys: answers.keys.unwrap_or_default(),
            open: answers.open.unwrap_or_default(),
        }
    }
}
