//! Tables of figures.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Tenths, hundredths and so on are for small numbers.
pub(crate) fn figure(n: f64) -> String {
    match n {
        ..10.0 => format!("{n:.2}"),
        10.0..100.0 => format!("{n:.1}"),
        _ => format!("{n:.0}"),
    }
}

/// Rows of text, the first column to the left, figures to the right.
pub(crate) fn table(header: &[&str], lines: Vec<Vec<String>>) -> Table {
    with_figures(header, lines, |column| column > 0)
}

/// Rows of text; columns of figures to the right.
pub(crate) fn with_figures(
    header: &[&str],
    lines: Vec<Vec<String>>,
    figures: impl Fn(usize) -> bool,
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for line in lines {
        table.add_row(line.into_iter().enumerate().map(|(column, text)| {
            let side = if figures(column) { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(side)
        }));
    }
    table
}
