//! Bounded fuzzing of what users type behind flags: taken, or refused with the flag's name and a reason.

use clap::Parser as _;
use docklet::cli::args::Cli;
use proptest::prelude::*;

/// A command and one of its flags.
const FLAGS: [(&str, &str); 16] = [
    ("setup", "--port"),
    ("setup", "--bind"),
    ("setup", "--memory"),
    ("setup", "--cpus"),
    ("setup", "--mount"),
    ("setup", "--restart"),
    ("setup", "--extra-package"),
    ("setup", "--secret-file"),
    ("setup", "--image"),
    ("setup", "--timeout"),
    ("start", "--timeout"),
    ("stop", "--timeout"),
    ("logs", "--lines"),
    ("logs", "--since"),
    ("status", "--instance"),
    ("status", "--host"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_typed_behind_a_flag_is_taken_or_refused_with_a_reason(
        (command, flag) in proptest::sample::select(FLAGS.to_vec()),
        text in ".{0,20}|[0-9+.eE-]{1,25}|[0-9]{1,20}[kKmMgGtTiIbB]{0,3}|[/a-z~. ]{0,9}(:[/a-z. ]{0,9}){0,3}(:ro)?",
    ) {
        if let Err(refusal) = Cli::try_parse_from(["docklet", command, &format!("{flag}={text}")]) {
            let told = refusal.to_string();
            prop_assert!(told.starts_with("error: ") && told.contains(flag), "{flag}={text:?}: {told}");
        }
    }
}
