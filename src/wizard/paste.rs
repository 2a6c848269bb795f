//! Keys that are typed, told apart from text that is pasted: that goes into the line that is asked for, whole, and answers
//! no other question.

use std::io;

use console::Key;

use super::{mode::CTRL_C, prompt::Prompt};

/// What the user did at the keyboard.
pub(super) enum Typed {
    Key(Key),
    /// As one line.
    Pasted(String),
}

/// What `console` makes of the marks around pasted text, `ESC [200~` and `ESC [201~`: this, and two more keys.
const MARK: [char; 3] = ['[', '2', '0'];

impl Prompt {
    /// The next key, or the next text that is pasted.
    pub(super) fn typed(&self) -> io::Result<Typed> {
        let key = self.term.read_key_raw()?;
        if self.mark(&key)? != Some('0') {
            return Ok(Typed::Key(key));
        }
        let mut text = String::new();
        loop {
            let key = self.term.read_key_raw()?;
            if self.mark(&key)?.is_some() {
                return Ok(Typed::Pasted(text.trim_end_matches('\n').replace('\n', " ")));
            }
            match key {
                Key::Enter => text.push('\n'),
                Key::Tab => text.push(' '),
                // A terminal that forgot its second mark.
                Key::CtrlC => return Ok(Typed::Key(key)),
                Key::Char(c) if c == char::from(CTRL_C) => return Ok(Typed::Key(key)),
                Key::Char(c) if !c.is_control() => text.push(c),
                _ => {}
            }
        }
    }

    /// Which of the marks begins with this key: `0` for the first, `1` for the second.
    fn mark(&self, key: &Key) -> io::Result<Option<char>> {
        if !matches!(key, Key::UnknownEscSeq(sequence) if *sequence == MARK) {
            return Ok(None);
        }
        let which = self.term.read_key_raw()?;
        self.term.read_key_raw()?;
        Ok(if let Key::Char(which) = which { Some(which) } else { None })
    }
}
