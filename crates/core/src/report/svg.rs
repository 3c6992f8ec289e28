//! Charts as inline SVG. Numbers have at most one decimal, so that equal data gives equal bytes; colours and line styles
//! come from the style sheet by class. Every text is escaped here.

use super::escape;
use std::fmt::Write as _;

/// Attributes of a picture that screen readers skip.
const DECORATION: &str = r#" aria-hidden="true" focusable="false""#;

/// A picture under construction. Later elements cover earlier ones.
pub(crate) struct Svg(String);

impl Svg {
    /// A chart with a title and, if `description` is given, a description in words. `name` is its class and must be unique
    /// on the page.
    pub(crate) fn chart(
        name: &str,
        (width, height): (f64, f64),
        title: &str,
        description: Option<&str>,
    ) -> Self {
        let (width, height) = (n(width), n(height));
        let mut svg = format!(
            r#"<svg class="chart {name}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="{name}-title""#
        );
        if description.is_some() {
            let _ = write!(svg, r#" aria-describedby="{name}-desc""#);
        }
        let _ = write!(
            svg,
            r#"><title id="{name}-title">{}</title>"#,
            escape::html(title)
        );
        if let Some(text) = description {
            let _ = write!(
                svg,
                r#"<desc id="{name}-desc">{}</desc>"#,
                escape::html(text)
            );
        }
        Self(svg)
    }

    /// A chart that can occur several times on a page; its style sheet sets the size.
    pub(crate) fn labelled(class: &str, size: (f64, f64), label: &str) -> Self {
        Self::open(class, size, &image(label))
    }

    /// A bar 1000 units wide that is stretched to the width of the page.
    pub(crate) fn bar(class: &str, height: f64, label: &str) -> Self {
        let attributes = format!(r#" preserveAspectRatio="none"{}"#, image(label));
        Self::open(class, (1000.0, height), &attributes)
    }

    /// A small picture of what the text beside it says.
    pub(crate) fn decoration(class: &str, size: (f64, f64)) -> Self {
        Self::open(class, size, DECORATION)
    }

    fn open(class: &str, (width, height): (f64, f64), attributes: &str) -> Self {
        Self(format!(
            r#"<svg class="{class}" viewBox="0 0 {} {}"{attributes}>"#,
            n(width),
            n(height)
        ))
    }

    pub(crate) fn horizontal(&mut self, class: &str, (left, right): (f64, f64), y: f64) {
        self.line(class, (left, y), (right, y));
    }

    pub(crate) fn vertical(&mut self, class: &str, x: f64, (top, bottom): (f64, f64)) {
        self.line(class, (x, top), (x, bottom));
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (n(from.0), n(from.1), n(to.0), n(to.1));
        self.push(&format!(
            r#"<line class="{class}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>"#
        ));
    }

    pub(crate) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64)) {
        self.element(&rect(class, at, size), "rect", None);
    }

    pub(crate) fn titled_rect(&mut self, class: &str, at: (f64, f64), side: f64, title: &str) {
        self.element(&rect(class, at, (side, side)), "rect", Some(title));
    }

    pub(crate) fn circle(&mut self, class: &str, (x, y): (f64, f64), r: f64, title: Option<&str>) {
        let (x, y, r) = (n(x), n(y), n(r));
        let start = format!(r#"<circle class="{class}" cx="{x}" cy="{y}" r="{r}""#);
        self.element(&start, "circle", title);
    }

    /// `d` is in SVG's path syntax.
    pub(crate) fn path(&mut self, class: &str, d: &str, title: Option<&str>) {
        self.element(&format!(r#"<path class="{class}" d="{d}""#), "path", title);
    }

    /// A square symbol that the page defines, centred on a point.
    pub(crate) fn symbol(
        &mut self,
        (class, href): (&str, &str),
        (x, y): (f64, f64),
        side: f64,
        title: &str,
    ) {
        let (x, y, side) = (n(x - side / 2.0), n(y - side / 2.0), n(side));
        let start = format!(
            r##"<use class="{class}" href="#{href}" x="{x}" y="{y}" width="{side}" height="{side}""##
        );
        self.element(&start, "use", Some(title));
    }

    pub(crate) fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        self.label(class, at, &Label::Text(text.to_owned()));
    }

    pub(crate) fn label(&mut self, class: &str, (x, y): (f64, f64), label: &Label) {
        let (x, y, label) = (n(x), n(y), label.markup());
        self.push(&format!(
            r#"<text class="{class}" x="{x}" y="{y}">{label}</text>"#
        ));
    }

    /// A text that runs upwards.
    pub(crate) fn upward_text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let (x, y, text) = (n(x), n(y), escape::html(text));
        self.push(&format!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate(-90)">{text}</text>"#
        ));
    }

    /// Elements of one class, or with one title.
    pub(crate) fn group(
        &mut self,
        class: Option<&str>,
        title: Option<&str>,
        inner: impl FnOnce(&mut Self),
    ) {
        match class {
            Some(class) => self.push(&format!(r#"<g class="{class}">"#)),
            None => self.push("<g>"),
        }
        if let Some(title) = title {
            self.title(title);
        }
        inner(self);
        self.push("</g>");
    }

    pub(crate) fn finish(mut self) -> String {
        self.push("</svg>");
        self.0
    }

    fn element(&mut self, start: &str, name: &str, title: Option<&str>) {
        self.push(start);
        if let Some(title) = title {
            self.push(">");
            self.title(title);
            self.push(&format!("</{name}>"));
        } else {
            self.push("/>");
        }
    }

    fn title(&mut self, title: &str) {
        self.push(&format!("<title>{}</title>", escape::html(title)));
    }

    fn push(&mut self, markup: &str) {
        self.0.push_str(markup);
    }
}

fn image(label: &str) -> String {
    format!(r#" role="img" aria-label="{}""#, escape::html(label))
}

fn rect(class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) -> String {
    let (x, y, width, height) = (n(x), n(y), n(width), n(height));
    format!(r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}""#)
}

/// Text beside a tick.
#[derive(Clone, Debug)]
pub(crate) enum Label {
    Text(String),
    /// 10 with an exponent.
    PowerOfTen(i32),
}

impl Label {
    /// A probability of `10^-exponent`, the first `plain` of them as decimals.
    pub(crate) fn probability(exponent: i32, plain: i32) -> Self {
        match exponent {
            0 => Self::Text("1".to_owned()),
            1..=9 if exponent <= plain => Self::Text(format!("0.{:01$}", 1, exponent as usize)),
            _ => Self::PowerOfTen(-exponent),
        }
    }

    fn markup(&self) -> String {
        match self {
            Self::Text(text) => escape::html(text),
            Self::PowerOfTen(exponent) => {
                let sign = if *exponent < 0 { "−" } else { "" };
                let digits = exponent.unsigned_abs();
                format!(r#"10<tspan class="sup" dy="-4">{sign}{digits}</tspan>"#)
            }
        }
    }
}

/// The area that the axes enclose.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) const fn new((left, right): (f64, f64), (top, bottom): (f64, f64)) -> Self {
        Self {
            left,
            right,
            top,
            bottom,
        }
    }

    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub(crate) fn columns(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    pub(crate) fn rows(&self) -> (f64, f64) {
        (self.top, self.bottom)
    }

    /// Vertical grid lines with labels below the frame.
    pub(crate) fn x_grid(&self, svg: &mut Svg, ticks: &[(f64, Label)]) {
        for (x, label) in ticks {
            svg.vertical("grid", *x, self.rows());
            svg.label("mid", (*x, self.bottom + 17.0), label);
        }
    }

    /// Horizontal grid lines with labels left of the frame.
    pub(crate) fn y_grid(&self, svg: &mut Svg, ticks: &[(f64, Label)]) {
        for (y, label) in ticks {
            svg.horizontal("grid", self.columns(), *y);
            svg.label("end", (self.left - 8.0, y + 4.0), label);
        }
    }
}

/// A number with one decimal at most, and no negative zero.
pub(crate) fn n(x: f64) -> String {
    let digits = format!("{x:.1}");
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    if digits == "-0" {
        "0".to_owned()
    } else {
        digits.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_no_negative_zero() {
        for (x, expected) in [
            (0.0, "0"),
            (-0.04, "0"),
            (12.0, "12"),
            (1.25, "1.2"),
            (-3.16, "-3.2"),
        ] {
            assert_eq!(n(x), expected);
        }
    }

    #[test]
    fn texts_and_titles_are_escaped() {
        let mut svg = Svg::labelled("a", (1.0, 2.0), "\"<b>");
        svg.text("mid", (0.0, 0.0), "<script>");
        svg.circle("dot", (0.0, 0.0), 1.0, Some("</title>"));
        let svg = svg.finish();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
        assert_eq!(svg.matches("</title>").count(), 1, "{svg}");
    }

    #[test]
    fn probabilities_are_decimals_or_powers_of_ten() {
        let labels = [0, 1, 2, 12].map(|exponent| Label::probability(exponent, 2).markup());
        assert_eq!(labels[..3], ["1", "0.1", "0.01"]);
        assert_eq!(labels[3], r#"10<tspan class="sup" dy="-4">−12</tspan>"#);
    }
}
