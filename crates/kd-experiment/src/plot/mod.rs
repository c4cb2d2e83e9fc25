//! Plots and pictures as SVG: readable fonts, colours that colour-blind people can tell apart, the
//! same bytes for the same input.

mod canvas;
mod heat_map;
mod images;
mod lines;
mod scale;

pub use heat_map::HeatMap;
pub use images::{GrayImage, ImageBars, ImageRow};
pub use lines::{LinePlot, PlotPoint, PlotSeries, ReferenceLine, ReferenceValue};
pub use scale::Scale;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, offset: f64) -> PlotSeries {
        let points = [1.0, 2.0, 4.0, 8.0, 16.0].map(|x: f64| PlotPoint {
            x,
            mean: offset + 60.0 / x,
            std: Some(4.0),
        });
        PlotSeries { name: name.into(), points: points.to_vec() }
    }

    fn plot() -> LinePlot {
        LinePlot {
            title: "Test errors of the student by temperature".into(),
            x_label: "temperature".into(),
            y_label: "test errors".into(),
            x_scale: Scale::Log,
            y_scale: Scale::Linear,
            series: vec![
                curve("300 units", 70.0),
                curve("30 units", 85.0),
                curve("a & b <c>", 95.0),
            ],
            references: vec![
                ReferenceLine {
                    name: "paper: 74 errors (section 3, page 4)".into(),
                    value: ReferenceValue::Level(74.0),
                },
                ReferenceLine {
                    name: "paper, by temperature".into(),
                    value: ReferenceValue::Points(vec![(1.0, 120.0), (8.0, 80.0)]),
                },
            ],
        }
    }

    fn picture() -> ImageBars {
        let pixels = (0..28 * 28)
            .map(|i| if (i % 28 + i / 28) % 9 < 3 { 40 + (i % 200) as u8 } else { 0 })
            .collect();
        let image = GrayImage { width: 28, pixels };
        let mut sharp = vec![0.001; 10];
        sharp[2] = 0.991;
        let soft = vec![0.05, 0.05, 0.4, 0.2, 0.02, 0.05, 0.03, 0.1, 0.05, 0.05];
        let row = ImageRow {
            caption: "label 2".into(),
            image,
            bars: vec![sharp, soft],
            highlight: Some(2),
        };
        ImageBars {
            title: "Digits beside their soft targets".into(),
            columns: vec!["T = 1".into(), "T = 20".into()],
            classes: (0..10).map(|class| class.to_string()).collect(),
            rows: vec![row.clone(), row],
        }
    }

    /// Our own pins: drawings that people have looked at. No other program makes them.
    #[test]
    fn drawings_have_the_bytes_of_those_that_were_looked_at() {
        let mut small = plot();
        small.series.truncate(1);
        small.series[0].points.truncate(3);
        small.references.truncate(1);
        insta::assert_snapshot!("plot", small.to_svg());
        let mut small = picture();
        small.rows.truncate(1);
        small.rows[0].image = GrayImage { width: 2, pixels: vec![0, 80, 160, 240] };
        insta::assert_snapshot!("picture", small.to_svg().unwrap());
    }

    #[test]
    fn names_are_escaped_and_every_series_and_reference_is_in_the_legend() {
        let svg = plot().to_svg();
        for text in ["300 units", "a &amp; b &lt;c&gt;", "paper, by", "sans-serif", "</svg>"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn numbers_without_a_place_on_the_axis_are_left_out() {
        let mut odd = plot();
        odd.series[0].points.push(PlotPoint { x: 0.0, mean: 1.0, std: None });
        odd.series[0].points.push(PlotPoint { x: 4.0, mean: f64::NAN, std: None });
        assert_eq!(odd.to_svg(), plot().to_svg());
        assert!(LinePlot::default().to_svg().contains("</svg>"));
    }

    #[test]
    fn a_picture_that_does_not_fit_is_refused() {
        let mut short = picture();
        short.rows[0].bars[0].pop();
        assert!(short.to_svg().unwrap_err().to_string().contains("expected 10 values"));
        let mut ragged = picture();
        ragged.rows[1].image.pixels.pop();
        assert!(
            ragged
                .to_svg()
                .unwrap_err()
                .to_string()
                .contains("row 1: expected a rectangular image")
        );
    }
}
