//! A list of which one entry, or any, is chosen with the arrow keys; and a yes or no with one key.

use std::io;

use console::Key;

use super::{
    mode::CTRL_C,
    paste::Typed,
    prompt::{Escape, Prompt, PromptInput},
};

/// Fewest entries that are shown at a time.
const LEAST_SHOWN: usize = 3;

/// The entries and what is chosen.
#[derive(Clone)]
pub(super) struct List {
    /// One line each.
    pub rows: Vec<String>,
    /// Where the cursor is.
    pub at: usize,
    /// Which entries are chosen, where any can be.
    pub marks: Option<Vec<bool>>,
}

impl List {
    /// The chosen entries.
    pub fn marked(&self) -> impl Iterator<Item = usize> {
        self.marks.iter().flatten().enumerate().filter(|(_, mark)| **mark).map(|(index, _)| index)
    }

    fn toggle(&mut self) {
        if let Some(mark) = self.marks.as_mut().and_then(|marks| marks.get_mut(self.at)) {
            *mark = !*mark;
        }
    }

    /// One up or down, around the ends.
    fn step(&mut self, forward: bool) {
        let count = self.rows.len().max(1);
        self.at = if forward { (self.at + 1) % count } else { (self.at + count - 1) % count };
    }
}

/// What a key that every question knows means.
pub(super) fn common<T>(prompt: &Prompt, key: &Key) -> Option<PromptInput<T>> {
    match key {
        Key::Escape | Key::BackTab if prompt.escape() != Escape::Ignored => Some(PromptInput::Escape),
        Key::CtrlC | Key::Char('\u{4}') => Some(PromptInput::Quit),
        Key::Char(c) if *c == char::from(CTRL_C) => Some(PromptInput::Quit),
        _ => None,
    }
}

impl Prompt {
    /// Lets the user choose; the list is gone from the screen afterwards, unless the user quits.
    pub(super) fn pick(&self, head: &str, above: usize, list: &mut List) -> io::Result<PromptInput<List>> {
        self.term.hide_cursor()?;
        let given = self.pick_with_keys(head, above, list);
        self.term.show_cursor()?;
        Ok(match given? {
            PromptInput::Answer(()) => PromptInput::Answer(list.clone()),
            PromptInput::Escape => PromptInput::Escape,
            PromptInput::Quit => PromptInput::Quit,
            PromptInput::Resized => PromptInput::Resized,
        })
    }

    fn pick_with_keys(&self, head: &str, above: usize, list: &mut List) -> io::Result<PromptInput<()>> {
        let size = self.term.size();
        loop {
            if self.term.size() != size {
                return Ok(PromptInput::Resized);
            }
            let below = self.show_list(head, above, list)?;
            // Text that is pasted chooses nothing.
            let Typed::Key(key) = self.typed()? else { continue };
            let given = match key {
                Key::Enter => Some(PromptInput::Answer(())),
                _ => common(self, &key),
            };
            match given {
                Some(PromptInput::Quit) => {
                    self.term.move_cursor_down(below)?;
                    return Ok(PromptInput::Quit);
                }
                Some(given) => {
                    self.term.write_str("\r\u{1b}[J")?;
                    return Ok(given);
                }
                None => {}
            }
            match key {
                Key::ArrowDown | Key::Tab => list.step(true),
                Key::ArrowUp => list.step(false),
                Key::Home => list.at = 0,
                Key::End => list.at = list.rows.len().saturating_sub(1),
                Key::Char(' ') => list.toggle(),
                _ => {}
            }
        }
    }

    /// Draws as many entries as fit, around the cursor; how many there are. The cursor is in the first line then.
    fn show_list(&self, head: &str, above: usize, list: &List) -> io::Result<usize> {
        let room = usize::from(self.term.size().0).saturating_sub(above + 2).max(LEAST_SHOWN);
        let from = list.at.saturating_sub(room / 2).min(list.rows.len().saturating_sub(room));
        let mut screen = format!("\r\u{1b}[J{}", head.trim_end());
        let shown = list.rows.iter().enumerate().skip(from).take(room);
        let count = shown.len();
        for (index, row) in shown {
            let mark = list.marks.as_ref().and_then(|marks| marks.get(index));
            screen.push('\n');
            screen.push_str(&self.theme.entry(row, mark.copied(), index == list.at));
        }
        screen.push('\r');
        self.term.write_str(&screen)?;
        self.term.move_cursor_up(count)?;
        self.term.flush()?;
        Ok(count)
    }

    /// Yes or no with one key; Enter is the default.
    pub(super) fn decide(&self, head: &str, default: bool) -> io::Result<PromptInput<bool>> {
        let size = self.term.size();
        self.term.write_str(head)?;
        let given = loop {
            let Typed::Key(key) = self.typed()? else { continue };
            match key {
                Key::Enter => break PromptInput::Answer(default),
                Key::Char('y' | 'Y') => break PromptInput::Answer(true),
                Key::Char('n' | 'N') => break PromptInput::Answer(false),
                _ => {}
            }
            if let Some(given) = common(self, &key) {
                break given;
            }
            if self.term.size() != size {
                return Ok(PromptInput::Resized);
            }
        };
        if !matches!(given, PromptInput::Quit) {
            self.term.write_str("\r\u{1b}[J")?;
        }
        Ok(given)
    }
}
