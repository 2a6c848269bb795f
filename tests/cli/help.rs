//! The whole help tree as one snapshot: a change of any text, flag or default is seen here.

#[test]
fn the_whole_help_tree() {
    let mut command = docklet::cli::command().term_width(100).disable_help_subcommand(true);
    command.build();
    let mut text = String::new();
    add(&mut command, &mut text);
    insta::assert_snapshot!(text);
}

/// Global options are shown once: they are the same everywhere.
fn add(command: &mut clap::Command, text: &mut String) {
    let help = command.render_long_help().to_string();
    let help = match (text.is_empty(), help.find("\nGlobal options:\n")) {
        (false, Some(start)) => {
            let rest = &help[start + 1..];
            let end = rest.find("\nExample:").map_or("", |at| &rest[at..]);
            format!("{}{end}", &help[..start])
        }
        _ => help,
    };
    text.push_str(&format!("──── {}\n{}\n\n", command.get_bin_name().unwrap_or_default(), help.trim_end()));
    for below in command.get_subcommands_mut() {
        add(below, text);
    }
}

#[test]
fn every_command_has_an_example() {
    let mut command = docklet::cli::command().disable_help_subcommand(true);
    command.build();
    fn check(command: &mut clap::Command) {
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let help = command.render_help().to_string();
        let leaf = !command.has_subcommands();
        assert!(
            !leaf || name == "docklet list" || name == "docklet status" || help.contains("Example:"),
            "{name}\n{help}"
        );
        command.get_subcommands_mut().for_each(check);
    }
    check(&mut command);
}
