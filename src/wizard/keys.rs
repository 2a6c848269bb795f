//! The questions for keys of model providers and for tokens to push with: which to add, then each. No value is ever shown.

use super::{
    answers::KeyKind,
    flow::Wizard,
    prompt::{Line, Reply},
};
use crate::secrets::{Secret, check_key};

/// Where a key's value is already.
enum KeyPresence {
    Entered,
    Set,
    InEnvironment(Secret),
    Nowhere,
}

impl Wizard<'_> {
    /// Which keys to add or to replace.
    pub(super) fn keys(&mut self, kind: KeyKind) -> Reply<()> {
        let keys: Vec<_> = self.around.keys.iter().filter(|key| key.0 == kind).collect();
        let items: Vec<_> = keys.iter().map(|(_, title, name)| (title.clone(), self.state_of(name))).collect();
        let chosen = self.chosen(kind).clone().unwrap_or_default();
        let marks: Vec<bool> = keys.iter().map(|key| chosen.contains(&key.2)).collect();
        let (question, help) = match kind {
            KeyKind::Model => (
                "Model keys",
                "Which model providers do you have an API key for? Without a key, opencode offers only the free models \
                 of OpenCode Zen.",
            ),
            KeyKind::Push => (
                "Push tokens",
                "Push to GitHub or GitLab? The agent then pushes over HTTPS with a token of yours. Select none to skip.",
            ),
        };
        let none = self.keys_value(kind, false);
        let chosen = self.prompt.many(question, help, &items, &marks, &none)?;
        let names: Vec<String> = chosen.iter().filter_map(|index| keys.get(*index)).map(|key| key.2.clone()).collect();
        if let Some(entered) = &mut self.answers.keys {
            entered.retain(|name, _| names.contains(name) || !keys.iter().any(|key| key.2 == *name));
        }
        match kind {
            KeyKind::Model => self.answers.providers = Some(names),
            KeyKind::Push => self.answers.tokens = Some(names),
        }
        Ok(())
    }

    /// One key: typed, or what is known.
    pub(super) fn key(&mut self, index: usize) -> Reply<()> {
        let Some((_, _, name)) = self.around.keys.get(index) else { return Ok(()) };
        let known = self.known(name);
        let default = match &known {
            KeyPresence::Entered => Some("as entered"),
            KeyPresence::Set => Some("keep the current one"),
            KeyPresence::InEnvironment(_) => Some("from your environment"),
            KeyPresence::Nowhere => None,
        };
        let help = match default {
            Some(_) => "Press Enter to use that, or enter another. Your input is hidden.",
            None => "The value is stored in a file that only you can read. Your input is hidden. Leave empty for none.",
        };
        let line = Line { question: name, help, default, hidden: true, ..Line::default() };
        let typed = self.prompt.line(&line, |text| match text.trim() {
            "" => Ok(None),
            _ => check_key(name, text).map(Some),
        })?;
        let found = match known {
            KeyPresence::InEnvironment(key) => Some(key),
            _ => None,
        };
        if let Some(key) = typed.or(found) {
            self.answers.keys.get_or_insert_default().insert(name.clone(), key);
        }
        Ok(())
    }

    fn chosen(&self, kind: KeyKind) -> &Option<Vec<String>> {
        match kind {
            KeyKind::Model => &self.answers.providers,
            KeyKind::Push => &self.answers.tokens,
        }
    }

    /// Whether the user chose to add this one.
    pub(super) fn wants_key(&self, index: usize) -> bool {
        let Some((kind, _, name)) = self.around.keys.get(index) else { return false };
        self.chosen(*kind).as_ref().is_some_and(|names| names.contains(name))
    }

    fn is_entered(&self, name: &str) -> bool {
        self.answers.keys.as_ref().is_some_and(|keys| keys.contains_key(name))
    }

    fn known(&self, name: &str) -> KeyPresence {
        let entered = self.answers.keys.as_ref().and_then(|keys| keys.get(name));
        if entered.is_some_and(|key| self.around.keys_at_hand.get(name) != Some(key)) {
            KeyPresence::Entered
        } else if self.around.secrets.iter().any(|set| set == name) {
            KeyPresence::Set
        } else if let Some(key) = self.around.keys_at_hand.get(name) {
            KeyPresence::InEnvironment(key.clone())
        } else {
            KeyPresence::Nowhere
        }
    }

    fn state_of(&self, name: &str) -> String {
        match self.known(name) {
            KeyPresence::Entered => format!("{name}, entered now"),
            KeyPresence::Set => format!("{name}, already set"),
            KeyPresence::InEnvironment(_) => format!("{name} (in your environment)"),
            KeyPresence::Nowhere => name.to_owned(),
        }
    }

    /// What there will be, by name; `entered`: with what was entered now.
    pub(super) fn keys_value(&self, kind: KeyKind, entered: bool) -> String {
        let names = self.around.keys.iter().filter(|key| key.0 == kind).map(|key| &key.2);
        let values: Vec<String> = names
            .filter_map(|name| match self.known(name) {
                _ if entered && self.is_entered(name) => Some(name.clone()),
                KeyPresence::Set => Some(format!("keep {name}")),
                _ => None,
            })
            .collect();
        if values.is_empty() { "none".to_owned() } else { values.join(", ") }
    }
}
