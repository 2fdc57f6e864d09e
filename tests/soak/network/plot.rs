//! What the server held, as an SVG.

use super::Sample;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;

/// Two plots, one below the other: memory and descriptors over the time.
pub fn draw(samples: &[Sample]) -> String {
    let memory = |sample: &Sample| sample.resident_bytes as f64 / f64::from(1 << 20);
    let descriptors = |sample: &Sample| sample.descriptors as f64;
    let body = plot(samples, 0.0, "Resident memory, MiB", "#0b7285", memory)
        + &plot(
            samples,
            HEIGHT + 80.0,
            "Open descriptors",
            "#f08c00",
            descriptors,
        );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        2.0 * (HEIGHT + 80.0)
    )
}

fn plot(
    samples: &[Sample],
    down: f64,
    title: &str,
    colour: &str,
    value: impl Fn(&Sample) -> f64,
) -> String {
    let most = samples.iter().map(&value).fold(1.0, f64::max);
    let last = samples.last().map_or(1.0, |sample| sample.seconds);
    let x = |seconds: f64| LEFT + seconds / last * (WIDTH - LEFT - 20.0);
    let y = |value: f64| down + TOP + HEIGHT - value / most * HEIGHT;
    let mut body = format!(
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"bold\">{title}</text>\n",
        down + 22.0
    );
    for tick in 0..=4 {
        let part = f64::from(tick) / 4.0;
        body += &format!(
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\" stroke=\"#dee2e6\"/>\n\
             <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{4:.0}</text>\n\
             <text x=\"{5:.1}\" y=\"{6:.1}\" text-anchor=\"middle\">{7:.0} s</text>\n",
            y(most * part),
            WIDTH - 20.0,
            LEFT - 6.0,
            y(most * part) + 4.0,
            most * part,
            x(last * part),
            down + TOP + HEIGHT + 18.0,
            last * part,
        );
    }
    let points: Vec<_> = samples
        .iter()
        .map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(value(sample))))
        .collect();
    body += &format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
        points.join(" ")
    );
    body
}
