//! A plot: bars of wall time on a logarithmic scale, as SVG by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::peer::{Peer, Step};
use super::report::{Row, step_name};
use super::usage::seconds;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 180.0;
const RIGHT: f64 = 60.0;
const BAR: f64 = 15.0;
const OURS: &str = "#d9480f";
const THEIRS: &str = "#868e96";

/// Bars of every row, grouped by step, the fastest of a group first.
pub(super) fn bars(title: &str, rows: &BTreeMap<Peer, Row>) -> String {
    let mut groups = Vec::new();
    for step in [Step::Full, Step::Incremental, Step::Restore] {
        let mut bars: Vec<(Peer, f64)> = rows
            .iter()
            .filter_map(|(peer, row)| Some((*peer, row.wall(step)?)))
            .collect();
        bars.sort_by(|one, other| one.1.total_cmp(&other.1));
        if !bars.is_empty() {
            groups.push((step, bars));
        }
    }
    let walls = || {
        groups
            .iter()
            .flat_map(|(_, bars)| bars)
            .map(|(_, wall)| wall.max(0.001))
    };
    let least = walls().fold(f64::MAX, f64::min) / 2.0;
    let most = walls().fold(least * 2.0, f64::max);
    let length =
        |wall: f64| (wall.max(0.001) / least).ln() / (most / least).ln() * (WIDTH - LEFT - RIGHT);

    let mut body = String::new();
    let mut y = 44.0;
    for (step, bars) in &groups {
        let _ = writeln!(
            body,
            r#"<text x="{LEFT}" y="{y}" font-weight="bold">{}</text>"#,
            step_name(*step)
        );
        y += 8.0;
        for (peer, wall) in bars {
            let colour = if peer.ours().is_some() { OURS } else { THEIRS };
            let (long, text) = (length(*wall), y + BAR - 4.0);
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{text}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{long:.1}" height="{}" fill="{colour}"/><text x="{:.1}" y="{text}">{} s</text>"#,
                LEFT - 6.0,
                peer.name(),
                BAR - 3.0,
                LEFT + long + 5.0,
                seconds(*wall),
            );
            y += BAR;
        }
        y += 24.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title} volume: seconds, logarithmic</text>\n{body}</svg>\n"
    )
}
