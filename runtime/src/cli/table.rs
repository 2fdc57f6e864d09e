//! Tables of text.

use std::fmt::Write as _;

/// What stands in a cell where there is nothing to say.
pub(super) fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// Rows in aligned columns, two spaces apart; none when there is nothing but the heading.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> Option<String> {
    if rows.len() < 2 {
        return None;
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    Some(text)
}
