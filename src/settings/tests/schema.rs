//! The JSON Schema of `settings.toml`, for editors: made from the types, shipped as
//! `packaging/settings.schema.json`. Only tests need it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::age_key::Recipient;
use crate::settings::{
    Age, Allow, Bind, Cpus, DiskLimit, Every, FormatVersion, GitText, Glob, Keep, Memory, PackageName, Port, Settings,
    VariableName, VariableValue, keys,
};

macro_rules! schema {
    ($type:ident, $($json:tt)+) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($($json)+)
            }
        }
    };
}

schema!(FormatVersion, { "const": 1 });
schema!(Port, { "type": "integer", "minimum": 1, "maximum": 65535 });
schema!(Bind, { "type": "string", "examples": ["127.0.0.1"] });
schema!(PackageName, { "type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]+$" });
schema!(Memory, { "type": "string", "examples": ["4GiB"] });
schema!(DiskLimit, { "type": "string", "examples": ["50GiB", ""] });
schema!(Cpus, { "type": "number", "minimum": 0, "maximum": 4096 });
schema!(Allow, { "type": "string", "examples": ["host:11434", "192.168.1.20", "10.8.0.0/16", "git.example.org:22"] });
schema!(Recipient, { "type": "string", "pattern": "^age1[02-9ac-hj-np-z]{58}$" });
schema!(GitText, { "type": "string", "maxLength": 200 });
schema!(Age, { "type": "string", "examples": ["24h", "3d", "0"] });
schema!(VariableName, { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" });
schema!(VariableValue, { "type": "string" });
schema!(Glob, { "type": "string", "examples": ["**/node_modules", "projects/app/data"] });
schema!(Keep, { "type": ["integer", "string"], "minimum": 0, "pattern": "^[1-9][0-9]*[hdwmy]( +[1-9][0-9]*[hdwmy])*$|^[0-9]+$", "examples": [7, "7d 4w 6m"] });
schema!(Every, { "type": "string", "examples": ["24h", ""] });

#[test]
fn the_shipped_schema_is_current_and_complete() {
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for key in keys::names() {
        let mut at = &schema;
        for part in key.split('.') {
            if let Some(reference) = at.get("$ref").and_then(|r| r.as_str()) {
                at = schema.pointer(reference.trim_start_matches('#')).unwrap();
            }
            at = at.get("properties").and_then(|p| p.get(part)).unwrap_or_else(|| panic!("{key} is not in {schema:#}"));
        }
        assert!(at.get("description").is_some(), "{key} is described");
        assert!(at.get("default").is_some() || key == "mounts", "{key} has its default: {at}");
    }
    let text = format!("{schema:#}\n");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/settings.schema.json");
    if std::env::var_os("DOCKLET_UPDATE_PACKAGING").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(shipped == text, "packaging/settings.schema.json is not current: DOCKLET_UPDATE_PACKAGING=1 cargo test");
}
