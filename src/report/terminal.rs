pub struct Style {
    pub color: bool,
    pub width: Option<usize>,
}
pub fn render(r: &super::Report, _: Style) -> String {
    format!("{:#?}\n{:?}\n", r.summary, r.decision)
}
