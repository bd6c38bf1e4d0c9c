//! Plots as SVG by hand: bars of wall time on a logarithmic scale, and lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::peer::{Peer, Step};
use super::table::{Row, step_name};
use super::usage::seconds;

pub(super) const WIDTH: f64 = 760.0;
const LEFT: f64 = 180.0;
const RIGHT: f64 = 60.0;
const BAR: f64 = 15.0;
const OURS: &str = "#d9480f";
const THEIRS: &str = "#868e96";

/// Bars of every row, grouped by step, the fastest of a group first.
pub(super) fn bars(title: &str, rows: &BTreeMap<Peer, Row>) -> String {
    let mut groups = Vec::new();
    for step in [
        Step::Full,
        Step::Unchanged,
        Step::Incremental,
        Step::Restore,
    ] {
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
    page(&format!("{title} volume: seconds, logarithmic"), y, &body)
}

const HEIGHT: f64 = 360.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 30.0;
const MARGIN: f64 = 60.0;
/// Room for the names of lines, which stand at their right ends.
const NAMES: f64 = 250.0;
pub(super) const COLOURS: [&str; 4] = ["#d9480f", "#1864ab", "#2b8a3e", "#868e96"];

/// What both axes of a plot of lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// Powers of two; what is not above 0 is not shown.
    Logarithmic,
}

/// A line of a plot.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Not measured. It has the colour of the line before it.
    pub(super) is_dashed: bool,
}

/// Lines with their names beside them.
pub(super) fn lines(title: &str, scale: Scale, all: &[Line]) -> String {
    let shown = |(x, y): &(f64, f64)| scale == Scale::Linear || (*x > 0.0 && *y > 0.0);
    let points = || {
        all.iter()
            .flat_map(|line| &line.points)
            .filter(|point| shown(point))
    };
    let across = Axis::of(scale, points().map(|point| point.0), MARGIN, WIDTH - NAMES);
    let up = Axis::of(scale, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
    let mut body = String::new();
    for value in across.ticks() {
        let x = across.place(value);
        let _ = writeln!(
            body,
            r##"<path d="M{x:.1} {TOP} V{:.1}" stroke="#e9ecef"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{value}</text>"##,
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 15.0,
        );
    }
    for value in up.ticks() {
        let y = up.place(value);
        let _ = writeln!(
            body,
            r##"<path d="M{MARGIN} {y:.1} H{:.1}" stroke="#e9ecef"/><text x="{:.1}" y="{:.1}" text-anchor="end">{value}</text>"##,
            WIDTH - NAMES,
            MARGIN - 6.0,
            y + 4.0,
        );
    }
    let mut colour = COLOURS.iter().cycle();
    let mut drawn_in = COLOURS[0];
    for (index, line) in (0_u32..).zip(all) {
        if !line.is_dashed {
            drawn_in = colour.next().unwrap_or(&drawn_in);
        }
        let dashes = if line.is_dashed {
            r#" stroke-dasharray="5 4""#
        } else {
            ""
        };
        let mut path = String::new();
        for (x, y) in line.points.iter().filter(|point| shown(point)) {
            let pen = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{pen}{:.1} {:.1} ", across.place(*x), up.place(*y));
        }
        let y = TOP + 10.0 + 18.0 * f64::from(index);
        let x = WIDTH - NAMES + 10.0;
        let _ = writeln!(
            body,
            r#"<path d="{}" fill="none" stroke="{drawn_in}" stroke-width="1.5"{dashes}/><path d="M{x} {y} h20" stroke="{drawn_in}" stroke-width="2"{dashes}/><text x="{}" y="{}">{}</text>"#,
            path.trim_end(),
            x + 26.0,
            y + 4.0,
            line.name,
        );
    }
    page(title, HEIGHT, &body)
}

/// The picture with its title.
pub(super) fn page(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\">{title}</text>\n{body}</svg>\n"
    )
}

/// Values of one direction, and where they are drawn.
struct Axis {
    scale: Scale,
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let most = values.clone().fold(0.0, f64::max);
        let least = values.fold(f64::MAX, f64::min).min(most);
        let (least, most) = match scale {
            Scale::Linear => (0.0, if most > 0.0 { most } else { 1.0 }),
            Scale::Logarithmic if most > 0.0 => {
                let least = least.log2().floor();
                (least.exp2(), most.log2().ceil().max(least + 1.0).exp2())
            }
            Scale::Logarithmic => (1.0, 2.0),
        };
        Self {
            scale,
            least,
            most,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => value / self.most,
            Scale::Logarithmic => (value / self.least).log2() / (self.most / self.least).log2(),
        };
        self.from + part * (self.to - self.from)
    }

    /// Powers of two; or ten or fewer multiples of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.scale {
            Scale::Linear => {
                let rough = self.most / 10.0;
                let power = 10_f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
                let step = steps.into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(self.most);
                let mut count = 0_u32;
                while f64::from(count) * step <= self.most {
                    ticks.push(f64::from(count) * step);
                    count += 1;
                }
            }
            Scale::Logarithmic => {
                let mut value = self.least;
                while value <= self.most {
                    ticks.push(value);
                    value *= 2.0;
                }
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_nothing_and_has_round_ticks() {
        let axis = Axis::of(Scale::Linear, [3.0, 47.0].into_iter(), 0.0, 470.0);
        assert_eq!(axis.place(0.0), 0.0);
        assert_eq!(axis.place(47.0), 470.0);
        assert_eq!(axis.ticks().first(), Some(&0.0));
        assert_eq!(axis.ticks()[1], 5.0);
        assert_eq!(axis.ticks().last(), Some(&45.0));
        let empty = Axis::of(Scale::Linear, std::iter::empty(), 0.0, 1.0);
        assert!(empty.place(0.0).is_finite() && empty.ticks().len() > 1);
    }

    #[test]
    fn a_logarithmic_axis_goes_from_power_to_power() {
        let axis = Axis::of(Scale::Logarithmic, [3.0, 30.0].into_iter(), 0.0, 4.0);
        assert_eq!(axis.ticks(), [2.0, 4.0, 8.0, 16.0, 32.0]);
        assert_eq!(axis.place(8.0), 2.0);
    }

    #[test]
    fn a_line_that_was_not_measured_is_dashed_and_values_that_have_no_logarithm_are_left_out() {
        let line = |points: &[(f64, f64)], is_dashed| Line {
            name: "a line".to_owned(),
            points: points.to_vec(),
            is_dashed,
        };
        let all = [
            line(&[(1.0, 2.0), (2.0, 4.0)], false),
            line(&[(1.0, 0.0), (2.0, 3.0)], true),
        ];
        let plot = lines("title", Scale::Logarithmic, &all);
        assert!(plot.starts_with("<svg") && !plot.contains("NaN") && !plot.contains("inf"));
        assert_eq!(plot.matches("stroke-dasharray").count(), 2, "line and key");
        assert_eq!(
            plot.matches(COLOURS[1]).count(),
            0,
            "both are of one colour"
        );
    }
}
