//! Plots in SVG.

use std::fmt::Write as _;

use crate::commands::load::report::axis::Axis;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// A line of a plot.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws lines, each in a colour of the page's style: `line-1` and so on. Texts are literals of the
/// program and numbers, so that nothing has to be escaped.
pub(crate) fn draw(title: &'static str, horizontal: &Axis, vertical: &Axis, lines: &[Line]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{title}</title>\n"
    );
    for (value, name) in &vertical.marks {
        let y = y(vertical, *value);
        push(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            ),
        );
        push(
            &mut svg,
            format_args!(
                "<text class=\"mark\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                LEFT - 8.0,
                y + 4.0
            ),
        );
    }
    for (value, name) in &horizontal.marks {
        let x = x(horizontal, *value);
        let bottom = HEIGHT - BOTTOM;
        push(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom:.1}\" y2=\"{:.1}\"/>",
                bottom + 5.0
            ),
        );
        push(
            &mut svg,
            format_args!(
                "<text class=\"mark\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{name}</text>",
                bottom + 18.0
            ),
        );
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    push(
        &mut svg,
        format_args!(
            "<text class=\"mark\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            HEIGHT - 8.0,
            horizontal.label
        ),
    );
    push(&mut svg, format_args!("<text class=\"mark\" x=\"4\" y=\"14\">{}</text>", vertical.label));
    for (number, line) in lines.iter().enumerate() {
        draw_line(&mut svg, number, line, horizontal, vertical);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_line(svg: &mut String, number: usize, line: &Line, horizontal: &Axis, vertical: &Axis) {
    let class = number + 1;
    let points: Vec<(f64, f64)> =
        line.points.iter().map(|(at, value)| (x(horizontal, *at), y(vertical, *value))).collect();
    let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    push(svg, format_args!("<polyline class=\"line line-{class}\" points=\"{}\"/>", text.join(" ")));
    if let [(x, y)] = points[..] {
        push(svg, format_args!("<circle class=\"dot line-{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"));
    }
    let place = LEFT + 120.0 + 170.0 * number as f64;
    push(
        svg,
        format_args!(
            "<line class=\"line line-{class}\" x1=\"{place:.1}\" x2=\"{:.1}\" y1=\"10\" y2=\"10\"/>",
            place + 18.0
        ),
    );
    push(svg, format_args!("<text class=\"mark\" x=\"{:.1}\" y=\"14\">{}</text>", place + 24.0, line.name));
}

fn x(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn y(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_runs_from_corner_to_corner() {
        let horizontal = Axis::linear("seconds", [10.0].into_iter());
        let vertical = Axis::linear("messages", [100.0].into_iter());
        let line = Line { name: "published", points: vec![(0.0, 0.0), (10.0, 100.0)] };
        let svg = draw("throughput", &horizontal, &vertical, &[line]);
        assert!(svg.contains("points=\"72.0,236.0 744.0,28.0\""), "{svg}");
        assert!(svg.contains(">published</text>") && svg.contains(">100</text>"), "{svg}");
    }

    #[test]
    fn a_single_point_is_seen() {
        let axis = Axis::linear("seconds", [1.0].into_iter());
        let svg = draw("one", &axis, &axis, &[Line { name: "one", points: vec![(1.0, 1.0)] }]);
        assert!(svg.contains("<circle"), "{svg}");
    }
}
