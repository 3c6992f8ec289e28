//! What differs between two runs, in the words of `run.json`.

use crate::run::RunManifest;
use serde_json::Value;

/// Fields that may differ between a run and its resumption. A folder's root digest covers files that aren't read.
const FREE: [&str; 5] = [
    "created_at",
    "command",
    "salt",
    "model.model_signing",
    "reference.model_signing",
];
/// More names than this tell a reader nothing new.
const NAMED: usize = 6;
/// Longer values, digests above all, aren't shown.
const SHOWN: usize = 40;

/// Names the fields in which `new` can't go on with `old`, such as `settings.window.prefix (50, now 32)`;
/// `None` if it can.
pub(crate) fn difference(
    old: &RunManifest,
    new: &RunManifest,
) -> Result<Option<String>, serde_json::Error> {
    let (old, new) = (serde_json::to_value(old)?, serde_json::to_value(new)?);
    let mut all = Vec::new();
    collect("", &old, &new, &mut all);
    all.retain(|(path, _)| !FREE.contains(&path.as_str()));
    // Other windows follow from other settings or inputs; they are news only where nothing else differs.
    if all.iter().any(|(path, _)| !path.starts_with("plan.")) {
        all.retain(|(path, _)| !path.starts_with("plan."));
    }
    let more = all.len().saturating_sub(NAMED);
    let mut named: Vec<String> = all
        .into_iter()
        .take(NAMED)
        .map(|(path, values)| path + &values)
        .collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    Ok((!named.is_empty()).then(|| named.join(", ")))
}

fn collect(path: &str, old: &Value, new: &Value, found: &mut Vec<(String, String)>) {
    let (Value::Object(old_fields), Value::Object(new_fields)) = (old, new) else {
        if old != new {
            found.push((path.to_owned(), show(old, new)));
        }
        return;
    };
    let added = new_fields
        .keys()
        .filter(|key| !old_fields.contains_key(*key));
    for key in old_fields.keys().chain(added) {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let of =
            |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
        collect(&path, &of(old_fields), &of(new_fields), found);
    }
}

fn show(old: &Value, new: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => Some("absent".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
        scalar => Some(scalar.to_string()).filter(|text| text.len() <= SHOWN),
    };
    match (text(old), text(new)) {
        (Some(old), Some(new)) => format!(" ({old}, now {new})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::run::fixture;
    use crate::tokens::BosChoice;

    #[test]
    fn a_difference_is_named_by_its_path_with_both_values() {
        type Change = fn(&mut RunManifest);
        let cases: [(Change, Option<&str>); 9] = [
            (|_| (), None),
            (|m| m.salt = "ff".to_owned(), None),
            (|m| m.created_at = "2030-01-01T00:00:00Z".to_owned(), None),
            (|m| m.command.push("--quiet".to_owned()), None),
            (
                |m| m.tool = "byrote 9.0.0".to_owned(),
                Some("tool (\"byrote 8.0.0\", now \"byrote 9.0.0\")"),
            ),
            (
                |m| m.model.digest = Digest::of_bytes(b"other"),
                Some("model.digest"),
            ),
            (
                |m| {
                    m.settings.window.prefix = 32;
                    m.plan.windows += 1;
                },
                Some("settings.window.prefix (2, now 32)"),
            ),
            (
                |m| m.settings.bos = BosChoice::Never,
                Some("settings.bos (\"auto\", now \"never\")"),
            ),
            (
                |m| m.plan.digest = Digest::of_bytes(b"other"),
                Some("plan.digest"),
            ),
        ];
        let old = RunManifest {
            tool: "byrote 8.0.0".to_owned(),
            ..fixture::manifest(40)
        };
        for (change, expected) in cases {
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(difference(&old, &new).unwrap().as_deref(), expected);
        }
    }

    #[test]
    fn a_field_on_one_side_only_is_a_difference() {
        let old = fixture::manifest(40);
        let mut new = old.clone();
        new.settings.bos_token = Some(1);
        let named = |a, b| difference(a, b).unwrap().unwrap();
        assert_eq!(named(&old, &new), "settings.bos_token (absent, now 1)");
        assert_eq!(named(&new, &old), "settings.bos_token (1, now absent)");
    }

    #[test]
    fn many_differences_are_counted_not_listed() {
        let old = fixture::manifest(40);
        let mut new = old.clone();
        new.settings.reveal = true;
        new.settings.window.prefix = 9;
        new.settings.window.suffix = 9;
        new.probe_set.opt_outs = 9;
        new.probe_set.controls = 9;
        new.probe_set.canaries = 9;
        new.model.reference = "x".to_owned();
        new.model.source = "y".to_owned();
        assert!(
            difference(&old, &new)
                .unwrap()
                .unwrap()
                .ends_with(", 2 more")
        );
    }
}
