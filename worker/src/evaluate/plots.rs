//! The two plots of ISO/IEC 19795-1: detection error trade-off and score histogram.

use proofmill_face::OperatingPoint;

use super::scores::{Scores, round_step};
use super::statistics::{CONFIDENCE, Proportion};
use super::svg::{Anchor, Svg};

/// Colours that differ for every kind of colour vision (M. Okabe and K. Ito, 2008).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555"];
/// So that they differ in black and white, too.
const DASHES: [&str; 7] = ["none", "8 4", "2 3", "8 3 2 3", "12 3", "5 2", "1 2"];
/// Curves that can be told apart in one plot.
pub const MOST_CURVES: usize = COLOURS.len();

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = HEIGHT - 62.0;

/// One line of the trade-off.
pub struct Curve<'a> {
    /// What it is of.
    pub name: &'a str,
    /// Its distances.
    pub scores: &'a Scores,
}

/// The detection error trade-off: false-non-match rate over false-match rate, both logarithmic, with a strip for rates of
/// which nothing was observed. The operating points are marked on the first curve, with their 95 % intervals.
pub fn trade_off(subject: &str, curves: &[Curve<'_>], points: &[OperatingPoint]) -> String {
    let most = |count: fn(&Scores) -> usize| curves.iter().map(|curve| count(curve.scores)).max().unwrap_or(0);
    let across = LogAxis::new(most(|scores| scores.impostor().len()));
    let up = LogAxis::new(most(|scores| scores.genuine().len()));
    let place =
        |fmr: f64, fnmr: f64| (LEFT + across.share(fmr) * (RIGHT - LEFT), BOTTOM - up.share(fnmr) * (BOTTOM - TOP));
    let mut svg = Svg::new(
        WIDTH,
        HEIGHT,
        &format!("Detection error trade-off, {subject}"),
        "False-non-match rate over false-match rate on logarithmic axes, for every threshold.",
    );
    svg.text((LEFT, 24.0), Anchor::Start, format!("Detection error trade-off, {subject}"), "font-size=\"15\"");
    for tick in across.ticks() {
        let (x, _) = place(tick, 0.0);
        svg.line((x, TOP), (x, BOTTOM), GRID);
        svg.text((x, BOTTOM + 18.0), Anchor::Middle, tick, "");
    }
    for tick in up.ticks() {
        let (_, y) = place(0.0, tick);
        svg.line((LEFT, y), (RIGHT, y), GRID);
        svg.text((LEFT - 8.0, y + 4.0), Anchor::End, tick, "");
    }
    frame(&mut svg, "False-match rate (0: none observed)", "False-non-match rate (0: none observed)");
    for ((curve, colour), dash) in curves.iter().zip(COLOURS).zip(DASHES) {
        let mut line: Vec<(f64, f64)> = Vec::new();
        for step in curve.scores.steps() {
            let rates = step.false_match_rate.rate().zip(step.false_non_match_rate.rate());
            let Some((fmr, fnmr)) = rates else { continue };
            let at = place(fmr, fnmr);
            // What cannot be told apart on paper would only make the file large.
            let near = line.last().is_some_and(|last| (last.0 - at.0).abs() < 0.2 && (last.1 - at.1).abs() < 0.2);
            if !near {
                line.push(at);
            }
        }
        let style = format!(
            "fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-dasharray=\"{dash}\""
        );
        svg.path(&line, &style);
    }
    if let Some(first) = curves.first() {
        for point in points {
            let rates = first.scores.rates(point.threshold);
            mark(&mut svg, &place, (rates.false_match_rate, rates.false_non_match_rate), point);
        }
    }
    legend(&mut svg, curves.iter().map(|curve| curve.name), |svg, index, from, to| {
        let (colour, dash) = (COLOURS.get(index).unwrap_or(&"#222"), DASHES.get(index).unwrap_or(&"none"));
        svg.line(from, to, &format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\""));
    });
    svg.finish()
}

/// The shares of genuine and of impostor distances, with the operating points' thresholds.
pub fn histogram(subject: &str, scores: &Scores, points: &[OperatingPoint]) -> String {
    let thresholds: Vec<f64> = points.iter().map(|point| f64::from(point.threshold)).collect();
    let observed = scores.range().map_or((0.0, 1.0), |(low, high)| (f64::from(low), f64::from(high)));
    let low = thresholds.iter().copied().fold(observed.0, f64::min);
    let high = thresholds.iter().copied().fold(observed.1, f64::max);
    let width = round_step(high - low, 50.0);
    let (first, last) = ((low / width).floor(), (high / width).floor() + 1.0);
    let bins = (last - first) as usize;
    let kinds = [("genuine", scores.genuine()), ("impostor", scores.impostor())];
    let shares = kinds.map(|(_, distances)| {
        let mut shares = vec![0.0f64; bins];
        for distance in distances {
            let bin = (f64::from(*distance) / width).floor() - first;
            if let Some(share) = shares.get_mut(bin.max(0.0) as usize) {
                *share += 1.0 / distances.len() as f64;
            }
        }
        shares
    });
    let tallest = shares.iter().flatten().copied().fold(0.05, f64::max);
    let step = round_step(tallest, 5.0);
    let top = (tallest / step).ceil() * step;
    let place = |distance: f64, share: f64| {
        let x = LEFT + (distance / width - first) / (last - first) * (RIGHT - LEFT);
        (x, BOTTOM - share / top * (BOTTOM - TOP))
    };

    let mut svg = Svg::new(
        WIDTH,
        HEIGHT,
        &format!("Distances, {subject}"),
        "Shares of the distances of genuine and of impostor comparisons, and the thresholds of the operating points.",
    );
    svg.text((LEFT, 24.0), Anchor::Start, format!("Distances, {subject}"), "font-size=\"15\"");
    let ticks = round_step(high - low, 10.0);
    let mut tick = (first * width / ticks).ceil() * ticks;
    while tick <= last * width + 1e-9 {
        let (x, _) = place(tick, 0.0);
        svg.line((x, BOTTOM), (x, BOTTOM + 5.0), AXIS);
        svg.text((x, BOTTOM + 18.0), Anchor::Middle, rounded(tick, ticks), "");
        tick += ticks;
    }
    let mut share = 0.0;
    while share <= top + 1e-9 {
        let (_, y) = place(0.0, share);
        svg.line((LEFT, y), (RIGHT, y), GRID);
        svg.text((LEFT - 8.0, y + 4.0), Anchor::End, rounded(share, step), "");
        share += step;
    }
    frame(&mut svg, "Distance", "Share of the comparisons of its kind");
    for ((shares, colour), dash) in shares.iter().zip(COLOURS).zip(["none", "6 3"]) {
        let mut outline = vec![place(first * width, 0.0)];
        for (index, share) in shares.iter().enumerate() {
            let left = (first + index as f64) * width;
            outline.push(place(left, *share));
            outline.push(place(left + width, *share));
        }
        outline.push(place(last * width, 0.0));
        let style = format!(
            "fill=\"{colour}\" fill-opacity=\"0.25\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dash}\""
        );
        svg.path(&outline, &style);
    }
    for (index, (point, threshold)) in points.iter().zip(&thresholds).enumerate() {
        let (x, _) = place(*threshold, 0.0);
        svg.line((x, TOP), (x, BOTTOM), "stroke=\"#222\" stroke-width=\"1\" stroke-dasharray=\"3 3\"");
        let label = format!("{} {}", point.name, point.threshold);
        svg.text((x + 4.0, TOP + 14.0 + 15.0 * index as f64), Anchor::Start, label, "font-size=\"11\"");
    }
    let names = kinds.map(|(name, distances)| format!("{name} ({})", distances.len()));
    legend(&mut svg, names.iter().map(String::as_str), |svg, index, from, to| {
        let colour = COLOURS.get(index).unwrap_or(&"#222");
        svg.line(from, to, &format!("stroke=\"{colour}\" stroke-width=\"9\" stroke-opacity=\"0.4\""));
    });
    svg.finish()
}

const GRID: &str = "stroke=\"#ddd\" stroke-width=\"1\"";
const AXIS: &str = "stroke=\"#222\" stroke-width=\"1\"";

/// The axes' lines and names.
fn frame(svg: &mut Svg, across: &str, up: &str) {
    svg.line((LEFT, BOTTOM), (RIGHT, BOTTOM), AXIS);
    svg.line((LEFT, TOP), (LEFT, BOTTOM), AXIS);
    svg.text(((LEFT + RIGHT) / 2.0, HEIGHT - 16.0), Anchor::Middle, across, "");
    let middle = (TOP + BOTTOM) / 2.0;
    svg.text((20.0, middle), Anchor::Middle, up, &format!("transform=\"rotate(-90 20 {middle:.1})\""));
}

/// Names beside samples of their lines, in the upper right corner, where neither plot has much to show.
fn legend<'a>(
    svg: &mut Svg,
    names: impl Iterator<Item = &'a str>,
    mut sample: impl FnMut(&mut Svg, usize, (f64, f64), (f64, f64)),
) {
    for (index, name) in names.enumerate() {
        let y = TOP + 14.0 + 18.0 * index as f64;
        sample(svg, index, (RIGHT - 42.0, y - 4.0), (RIGHT - 12.0, y - 4.0));
        svg.text((RIGHT - 50.0, y), Anchor::End, name, "");
    }
}

/// An operating point with the intervals of both rates.
fn mark(
    svg: &mut Svg,
    place: &impl Fn(f64, f64) -> (f64, f64),
    (fmr, fnmr): (Proportion, Proportion),
    point: &OperatingPoint,
) {
    let Some((x, y)) = fmr.rate().zip(fnmr.rate()) else { return };
    let (across, up) = (fmr.interval(CONFIDENCE), fnmr.interval(CONFIDENCE));
    let bar = "stroke=\"#222\" stroke-width=\"1.5\"";
    svg.line(place(across.0, y), place(across.1, y), bar);
    svg.line(place(x, up.0), place(x, up.1), bar);
    for end in [across.0, across.1] {
        let (x, y) = place(end, y);
        svg.line((x, y - 5.0), (x, y + 5.0), bar);
    }
    for end in [up.0, up.1] {
        let (x, y) = place(x, end);
        svg.line((x - 5.0, y), (x + 5.0, y), bar);
    }
    let at = place(x, y);
    svg.circle(at, 4.5, "fill=\"#fff\" stroke=\"#222\" stroke-width=\"1.5\"");
    let label = format!("{} {}", point.name, point.threshold);
    svg.text((at.0 + 8.0, at.1 - 8.0), Anchor::Start, label, "font-size=\"11\"");
}

/// Rates from one in `trials` to one, over the strip for zero.
struct LogAxis {
    decades: i32,
}

/// How much of an axis stands for zero, and where in it zero lies: off the axis, so that a line along it can be seen.
const ZERO: f64 = 0.07;
const AT_ZERO: f64 = 0.02;

impl LogAxis {
    fn new(trials: usize) -> Self {
        Self { decades: (trials.max(10) as f64).log10().ceil() as i32 }
    }

    /// Where a rate lies, from 0 to 1.
    fn share(&self, rate: f64) -> f64 {
        if rate <= 0.0 {
            return AT_ZERO;
        }
        let decades = f64::from(self.decades);
        ZERO + (1.0 - ZERO) * ((rate.log10() + decades) / decades).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        std::iter::once(0.0).chain((-self.decades..=0).map(|power| 10f64.powi(power))).collect()
    }
}

/// A multiple of `step` without the dust of binary fractions.
fn rounded(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<OperatingPoint> {
        vec![OperatingPoint {
            name: "a <point>".to_owned(),
            threshold: 0.6,
            false_match_rate: None,
            impostor_comparisons: None,
            false_matches: None,
            evidence: String::new(),
        }]
    }

    fn polyline(svg: &str, number: usize) -> Vec<(f64, f64)> {
        let data = svg.split("<polyline points=\"").nth(number + 1).unwrap().split('"').next().unwrap();
        let point = |text: &str| {
            let (x, y) = text.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        data.split(' ').map(point).collect()
    }

    #[test]
    fn the_trade_off_runs_from_all_rejected_to_all_accepted() {
        let scores = Scores::new(vec![0.3, 0.4, 0.7], vec![0.5, 0.8, 0.9, 1.0]);
        let svg = trade_off("test", &[Curve { name: "all", scores: &scores }], &points());
        let line = polyline(&svg, 0);
        let (first, last) = (line[0], line[line.len() - 1]);
        assert!(first.0 < LEFT + 20.0 && first.1 == TOP, "nothing matches: FMR 0, FNMR 1: {first:?}");
        assert!(last.0 == RIGHT && last.1 > BOTTOM - 20.0, "everything matches: FMR 1, FNMR 0: {last:?}");
        for pair in line.windows(2) {
            assert!(pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1, "{pair:?}");
        }
        assert!(svg.contains("a &lt;point&gt; 0.6") && svg.contains("<title"), "{svg}");
    }

    #[test]
    fn the_histogram_holds_every_distance() {
        let scores = Scores::new(vec![0.31, 0.33, 0.52], vec![0.7, 0.9, 1.2]);
        let svg = histogram("test", &scores, &points());
        for kind in 0..2 {
            let outline = polyline(&svg, kind);
            // Every bin is two points wide; the heights of all bins together are those of a share of one.
            let heights: f64 = outline[1..outline.len() - 1].chunks(2).map(|bin| BOTTOM - bin[0].1).sum();
            let tallest = outline.iter().map(|point| BOTTOM - point.1).fold(0.0, f64::max);
            // Three distances in three bins of one height.
            assert!((heights / tallest - 3.0).abs() < 0.01, "{outline:?}");
        }
        assert!(svg.contains("genuine (3)") && svg.contains("impostor (3)"));
    }

    #[test]
    fn plots_of_nothing_and_of_one_distance_are_plots() {
        for scores in [Scores::default(), Scores::new(vec![0.5], vec![])] {
            for text in [histogram("x", &scores, &[]), trade_off("x", &[Curve { name: "x", scores: &scores }], &[])] {
                assert!(text.ends_with("</svg>\n") && !text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
    }
}
