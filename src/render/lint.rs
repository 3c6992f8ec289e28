//! The record of `byrote lint`.

use byrote_core::items::InputManifest;
use byrote_core::policy::Policy;
use serde::Serialize;

/// Probe sets and policies without errors.
#[derive(Serialize)]
pub(crate) struct Linted {
    #[serde(flatten)]
    manifest: Option<InputManifest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<LintedPolicy>,
}

#[derive(Serialize)]
struct LintedPolicy {
    name: String,
    sha256: String,
    waivers: usize,
}

impl Linted {
    pub(crate) fn new(manifest: Option<InputManifest>, policies: &[Policy]) -> Self {
        let policies = policies.iter().map(|policy| LintedPolicy {
            name: policy.source.clone(),
            sha256: policy.digest.to_string(),
            waivers: policy.waivers.len(),
        });
        Self {
            manifest,
            policies: policies.collect(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for LintedPolicy {
            name,
            sha256,
            waivers,
        } in &self.policies
        {
            text += &format!("{name}: a policy, sha256 {sha256}, waivers: {waivers}\n");
        }
        let Some(manifest) = &self.manifest else {
            return text;
        };
        for file in &manifest.files {
            text += &format!(
                "{}: {} bytes, sha256 {}\n",
                file.name, file.bytes, file.sha256
            );
        }
        for dropped in &manifest.dropped {
            text += &format!(
                "{}: \"{}\" is left out: {}\n",
                dropped.origin, dropped.id, dropped.reason
            );
        }
        for warning in &manifest.warnings {
            text += &format!("warning: {warning}\n");
        }
        let InputManifest {
            opt_outs,
            controls,
            canaries,
            ..
        } = manifest;
        text + &format!("opted-out texts: {opt_outs}, controls: {controls}, canaries: {canaries}\n")
    }
}
