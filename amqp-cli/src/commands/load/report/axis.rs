//! The axes of plots.

/// An axis: which values are where, and which have a mark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    is_logarithmic: bool,
    least: f64,
    most: f64,
    /// Values and their texts.
    pub(crate) marks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis from zero whose marks are round numbers.
    pub(crate) fn linear(label: &'static str, values: impl Iterator<Item = f64>) -> Self {
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let highest = if highest > 0.0 { highest } else { 1.0 };
        let step = round_step(highest / 5.0);
        let count = (highest / step).ceil().clamp(1.0, 20.0) as u32;
        let marks = (0..=count).map(|number| f64::from(number) * step);
        Axis {
            label,
            is_logarithmic: false,
            least: 0.0,
            most: f64::from(count) * step,
            marks: marks.map(|mark| (mark, number(mark))).collect(),
        }
    }

    /// An axis whose marks are powers of ten.
    pub(crate) fn logarithmic(label: &'static str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let least = usable.clone().fold(f64::INFINITY, f64::min);
        let most = usable.fold(0.0, f64::max);
        let (least, most) = if least <= most { (least, most) } else { (1.0, 10.0) };
        let first = least.log10().floor() as i32;
        let last = (most.log10().ceil() as i32).max(first + 1);
        let marks = (first..=last).map(|power| 10f64.powi(power));
        Axis {
            label,
            is_logarithmic: true,
            least: 10f64.powi(first),
            most: 10f64.powi(last),
            marks: marks.map(|mark| (mark, number(mark))).collect(),
        }
    }

    /// An axis of percentiles, on which each digit of nines has the same room. Its values are those
    /// of [`nines`].
    pub(crate) fn percentiles(highest: f64) -> Self {
        let most = highest.clamp(1.0, 7.0);
        let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];
        let marks = names.into_iter().enumerate().map(|(nines, name)| (nines as f64, format!("{name} %")));
        Axis {
            label: "percentile",
            is_logarithmic: false,
            least: 0.0,
            most,
            marks: marks.filter(|(nines, _)| *nines <= most).collect(),
        }
    }

    /// Where a value is, from 0 to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_logarithmic { value.max(self.least).log10() } else { value };
        let (least, most) = (scale(self.least), scale(self.most));
        ((scale(value) - least) / (most - least)).clamp(0.0, 1.0)
    }
}

/// How many digits of nines a percentile has: 90 % has one, 99 % two.
pub(crate) fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

/// The next of 1, 2 and 5 by a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A number in few signs.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{} M", round(value / 1e6)),
        large if large >= 1e3 => format!("{} k", round(value / 1e3)),
        _ => round(value),
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn marks_are_round_and_values_are_between_them() {
        let linear = Axis::linear("", [3.0, 870_000.0].into_iter());
        assert_eq!(names(&linear), ["0", "200 k", "400 k", "600 k", "800 k", "1 M"]);
        assert!((linear.place(870_000.0) - 0.87).abs() < 1e-9 && linear.place(0.0) == 0.0);
        let logarithmic = Axis::logarithmic("", [40.0, 2500.0].into_iter());
        assert_eq!(names(&logarithmic), ["10", "100", "1 k", "10 k"]);
        assert!((logarithmic.place(100.0) - 1.0 / 3.0).abs() < 1e-9 && logarithmic.place(0.0) == 0.0);
        let percentiles = Axis::percentiles(nines(99.95));
        assert_eq!(names(&percentiles), ["0 %", "90 %", "99 %", "99.9 %"]);
        assert!((percentiles.place(nines(99.95)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn without_values_there_is_an_axis_too() {
        assert_eq!(names(&Axis::linear("", [].into_iter())), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(names(&Axis::logarithmic("", [].into_iter())), ["1", "10"]);
    }
}
