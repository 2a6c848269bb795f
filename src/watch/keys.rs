//! What a terminal sends → keys. Pure.

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPress {
    /// A letter, as a small one.
    Letter(char),
    /// Esc.
    Escape,
    /// Ctrl-C.
    Interrupt,
}

/// The keys of what was read at once. Arrows, function keys and pasted text beyond letters are nothing.
pub fn keys(bytes: &[u8]) -> Vec<KeyPress> {
    let mut keys = vec![];
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            0x03 => keys.push(KeyPress::Interrupt),
            0x1b => match after {
                [] | [0x1b, ..] => keys.push(KeyPress::Escape),
                [b'[' | b'O', sequence @ ..] => {
                    let end = sequence.iter().position(|b| (0x40..=0x7e).contains(b));
                    rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
                }
                // Alt and a key.
                [_, after @ ..] => rest = after,
            },
            letter if letter.is_ascii_alphabetic() => {
                keys.push(KeyPress::Letter(char::from(letter.to_ascii_lowercase())))
            }
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_esc_and_ctrl_c_and_nothing_else() {
        assert_eq!(keys(b"rS\x03"), [KeyPress::Letter('r'), KeyPress::Letter('s'), KeyPress::Interrupt]);
        assert_eq!(keys(b"\x1b"), [KeyPress::Escape]);
        assert_eq!(keys(b"\x1b\x1b"), [KeyPress::Escape, KeyPress::Escape]);
        assert_eq!(keys(b"\x1b[A\x1bOP\x1b[15;2~\x1bs\x1b[200~12 "), []);
        assert_eq!(keys("é日\x1b[".as_bytes()), []);
    }
}
