//! Fields of an engine's answers. One of another kind than it should be counts as missing.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// A text; empty where there is none.
pub(super) fn text(field: &Value) -> String {
    field.as_str().unwrap_or_default().to_owned()
}

/// The items of a list; none where there is none.
pub(super) fn items(field: &Value) -> &[Value] {
    field.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list.
pub(super) fn texts(field: &Value) -> Vec<String> {
    items(field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Names and their values, as labels are.
pub(super) fn named_texts(field: &Value) -> BTreeMap<String, String> {
    let fields = field.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// What a list is to be of, as the end of an address.
pub(super) fn filters(filters: &HashMap<String, Vec<String>>) -> String {
    let filters = serde_json::to_string(filters).unwrap_or_default();
    form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters).finish()
}
