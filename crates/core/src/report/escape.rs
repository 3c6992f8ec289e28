//! Making foreign text inert. Ids, paths, provenance and reasons come from whoever wrote a probe set or a model
//! folder, so every format passes them through here, and nowhere else.

pub(crate) mod json;

use crate::percent::percent_encoded;
use std::fmt::Write as _;

/// Writes out what a reader couldn't see or what would act on its surroundings: control characters (ANSI escapes
/// and line breaks among them), invisible characters and those that turn the direction of writing. `ESC` becomes
/// `\u{1b}`.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut out, c);
    }
    out
}

/// [`visible`] text for HTML, in an element or in a quoted attribute.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_html(&mut out, c);
    }
    out
}

/// As [`html`], with what stands between backticks as `<code>`: so reasons name items. Stray backticks can only shift
/// where code begins, never open an element or leave one open.
pub(crate) fn html_prose(text: &str) -> String {
    let mut pieces = text.split('`').peekable();
    let (mut out, mut code) = (String::new(), false);
    while let Some(piece) = pieces.next() {
        let closed = pieces.peek().is_some();
        match (code, closed) {
            (true, true) => out.extend(["<code>", &html(piece), "</code>"]),
            (true, false) => out.extend(["`", &html(piece)]),
            (false, _) => out.push_str(&html(piece)),
        }
        code = !code;
    }
    out
}

/// Running text for an HTML element that keeps white space: as [`html`], but line breaks and tabs stay.
pub(crate) fn html_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c => push_html(&mut out, c),
        }
    }
    out
}

/// [`visible`] text for a line or a table cell of GitHub's Markdown: no markup, no links, no mentions.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' => out.push_str("&#124;"),
            // A zero-width space after them ends what would be a mention, an issue or an address.
            '@' => out.push_str("@&#8203;"),
            '#' => out.push_str("\\#&#8203;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => push_visible(&mut out, c),
        }
    }
    // What GitHub would make a link of without any markup.
    out.replace("://", ":\\//")
        .replace("www.", "www\\.")
        .replace("WWW.", "WWW\\.")
}

/// [`visible`] text as a code span of Markdown, safe in a table cell.
pub(crate) fn markdown_code(text: &str) -> String {
    // A table splits cells at every bar before it looks at code spans, and a backslash before it may itself be
    // escaped; so a bar is written out.
    let text = visible(text).replace('|', "\\u{7c}");
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// [`visible`] text for a terminal or a log. Also breaks what CI systems read as commands: `::error::`, `##[group]`.
pub(crate) fn terminal(text: &str) -> String {
    visible(text)
        .replace("::", ":\\u{3a}")
        .replace("##", "#\\u{23}")
}

/// [`visible`] text for data that may be printed in a CI log, where names must stay what they are: breaks only what is obeyed
/// anywhere in a line, `##[group]` and `##vso[...]`. `::error::` acts at the start of a line and is the format's to keep away
/// from there.
pub(crate) fn log(text: &str) -> String {
    visible(text).replace("##", "#\\u{23}")
}

/// The message of a GitHub workflow command: [`log`] text in which its three special characters are written as `%25`, `%0D`
/// and `%0A`.
pub(crate) fn github_message(text: &str) -> String {
    log(text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a GitHub workflow command: as a message, and without what would end it.
pub(crate) fn github_property(text: &str) -> String {
    github_message(text).replace(':', "%3A").replace(',', "%2C")
}

/// [`visible`] text for XML 1.0, in an element or in a quoted attribute: no markup, and only characters that XML may hold.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The two that are no characters of XML 1.0 and no controls either.
            '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => push_html(&mut out, c),
        }
    }
    // Also where it is printed: see [`log`].
    out.replace("##", "#&#35;")
}

/// [`visible`] text for a message of SARIF, where brackets make links and braces stand for arguments (3.11.5 and 3.11.6).
pub(crate) fn sarif(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '\\' | '[' | ']' => out.extend(['\\', c]),
            '{' | '}' => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out
}

/// A text as a double-quoted scalar of YAML, 1.1 and 1.2 alike, with what acts unseen as escapes.
pub(crate) fn yaml(text: &str) -> String {
    let (mut out, mut before) = (String::from('"'), ' ');
    for c in text.chars() {
        let code = u32::from(c);
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            // As in a CI log: see [`log`].
            '#' if before == '#' => write!(out, "\\x23"),
            c if c.is_control() || acts_unseen(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                }
            }
            c => write!(out, "{c}"),
        };
        before = c;
    }
    out.push('"');
    out
}

/// A path as a URI reference (RFC 3986): relative where the path is, `file:///` where it is absolute. Everything but
/// unreserved characters and the separators is percent-encoded, so that nothing in it can be taken for a scheme, a query or
/// a fragment.
pub(crate) fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    let drive = path.as_bytes().get(1) == Some(&b':')
        && path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    let (start, rest) = match path.strip_prefix('/') {
        Some(rest) => ("file:///", rest.trim_start_matches('/')),
        None if drive && path.as_bytes().get(2) == Some(&b'/') => ("file:///", path.as_str()),
        None => ("", path.trim_start_matches("./").trim_start_matches('/')),
    };
    start.to_owned() + &percent_encoded(rest)
}

fn push_html(out: &mut String, c: char) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => push_visible(out, c),
    }
}

fn push_visible(out: &mut String, c: char) {
    if c.is_control() || acts_unseen(c) {
        // Writing to a String can't fail.
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// Invisible, or changes how its neighbours are laid out. Joiners are among them: an id is no place for them.
fn acts_unseen(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_unseen_is_written_out() {
        let cases = [
            ("plain é 漢 ☂", "plain é 漢 ☂"),
            ("\u{1b}[31mred\u{9b}0m", "\\u{1b}[31mred\\u{9b}0m"),
            ("two\r\nlines\t\0", "two\\u{d}\\u{a}lines\\u{9}\\u{0}"),
            (
                "fdp.\u{202e}exe\u{200b}\u{feff}",
                "fdp.\\u{202e}exe\\u{200b}\\u{feff}",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn html_has_no_markup_and_leaves_no_attribute() {
        let hostile = "<script>alert('1')</script> \" onload=\"x\" &amp;\n";
        let expected = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &quot; onload=&quot;x&quot; &amp;amp;\\u{a}";
        assert_eq!(html(hostile), expected);
        assert_eq!(html_prose("`a<`: b"), "<code>a&lt;</code>: b");
        assert_eq!(
            html_prose("`a``<b>` and `rest"),
            "<code>a</code><code>&lt;b&gt;</code> and `rest"
        );
        assert_eq!(html_text("a\n\tb\u{1b}<"), "a\n\tb\\u{1b}&lt;");
    }

    #[test]
    fn markdown_has_no_markup_links_mentions_or_cells() {
        let cases = [
            ("a|b", "a&#124;b"),
            ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
            ("[x](http://e.org)", "\\[x\\](http:\\//e.org)"),
            ("www.e.org", "www\\.e.org"),
            ("@octocat #12", "@&#8203;octocat \\#&#8203;12"),
            ("*_`~", "\\*\\_\\`\\~"),
            ("a\nb", "a\\u{a}b"),
        ];
        for (text, expected) in cases {
            assert_eq!(markdown(text), expected);
        }
    }

    #[test]
    fn code_spans_hold_backticks_and_bars() {
        let cases = [
            ("moby_1", "`moby_1`"),
            ("a`b", "``a`b``"),
            ("`a``", "``` `a`` ```"),
            ("a|b\\", "`a\\u{7c}b\\`"),
            ("a\n# b", "`a\\u{a}# b`"),
            ("", "(empty)"),
        ];
        for (text, expected) in cases {
            assert_eq!(markdown_code(text), expected);
        }
    }

    #[test]
    fn workflow_commands_keep_their_properties_apart() {
        let hostile = "50%: a, b::error::\r\n##[group]";
        assert_eq!(
            github_message(hostile),
            "50%25: a, b::error::\\u{d}\\u{a}#\\u{23}[group]"
        );
        assert_eq!(
            github_property(hostile),
            "50%25%3A a%2C b%3A%3Aerror%3A%3A\\u{d}\\u{a}#\\u{23}[group]"
        );
    }

    #[test]
    fn xml_holds_no_markup_and_only_its_own_characters() {
        assert_eq!(
            xml("a]]>&\u{0}\u{b}\u{fffe}\u{ffff}'\""),
            "a]]&gt;&amp;\\u{0}\\u{b}\\u{fffe}\\u{ffff}&#39;&quot;"
        );
    }

    #[test]
    fn sarif_messages_have_no_links_and_no_placeholders() {
        assert_eq!(
            sarif("[x](1) {0} a\\b\u{1b}"),
            "\\[x\\](1) {{0}} a\\\\b\\\\u{{1b}}"
        );
    }

    #[test]
    fn yaml_scalars_are_one_quoted_line() {
        let hostile = "a: \"b\" \\ ##[x]\r\n\u{85}\u{2028}\u{ffff}\u{e0041}- *c &d !e %f";
        let expected = r#""a: \"b\" \\ #\x23[x]\x0d\x0a\x85\u2028\uffff\U000e0041- *c &d !e %f""#;
        assert_eq!(yaml(hostile), expected);
    }

    #[test]
    fn paths_become_uris_without_scheme_query_or_fragment() {
        let cases = [
            (
                "prompts/opt-out/novels.jsonl",
                "prompts/opt-out/novels.jsonl",
            ),
            ("./a b#c?d.jsonl", "a%20b%23c%3Fd.jsonl"),
            ("builtin:canaries.jsonl", "builtin%3Acanaries.jsonl"),
            ("javascript:alert(1)", "javascript%3Aalert%281%29"),
            ("/srv/sets/é.jsonl", "file:///srv/sets/%C3%A9.jsonl"),
            ("//host/share", "file:///host/share"),
            ("C:\\sets\\a.jsonl", "file:///C%3A/sets/a.jsonl"),
            ("sets\\a.jsonl", "sets/a.jsonl"),
            ("../a\n%00", "../a%0A%2500"),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(path), expected);
        }
    }

    #[test]
    fn terminals_and_logs_get_no_commands() {
        assert_eq!(terminal("::error::x"), ":\\u{3a}error:\\u{3a}x");
        assert_eq!(terminal(":::x"), ":\\u{3a}:x");
        assert_eq!(
            terminal("##[group]\u{1b}]0;title\u{7}"),
            "#\\u{23}[group]\\u{1b}]0;title\\u{7}"
        );
    }
}
