//! What an operation may have to ask whoever called it.

use crate::{
    error::{Error, Result},
    report::UninstallReport,
    secrets::Secret,
};

/// Answers the questions of operations. The command line asks at the terminal; a program that embeds docklet uses
/// [`Unattended`], or answers itself.
pub trait Questions: Send + Sync {
    /// Whether everything that can be answered with yes is.
    fn says_yes(&self) -> bool;

    /// A question that must be answered with yes for the operation to go on.
    ///
    /// # Errors
    /// [`Error::ConfirmationRequired`] when nobody answers, [`Error::Cancelled`] when the answer is no.
    fn confirm(&self, question: &str) -> Result<()>;

    /// A proposal; `otherwise` says how things are without it.
    ///
    /// # Errors
    /// When asking fails, or is interrupted.
    fn suggest(&self, question: &str, otherwise: &str) -> Result<bool>;

    /// The passphrase of a backup; `None`: its secrets are left out.
    ///
    /// # Errors
    /// When asking fails, or is interrupted.
    fn passphrase(&self) -> Result<Option<Secret>>;

    /// Whether all this may be removed. `data`: data goes as well, after a last backup of it (`true`) or without one.
    ///
    /// # Errors
    /// As [`Questions::confirm`].
    fn confirm_removal(&self, report: &UninstallReport, data: Option<bool>) -> Result<()>;
}

/// Nobody is there to be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unattended {
    /// Whether every question is answered with yes; else an operation that has one ends with
    /// [`Error::ConfirmationRequired`].
    pub yes: bool,
}

impl Questions for Unattended {
    fn says_yes(&self) -> bool {
        self.yes
    }

    fn confirm(&self, question: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        Err(Error::ConfirmationRequired {
            question: question.trim_end_matches('?').to_owned(),
            flag: "--yes".to_owned(),
        })
    }

    fn suggest(&self, _question: &str, _otherwise: &str) -> Result<bool> {
        Ok(self.yes)
    }

    fn passphrase(&self) -> Result<Option<Secret>> {
        Ok(None)
    }

    fn confirm_removal(&self, _report: &UninstallReport, _data: Option<bool>) -> Result<()> {
        self.confirm("whether to uninstall it")
    }
}
