//! The plots, as SVG.

use super::results::Results;
use super::servers::Kind;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;
const TOP: f64 = 56.0;

/// What grows by tens from one scenario to the next but one, and what that costs.
pub struct Growth {
    /// The plot's file.
    pub file: &'static str,
    /// What is shown.
    pub title: &'static str,
    /// What there is more and more of.
    unit: &'static str,
    points: &'static [(&'static str, f64)],
}

/// The plots of growth.
pub const GROWTHS: [Growth; 4] = [
    Growth {
        file: "connections.svg",
        title: "CPU time per echo as connections grow, one message in flight on each",
        unit: "connections",
        points: &[
            ("echo-100", 100.0),
            ("echo-1000", 1_000.0),
            ("echo-10000", 10_000.0),
        ],
    },
    Growth {
        file: "namespaces.svg",
        title: "CPU time per echo as namespaces grow, 10,000 connections, the same plugin in each",
        unit: "namespaces",
        points: &[
            ("echo-10000", 1.0),
            ("namespaces-10", 10.0),
            ("namespaces-100", 100.0),
        ],
    },
    Growth {
        file: "namespaces-different.svg",
        title: "The same with a plugin of its own in each",
        unit: "namespaces",
        points: &[
            ("echo-10000", 1.0),
            ("namespaces-10-different", 10.0),
            ("namespaces-100-different", 100.0),
        ],
    },
    Growth {
        file: "rooms.svg",
        title: "CPU time per delivery as rooms grow, 100 members in each, one publish in flight",
        unit: "rooms",
        points: &[
            ("rooms-1", 1.0),
            ("rooms-100", 100.0),
            ("rooms-10000", 10_000.0),
        ],
    },
];

/// The servers that are drawn, with their colour.
const SERVERS: [(Kind, &str); 6] = [
    (Kind::Tulpar, "#0b7285"),
    (Kind::Native, "#66d9e8"),
    (Kind::Bun, "#f08c00"),
    (Kind::Ws, "#74b816"),
    (Kind::Bare, "#868e96"),
    (Kind::BareBatched, "#ced4da"),
];

/// What each scenario costs on each server, with raw Bun as one.
pub fn ratios(results: &Results) -> String {
    const LONGEST: f64 = 3.0;
    let scale = (WIDTH - LEFT - 60.0) / LONGEST;
    let mut y = TOP;
    let mut body = String::new();
    for measured in results.scenarios() {
        let top = y;
        for (kind, colour) in SERVERS {
            let Some(ratio) = measured.ratio(kind, Kind::Bun) else {
                continue;
            };
            let length = ratio.clamp(0.0, LONGEST) * scale;
            body += &format!(
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n{}",
                label(
                    LEFT + length + 5.0,
                    y + BAR - 2.0,
                    "start",
                    &format!("{ratio:.2}")
                )
            );
            y += BAR + 1.0;
        }
        if y == top {
            continue;
        }
        body += &label(
            LEFT - 8.0,
            f64::midpoint(top, y) + 3.0,
            "end",
            measured.title,
        );
        y += GAP;
    }
    let one = LEFT + scale;
    body += &format!(
        "<line x1=\"{one:.1}\" y1=\"{:.1}\" x2=\"{one:.1}\" y2=\"{y:.1}\" stroke=\"#f08c00\" stroke-dasharray=\"3 3\"/>\n",
        TOP - 6.0
    );
    picture(
        "CPU time per message (memory per connection when idle), raw Bun = 1; less is better",
        &SERVERS,
        y,
        &body,
    )
}

impl Growth {
    /// The plot. None when not all of it was measured on any server.
    pub fn draw(&self, results: &Results) -> Option<String> {
        const HEIGHT: f64 = 300.0;
        let (first, last) = (self.points.first()?.1, self.points.last()?.1);
        let costs = |kind| {
            let costs = self
                .points
                .iter()
                .map(|(name, count)| Some((*count, results.cost(name, kind)?.median)));
            costs.collect::<Option<Vec<_>>>()
        };
        let lines: Vec<_> = SERVERS
            .iter()
            .filter_map(|server| Some((costs(server.0)?, *server)))
            .collect();
        let most = lines
            .iter()
            .flat_map(|(line, _)| line)
            .map(|(_, cost)| *cost)
            .reduce(f64::max)?;
        let x =
            |count: f64| 80.0 + (count / first).log10() / (last / first).log10() * (WIDTH - 200.0);
        let y = |cost: f64| TOP + HEIGHT - cost / most * (HEIGHT - 20.0);
        let mut body = String::new();
        for tick in 0..=4 {
            let cost = most * f64::from(tick) / 4.0;
            body += &format!(
                "<line x1=\"70\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\" stroke=\"#dee2e6\"/>\n{2}",
                y(cost),
                WIDTH - 110.0,
                label(64.0, y(cost) + 4.0, "end", &format!("{cost:.1} µs"))
            );
        }
        for (_, count) in self.points {
            let text = format!("{count} {}", self.unit);
            body += &label(x(*count), TOP + HEIGHT + 20.0, "middle", &text);
        }
        for (line, (_, colour)) in &lines {
            let points: Vec<_> = line
                .iter()
                .map(|(count, cost)| format!("{:.1},{:.1}", x(*count), y(*cost)))
                .collect();
            body += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\n",
                points.join(" ")
            );
        }
        let servers: Vec<_> = lines.iter().map(|(_, server)| *server).collect();
        Some(picture(self.title, &servers, TOP + HEIGHT + 24.0, &body))
    }
}

fn picture(title: &str, servers: &[(Kind, &str)], bottom: f64, body: &str) -> String {
    let mut legend = String::new();
    for (index, (kind, colour)) in servers.iter().enumerate() {
        let x = 80.0 + index as f64 * 125.0;
        legend +=
            &format!("<rect x=\"{x}\" y=\"28\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\n");
        legend += &label(x + 16.0, 38.0, "start", kind.title());
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"80\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{title}</text>\n{legend}{body}</svg>\n",
        height = bottom + 14.0
    )
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}
