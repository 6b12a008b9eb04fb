//! How both tables scale, as SVG: `draw --help`. Draws ns and octets over size on logarithmic axes:
//!
//! ```text
//! SPI table:       hit     miss    octets an SA         legend
//! each list:       first   any     octets a selector    legend
//! ```
//! A list with figures of one size only is left out, as are contenders that wait for each answer or ask a merged list.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::Range;

use clap::Parser;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

const WIDTH: u32 = 1500;
const HEIGHT: u32 = 340;
const LEGEND: u32 = 300;
const FONT: &str = "sans-serif";

/// Of Okabe and Ito, told apart by the colour-blind as well; the yellow is left out, which is faint on
/// white.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(130, 130, 130),
];

/// One figure of a file.
struct Figure {
    contender: String,
    size: f64,
    ns: f64,
    octets: Option<f64>,
}

/// Which chart a figure is part of: the table, or list and family, and what was asked.
type Key = (String, String);

type Line = Vec<(f64, f64)>;

/// A chart: its title, what its axes say, and lines by contender.
struct Chart {
    title: String,
    x: &'static str,
    y: &'static str,
    lines: Vec<(String, Line)>,
}

/// The charts of one row, which share a legend.
type Row = Vec<Chart>;

/// How both tables scale, as SVG
#[derive(Parser)]
#[command(
    name = "draw",
    after_help = "\
Example:
  draw lookup.jsonl classify.jsonl -o scaling.svg"
)]
struct Options {
    /// What the examples lookup and classify wrote with --json, in any order; of figures that come twice the last one counts
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Where to draw
    #[arg(short, long, value_name = "FILE", default_value = "scaling.svg")]
    out: String,
    /// Which SPIs
    #[arg(long, value_name = "KEYS", default_value = "random")]
    spis: String,
    /// Which packets
    #[arg(long, value_name = "TRAFFIC", default_value = "hit")]
    traffic: String,
}

/// What is drawn of a line of a file, if anything.
fn read(line: &str, options: &Options) -> Result<Option<(Key, Figure)>, Box<dyn Error>> {
    let object: Value = serde_json::from_str(line)?;
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| object[name].as_f64();
    let (key, size, octets) = if let Some(sas) = number("sas") {
        if text("spi") != options.spis {
            return Ok(None);
        }
        (("SPI table".to_owned(), text("lookup")), sas, number("octets_per_sa"))
    } else {
        let size = number("selectors").ok_or("neither sas nor selectors")?;
        if text("traffic") != options.traffic {
            return Ok(None);
        }
        let list = format!("Matcher, {} {}", text("list"), text("family"));
        ((list, text("question")), size, number("octets_per_selector"))
    };
    let (contender, ns) = (text("contender"), number("ns_min").ok_or("no ns_min")?);
    let octets = octets.filter(|octets| *octets > 0.0);
    let left_out = contender.contains("waits") || contender.contains("merged");
    Ok((!left_out).then_some((key, Figure { contender, size, ns, octets })))
}

/// The table that a contender asks: its name without how it is asked.
fn table(contender: &str) -> &str {
    let name = contender.trim_end_matches(", bursts of 32");
    name.trim_end_matches(", one at a time")
}

/// Dashed: one at a time where there are bursts as well.
fn dashed(contender: &str) -> bool {
    contender.ends_with("one at a time")
}

/// A line for each contender, in the order of `names`, sizes ascending.
fn lines(
    figures: &[Figure],
    names: &[String],
    name: impl Fn(&Figure) -> String,
    value: impl Fn(&Figure) -> Option<f64>,
) -> Vec<(String, Line)> {
    let mut points: BTreeMap<usize, BTreeMap<u64, f64>> = BTreeMap::new();
    for figure in figures {
        let at = names.iter().position(|listed| *listed == name(figure));
        if let (Some(at), Some(value)) = (at, value(figure)) {
            points.entry(at).or_default().insert(figure.size as u64, value);
        }
    }
    let line = |(at, points): (usize, BTreeMap<u64, f64>)| {
        (names[at].clone(), points.into_iter().map(|(size, value)| (size as f64, value)).collect())
    };
    points.into_iter().map(line).collect()
}

/// The charts that figures make.
fn rows(figures: BTreeMap<Key, Vec<Figure>>) -> Vec<Row> {
    let mut rows = Vec::new();
    let tables: BTreeSet<String> = figures.keys().map(|(table, _)| table.clone()).collect();
    // The SPI table first.
    let (spis, lists): (Vec<_>, Vec<_>) =
        tables.into_iter().partition(|table| table.starts_with("SPI"));
    for of in spis.into_iter().chain(lists) {
        let is_spis = of.starts_with("SPI");
        let asked = if is_spis { ["hit", "miss"] } else { ["first", "any"] };
        let x = if is_spis { "SAs" } else { "selectors" };
        let get = |asked: &str| figures.get(&(of.clone(), asked.to_owned()));
        let all: Vec<&Vec<Figure>> = asked.iter().filter_map(|asked| get(asked)).collect();
        let sizes: BTreeSet<u64> =
            all.iter().flat_map(|figures| figures.iter()).map(|one| one.size as u64).collect();
        if sizes.len() < 2 {
            eprintln!("{of}: figures of one size only");
            continue;
        }
        let mut names: Vec<String> = Vec::new();
        for figure in all.iter().flat_map(|figures| figures.iter()) {
            if !names.contains(&figure.contender) {
                names.push(figure.contender.clone());
            }
        }
        let mut row = Vec::new();
        for asked in asked {
            let Some(figures) = get(asked) else { continue };
            row.push(Chart {
                title: format!("{of}: {asked}"),
                x,
                y: if is_spis { "ns a lookup" } else { "ns a packet" },
                lines: lines(figures, &names, |one| one.contender.clone(), |one| Some(one.ns)),
            });
        }
        if let Some(figures) = get(asked[0]) {
            // One line for each table, under the name of the first way it was asked.
            let built = |name: &str| table(name).replace(" avx512", "").replace(" avx2", "");
            let first = |one: &Figure| {
                let same = names.iter().find(|name| built(name) == built(&one.contender));
                same.cloned().unwrap_or_default()
            };
            let title = if is_spis { "memory".to_owned() } else { format!("memory, {}", asked[0]) };
            row.push(Chart {
                title: format!("{of}: {title}"),
                x,
                y: if is_spis { "octets an SA" } else { "octets a selector" },
                lines: lines(figures, &names, first, |one| one.octets),
            });
        }
        rows.push(row);
    }
    rows
}

/// Decades around values, a part of one at least.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (lo, hi) = values.fold((f64::INFINITY, 0.0_f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
    lo * 0.7..hi * 1.5
}

/// 1000 and more as `1k`, `1M`; nothing but for 1, 2 and 5 of a decade, which have room.
fn label(value: &f64) -> String {
    let digit = value / 10_f64.powf((value.log10() + 1e-9).floor());
    if ![1.0, 2.0, 5.0].iter().any(|shown| (digit - shown).abs() < 1e-6) {
        return String::new();
    }
    match *value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

fn colour(name: &str, names: &[String]) -> RGBColor {
    let mut tables: Vec<&str> = Vec::new();
    for name in names {
        if !tables.contains(&table(name)) {
            tables.push(table(name));
        }
    }
    let at = tables.iter().position(|listed| *listed == table(name)).unwrap_or(0);
    COLOURS[at % COLOURS.len()]
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(area: &Area<'_>, chart: &Chart, names: &[String]) -> Result<(), Box<dyn Error>> {
    let points = || chart.lines.iter().flat_map(|(_, line)| line.iter().copied());
    let (x, y) = (span(points().map(|(x, _)| x)), span(points().map(|(_, y)| y)));
    let mut drawn = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, 16))
        .margin(8)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    drawn
        .configure_mesh()
        .x_desc(chart.x)
        .y_desc(chart.y)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(220, 220, 220))
        .draw()?;
    for (name, line) in &chart.lines {
        let style = colour(name, names).stroke_width(2);
        if dashed(name) {
            drawn.draw_series(DashedLineSeries::new(line.iter().copied(), 6, 4, style))?;
        } else {
            drawn.draw_series(LineSeries::new(line.iter().copied(), style))?;
        }
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour(name, names).filled());
        drawn.draw_series(line.iter().map(dot))?;
    }
    Ok(())
}

fn legend(area: &Area<'_>, names: &[String]) -> Result<(), Box<dyn Error>> {
    for (at, name) in names.iter().enumerate() {
        let y = 40 + 22 * at as i32;
        let style = colour(name, names).stroke_width(2);
        let ends = if dashed(name) { vec![(0, 8), (12, 20), (24, 30)] } else { vec![(0, 30)] };
        for (from, to) in ends {
            area.draw(&PathElement::new(vec![(from, y), (to, y)], style))?;
        }
        let text = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name.as_str(), (38, y), text))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut figures: BTreeMap<Key, Vec<Figure>> = BTreeMap::new();
    for file in &options.files {
        for line in std::fs::read_to_string(file)?.lines().filter(|line| !line.is_empty()) {
            if let Some((key, figure)) = read(line, &options)? {
                figures.entry(key).or_default().push(figure);
            }
        }
    }
    let rows = rows(figures);
    if rows.is_empty() {
        return Err("no figures of two sizes of one table".into());
    }
    let root = SVGBackend::new(&options.out, (WIDTH, HEIGHT * rows.len() as u32));
    let root = root.into_drawing_area();
    // Else a dark viewer shows black on black.
    root.fill(&WHITE)?;
    for (row, area) in rows.iter().zip(root.split_evenly((rows.len(), 1))) {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in row.iter().flat_map(|chart| &chart.lines) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let (charts, beside) = area.split_horizontally(WIDTH - LEGEND);
        for (chart, area) in row.iter().zip(charts.split_evenly((1, row.len()))) {
            draw(&area, chart, &names)?;
        }
        legend(&beside, &names)?;
    }
    root.present()?;
    eprintln!("{}", options.out);
    Ok(())
}
