//! The order of the questions. A question that does not apply is skipped in both directions; Esc goes to the one that was
//! asked before. At the end all choices are shown, and each can be changed.

mod review;

pub(super) use self::review::author;

use super::{
    Answers, Choice, PasswordChoice, Surroundings,
    keys::KeyKind,
    mode::{Mode, TerminalMode},
    prompt::{Escape, Leave, Prompt, Reply},
};
use crate::{
    error::Result,
    settings::{ImageSource, Settings},
};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
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
    /// One of them, by index in [`Surroundings::keys`].
    Key(usize),
    Open,
}

impl Step {
    /// Whether the question belongs to the one before it.
    fn follows(self) -> bool {
        use Step::{File, Key, OwnPassword, Place, Reference, Repeat};
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
    pub around: &'a Surroundings<'a>,
    pub answers: Answers,
    /// The questions that apply or may come to.
    order: Vec<Step>,
    /// Those that were answered, by index.
    trail: Vec<usize>,
    /// How many answers are on the screen, one line each.
    shown: usize,
}

/// Where to begin.
#[derive(Debug)]
pub enum Start {
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
    start: Start,
    around: &Surroundings<'_>,
) -> Result<Choice> {
    let (is_new, is_review) = (matches!(start, Start::New), matches!(start, Start::Review(_)));
    let answers = match start {
        Start::New => given.clone(),
        Start::Kept(answers) | Start::Review(answers) => given.clone().or(answers),
    };
    let mut wizard = Wizard { prompt, current, given, around, answers, order: order(around), trail: vec![], shown: 0 };
    // What is typed ahead is not echoed: it can be a secret.
    let quiet = if prompt.is_plain() { Mode::Line { hidden: true } } else { Mode::Keys };
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

fn order(around: &Surroundings<'_>) -> Vec<Step> {
    use Step::{
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

    fn applies(&self, step: Step) -> bool {
        let (given, source) = (self.given, self.source());
        let own_password = matches!(self.answers.password, Some(PasswordChoice::Own(_)));
        match step {
            Step::Engine => given.engine.is_none() && self.around.engines.len() > 1,
            Step::Port => given.port.is_none(),
            Step::Image => given.source.is_none(),
            Step::Reference => given.reference.is_none() && source == ImageSource::Pull,
            Step::File => given.image_file.is_none() && source == ImageSource::Load,
            Step::Languages => self.applies(Step::Packages) && !self.around.packages.is_empty(),
            Step::Packages => given.extra_packages.is_none() && source == ImageSource::Build,
            Step::Memory => given.memory.is_none(),
            Step::Folder => given.mounts.is_none(),
            Step::Place => self.applies(Step::Folder) && self.answers.folder.is_some() && !self.answers.place_is_said,
            Step::Git => given.git.is_none(),
            Step::Egress => given.egress.is_none(),
            Step::Restart => given.restart.is_none(),
            Step::Autostart => given.autostart.is_none() && self.around.can_autostart,
            Step::Password => given.password.is_none(),
            Step::OwnPassword | Step::Repeat => given.password.is_none() && own_password,
            Step::Keys(kind) => given.keys.is_none() && self.around.keys.iter().any(|key| key.0 == kind),
            Step::Key(index) => given.keys.is_none() && self.wants_key(index),
            Step::Open => given.open.is_none() && self.around.can_open,
        }
    }

    /// The first question that applies, from an index on.
    fn next(&self, from: usize) -> usize {
        let rest = self.order.iter().enumerate().skip(from);
        rest.into_iter().find(|(_, step)| self.applies(**step)).map_or(self.order.len(), |(index, _)| index)
    }

    fn ask(&mut self, step: Step) -> Reply<()> {
        match step {
            Step::Engine => self.engine(),
            Step::Port => self.port(),
            Step::Image => self.image(),
            Step::Reference => self.reference(),
            Step::File => self.image_file(),
            Step::Languages => self.languages(),
            Step::Packages => self.packages(),
            Step::Memory => self.memory(),
            Step::Folder => self.folder(),
            Step::Place => self.place(),
            Step::Git => self.git(),
            Step::Egress => self.egress(),
            Step::Restart => self.restart(),
            Step::Autostart => self.autostart(),
            Step::Password => self.password(),
            Step::OwnPassword => self.own_password(),
            Step::Repeat => self.repeat_password(),
            Step::Keys(kind) => self.keys(kind),
            Step::Key(index) => self.key(index),
            Step::Open => self.open(),
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
