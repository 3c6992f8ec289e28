//! Tables of Markdown that can be read as they are: every column as wide as its widest cell.

use std::fmt::Write as _;

/// Writes a table; `right` tells which columns stand flush right. Cells are escaped by the caller.
pub(super) fn table(out: &mut String, header: &[String], right: &[bool], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .chain(header.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let is_right = |column: usize| right.get(column).copied().unwrap_or(false);
    let line = |out: &mut String, cells: &[String]| {
        out.push('|');
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let _ = if is_right(column) {
                write!(out, " {pad}{cell} |")
            } else {
                write!(out, " {cell}{pad} |")
            };
        }
        out.push('\n');
    };
    out.push('\n');
    line(out, header);
    out.push('|');
    for (column, width) in widths.iter().enumerate() {
        let _ = if is_right(column) {
            write!(out, " {}: |", "-".repeat(width - 1))
        } else {
            write!(out, " {} |", "-".repeat(*width))
        };
    }
    out.push('\n');
    for row in rows {
        line(out, row);
    }
}
