//! Which templates were used, and what each of them gave.

use crate::items::Kind;
use crate::metric::item::templates::TemplateEvidence;
use crate::metric::probability;
use crate::policy::Level;
use crate::policy::Policy;
use crate::report::order;
use crate::report::words::{count, share, times};
use crate::report::{Report, ReportItem};
use crate::run::Settings;
use crate::template::TemplateInfo;

/// Digits of a digest that tell files apart for a reader; all of them stand in report.json.
const DIGITS: usize = 12;

/// The templates' ids in a row, as in `none, chat`; `None` where only the bare prefix was used.
pub(crate) fn ids(settings: &Settings) -> Option<String> {
    let ids: Vec<&str> = settings
        .templates
        .iter()
        .map(|template| template.id.0.as_str())
        .collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}

/// What templates were used, a sentence each, and how often each was the worst.
pub(crate) fn notes(settings: &Settings, items: &[ReportItem]) -> Vec<String> {
    if settings.templates.is_empty() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if settings.templates.len() > 1 {
        notes.push(format!(
            "Every text, controls too, was probed under {}; the worst of them counts.",
            count(settings.templates.len() as u64, "template")
        ));
    }
    notes.extend(
        settings
            .templates
            .iter()
            .map(|template| note(settings, items, template)),
    );
    notes
}

fn note(settings: &Settings, items: &[ReportItem], template: &TemplateInfo) -> String {
    let short =
        |digest: &crate::digest::Digest| digest.as_str().chars().take(DIGITS).collect::<String>();
    let chat = template
        .chat_template
        .as_ref()
        .map(|digest| format!(", chat template SHA-256 {}", short(digest)));
    let worst = items
        .iter()
        .filter(|item| item.evidence.worst_template.as_ref() == Some(&template.id))
        .count();
    let worst = match settings.templates.len() {
        1 => String::new(),
        _ => format!(
            "; the worst of {} {}",
            count(items.len() as u64, "item"),
            times(worst as u64)
        ),
    };
    format!(
        "Template {}: {} (SHA-256 {}{}){worst}.",
        template.id,
        template.about.trim_end_matches('.'),
        short(&template.digest),
        chat.unwrap_or_default()
    )
}

/// `worst under chat (p_z 0.83, 12% extracted); none: p_z 0.001, nothing extracted`. `None` where there is nothing to
/// compare.
pub(crate) fn of_item(policy: &Policy, item: &ReportItem) -> Option<String> {
    let worst = item.evidence.worst_template.as_ref()?;
    let templates = &item.evidence.worst()?.templates;
    let schemes: Vec<String> = policy
        .schemes
        .iter()
        .map(|scheme| scheme.id.clone())
        .collect();
    let says = |template: &TemplateEvidence| {
        let extracted = match template.coverage {
            None => String::new(),
            Some(0.0) => ", nothing extracted".to_owned(),
            Some(coverage) => format!(", {} extracted", share(coverage)),
        };
        let asked = || {
            template
                .schemes
                .iter()
                .filter(|found| schemes.contains(&found.scheme))
        };
        let best = template.best(Some(&schemes));
        let at_most = asked()
            .filter_map(|found| found.at_most)
            .filter(|bound| *bound > best)
            .reduce(f64::max);
        format!(
            "p_z {}{extracted}",
            at_most.map_or_else(|| probability::in_digits(best), super::at_most)
        )
    };
    let counts = templates
        .iter()
        .find(|template| template.template == *worst)?;
    let others: Vec<String> = templates
        .iter()
        .filter(|template| template.template != *worst)
        .map(|template| format!("; {}: {}", template.template, says(template)))
        .collect();
    Some(format!(
        "worst under {worst} ({}){}",
        says(counts),
        others.concat()
    ))
}

/// A line for each opted-out text or canary that was found or couldn't be decided, the gravest first; empty under a single
/// template.
pub(crate) fn gravest(report: &Report) -> Vec<String> {
    if report.settings.templates.len() < 2 {
        return Vec::new();
    }
    let told = |item: &&ReportItem| {
        item.verdict.level.is_memorization() || item.verdict.level == Level::Inconclusive
    };
    let items = [Kind::OptOut, Kind::Canary]
        .into_iter()
        .flat_map(|kind| order::worst_first(report, kind))
        .filter(told);
    items
        .filter_map(|item| Some(format!("{}: {}", item.id, of_item(&report.policy, item)?)))
        .collect()
}
