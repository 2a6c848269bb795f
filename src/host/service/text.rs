//! The texts of the service managers' files: a systemd unit and a launchd agent. Pure.

use super::{Service, label};
use crate::error::{Error, Result};

/// The text of a systemd user unit.
///
/// # Errors
/// When a path or a value cannot be written in a unit.
pub fn systemd_unit(service: &Service) -> Result<String> {
    let Service { instance, title, environment, .. } = service;
    let program = quoted(program(service)?)?;
    let mut variables = String::new();
    for (name, value) in environment {
        variables.push_str(&format!("Environment={}\n", quoted(&format!("{name}={value}"))?));
    }
    // No Requires= or After= for the engine: a user's unit cannot see the system's. The supervisor
    // waits for the engine by itself.
    Ok(format!(
        "# Written by: docklet autostart enable. Removed by: docklet autostart disable\n\
         [Unit]\n\
         Description=docklet supervisor of {title} (instance {instance})\n\
         \n\
         [Service]\n\
         Type=simple\n\
         {variables}\
         ExecStart={program} --instance {instance} supervise\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    ))
}

/// A word of a unit file in quotes: `systemd.syntax(7)`, `systemd.unit(5)` for the percent sign.
fn quoted(text: &str) -> Result<String> {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_control() => return Err(unwritable(text)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// The text of a launchd agent.
///
/// # Errors
/// When a path or a value cannot be written in XML.
pub fn launchd_agent(service: &Service) -> Result<String> {
    let Service { instance, environment, .. } = service;
    let string = |text: &str| Ok::<_, Error>(format!("<string>{}</string>", xml(text)?));
    let mut arguments = String::new();
    for word in [program(service)?, "--instance", instance.as_str(), "supervise"] {
        arguments.push_str(&format!("    {}\n", string(word)?));
    }
    let mut variables = String::new();
    for (name, value) in environment {
        variables.push_str(&format!("    <key>{}</key>\n    {}\n", xml(name)?, string(value)?));
    }
    let label = string(&label(instance))?;
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by: docklet autostart enable. Removed by: docklet autostart disable -->
<plist version="1.0">
<dict>
  <key>Label</key>
  {label}
  <key>ProgramArguments</key>
  <array>
{arguments}  </array>
  <key>EnvironmentVariables</key>
  <dict>
{variables}  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Background</string>
</dict>
</plist>
"#
    ))
}

fn xml(text: &str) -> Result<String> {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => return Err(unwritable(text)),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

fn program(service: &Service) -> Result<&str> {
    service.program.to_str().ok_or_else(|| unwritable(&service.program.display().to_string()))
}

fn unwritable(text: &str) -> Error {
    Error::Usage {
        message: format!("{} cannot be written into a service file", text.escape_debug()),
        hint: Some("it holds control characters or is not UTF-8; choose another path".to_owned()),
    }
}
