//! Just enough SVG for a plot: shapes and text in the reader's own sans-serif font, with a title and a description for
//! those who cannot see it.

use std::fmt::{Display, Write as _};

/// A picture being drawn; the origin is its upper left corner, units are pixels.
pub struct Svg {
    text: String,
}

/// Where a text stands from its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// A white picture.
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title description\" font-family=\"sans-serif\" \
             font-size=\"12\" fill=\"#222\">\n<title id=\"title\">{}</title>\n<desc id=\"description\">{}</desc>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
            Escaped(title),
            Escaped(description),
        );
        Self { text }
    }

    /// A straight line. `style` is a list of attributes, here and below.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], style: &str) {
        let mut data = String::new();
        for (x, y) in points {
            let _ = write!(data, "{}{x:.1},{y:.1}", if data.is_empty() { "" } else { " " });
        }
        self.add(format_args!("<polyline points=\"{data}\" {style}/>"));
    }

    /// A circle.
    pub fn circle(&mut self, centre: (f64, f64), radius: f64, style: &str) {
        self.add(format_args!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" {style}/>", centre.0, centre.1));
    }

    /// A text.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, text: impl Display, style: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" {style}>{}</text>",
            at.0,
            at.1,
            Escaped(&text.to_string())
        ));
    }

    /// The file.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{element}");
    }
}

/// Text as XML takes it; control characters, which it does not, are dropped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')) {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut svg = Svg::new(10.0, 10.0, "<b>&\"", "d");
        svg.text((1.0, 2.0), Anchor::Middle, "</text><script>\u{7}", "");
        let text = svg.finish();
        assert!(text.contains("<title id=\"title\">&lt;b&gt;&amp;&quot;</title>"), "{text}");
        assert!(text.contains(">&lt;/text&gt;&lt;script&gt;</text>"), "{text}");
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    }
}
