//! The certificate as a PDF: one page, with a QR code that leads to the verification page. Pure.

use krilla::{
    Document,
    action::{Action, LinkAction},
    annotation::{Annotation, LinkAnnotation, Target},
    color::rgb,
    geom::{PathBuilder, Point, Rect},
    metadata::Metadata,
    page::PageSettings,
    paint::Fill,
    surface::Surface,
    text::{Font, TextDirection},
};
use lyceum_core::Error;
use ttf_parser::Face;

use crate::certificate::{Certificate, Status, day};
use crate::page::{grouped, plain};
use crate::qr::{MARGIN, Qr};

/// DejaVu Sans: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic and more in one font, free to embed.
const FONT: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");

/// A4, lying, in points.
const WIDTH: f32 = 842.0;
const HEIGHT: f32 = 595.0;
/// What text may take of the width.
const MEASURE: f32 = 690.0;

/// From one line to the next, in sizes of the letters.
const LEADING: f32 = 1.25;

/// Red, green, blue.
type Color = [u8; 3];
const INK: Color = [27, 39, 51];
const FAINT: Color = [82, 96, 109];
const WARNING: Color = [179, 38, 30];

struct Pen<'a, 's> {
    surface: &'a mut Surface<'s>,
    font: Font,
    face: Face<'static>,
}

impl Pen<'_, '_> {
    /// The width that a line takes; kerning aside.
    fn width(&self, text: &str, size: f32) -> f32 {
        let units: u32 = text
            .chars()
            .map(|letter| self.face.glyph_index(letter).unwrap_or_default())
            .map(|glyph| u32::from(self.face.glyph_hor_advance(glyph).unwrap_or_default()))
            .sum();
        // Both are far below what a float holds exactly.
        #[expect(clippy::cast_precision_loss)]
        let width = units as f32 / f32::from(self.face.units_per_em()) * size;
        width
    }

    fn line(&mut self, text: &str, x: f32, y: f32, size: f32, color: Color) {
        self.surface.set_fill(Some(filled(color)));
        self.surface.draw_text(
            Point::from_xy(x, y),
            self.font.clone(),
            size,
            text,
            false,
            TextDirection::Auto,
        );
    }

    fn centered(&mut self, text: &str, y: f32, size: f32, color: Color) {
        let x = (WIDTH - self.width(text, size)) / 2.0;
        self.line(text, x, y, size, color);
    }

    /// Centred text that shrinks, then breaks, then shrinks further, until it fits; answers where the next line begins.
    fn fitted(&mut self, text: &str, y: f32, sizes: (f32, f32), height: f32) -> f32 {
        let (mut size, smallest) = sizes;
        let mut lines = self.broken(text, size);
        #[expect(clippy::cast_precision_loss)]
        while size > 4.0
            && lines.len() > 1
            && (size > smallest || lines.len() as f32 * size * LEADING > height)
        {
            size -= 1.0;
            lines = self.broken(text, size);
        }
        let mut y = y;
        for line in lines {
            self.centered(&line, y, size, INK);
            y += size * LEADING;
        }
        y
    }

    fn broken(&self, text: &str, size: f32) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let mut rest = word;
            loop {
                let last = lines.last_mut().map(std::mem::take).unwrap_or_default();
                let longer = if last.is_empty() {
                    rest.to_owned()
                } else {
                    format!("{last} {rest}")
                };
                let full = self.width(&longer, size) > MEASURE;
                if !full {
                    *lines.last_mut().unwrap_or(&mut String::new()) = longer;
                    break;
                }
                if !last.is_empty() {
                    *lines.last_mut().unwrap_or(&mut String::new()) = last;
                    lines.push(String::new());
                    continue;
                }
                // One word that is wider than the page.
                let fits = rest
                    .char_indices()
                    .map(|(at, letter)| at + letter.len_utf8())
                    .take_while(|end| self.width(&rest[..*end], size) <= MEASURE)
                    .last()
                    .unwrap_or(rest.len());
                *lines.last_mut().unwrap_or(&mut String::new()) = rest[..fits].to_owned();
                rest = &rest[fits..];
                if rest.is_empty() {
                    break;
                }
                lines.push(String::new());
            }
        }
        lines
    }
}

/// The document.
///
/// # Errors
/// [`Error::Internal`] when it cannot be written.
pub(crate) fn pdf(certificate: &Certificate, address: &str) -> Result<Vec<u8>, Error> {
    let mut document = Document::new();
    document.set_metadata(
        Metadata::new()
            .title(format!("Certificate {}", certificate.serial))
            .authors(vec![certificate.issuer_name.clone()])
            .creator("Lyceum".to_owned())
            .language("en".to_owned()),
    );
    let settings = PageSettings::from_wh(WIDTH, HEIGHT)
        .ok_or_else(|| Error::internal("the page has no size"))?;
    let mut page = document.start_page_with(settings);
    let qr_side = 110.0;
    let (qr_x, qr_y) = (WIDTH - 56.0 - qr_side, HEIGHT - 50.0 - qr_side);
    {
        let mut surface = page.surface();
        frame(&mut surface)?;
        let mut pen = Pen {
            surface: &mut surface,
            font: Font::new(FONT.to_vec().into(), 0)
                .ok_or_else(|| Error::internal("the font cannot be read"))?,
            face: Face::parse(FONT, 0).map_err(Error::internal)?,
        };
        pen.centered("CERTIFICATE OF COMPLETION", 96.0, 15.0, FAINT);
        let y = pen.fitted(&plain(&certificate.holder_name), 160.0, (34.0, 18.0), 90.0);
        pen.centered("completed", y + 6.0, 13.0, FAINT);
        let y = pen.fitted(
            &plain(&certificate.course_title),
            y + 44.0,
            (24.0, 13.0),
            60.0,
        );
        pen.centered(
            &format!("on {}", day(certificate.valid_from_day)),
            y + 10.0,
            14.0,
            INK,
        );
        if let Some(expires_on) = certificate.expires_on_day {
            let (word, color) = match certificate.status {
                Status::Valid => ("valid until", FAINT),
                _ => ("expired on", WARNING),
            };
            pen.centered(
                &format!("{word} {}", day(expires_on)),
                y + 32.0,
                12.0,
                color,
            );
        }
        for (place, (name, value)) in [
            ("Issued by", plain(&certificate.issuer_name)),
            ("Serial number", certificate.serial.clone()),
            ("Code", grouped(&certificate.code)),
            ("Verify at", address.to_owned()),
        ]
        .into_iter()
        .enumerate()
        {
            #[expect(clippy::cast_precision_loss)]
            let y = HEIGHT - 126.0 + 24.0 * place as f32;
            let mut size = 11.0;
            while size > 5.0 && pen.width(&value, size) > qr_x - 56.0 - 110.0 - 12.0 {
                size -= 0.5;
            }
            pen.line(name, 56.0, y, 11.0, FAINT);
            pen.line(&value, 166.0, y, size, INK);
        }
        let qr = Qr::of(address)?;
        squares(&mut surface, &qr, qr_x, qr_y, qr_side)?;
        surface.finish();
    }
    let link = Rect::from_xywh(qr_x, qr_y, qr_side, qr_side)
        .ok_or_else(|| Error::internal("the QR code has no size"))?;
    page.add_annotation(Annotation::new_link(
        LinkAnnotation::new(
            link,
            Target::Action(Action::Link(LinkAction::new(address.to_owned()))),
        ),
        Some("Verification page".to_owned()),
    ));
    page.finish();
    document
        .finish()
        .map_err(|error| Error::internal(format!("the PDF could not be written: {error:?}")))
}

fn filled([red, green, blue]: Color) -> Fill {
    Fill {
        paint: rgb::Color::new(red, green, blue).into(),
        ..Fill::default()
    }
}

fn frame(surface: &mut Surface<'_>) -> Result<(), Error> {
    let mut path = PathBuilder::new();
    for (inset, width) in [(26.0, 2.0), (32.0, 0.7)] {
        for (x, y, w, h) in [
            (inset, inset, WIDTH - 2.0 * inset, width),
            (inset, HEIGHT - inset - width, WIDTH - 2.0 * inset, width),
            (inset, inset, width, HEIGHT - 2.0 * inset),
            (WIDTH - inset - width, inset, width, HEIGHT - 2.0 * inset),
        ] {
            path.push_rect(
                Rect::from_xywh(x, y, w, h).ok_or_else(|| Error::internal("an empty line"))?,
            );
        }
    }
    fill(surface, path, FAINT)
}

fn squares(surface: &mut Surface<'_>, qr: &Qr, x: f32, y: f32, side: f32) -> Result<(), Error> {
    #[expect(clippy::cast_precision_loss)]
    let module = side / (qr.size + 2 * MARGIN) as f32;
    let mut path = PathBuilder::new();
    for (column, row) in &qr.dark {
        #[expect(clippy::cast_precision_loss)]
        let (column, row) = ((column + MARGIN) as f32, (row + MARGIN) as f32);
        // A hair wider, or readers would see lines between them.
        path.push_rect(
            Rect::from_xywh(
                x + column * module,
                y + row * module,
                module * 1.01,
                module * 1.01,
            )
            .ok_or_else(|| Error::internal("an empty module"))?,
        );
    }
    fill(surface, path, [0, 0, 0])
}

fn fill(surface: &mut Surface<'_>, path: PathBuilder, color: Color) -> Result<(), Error> {
    surface.set_fill(Some(filled(color)));
    surface.draw_path(
        &path
            .finish()
            .ok_or_else(|| Error::internal("an empty path"))?,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::example;

    const ADDRESS: &str = "https://lms.example/credentials/0123456789ABCDEFGHJKMNPQRS";

    #[test]
    fn any_name_makes_one_page() {
        for name in [
            "Dora",
            "Łukasz Żółć-Ñandú",
            "Ελένη Παπαδοπούλου",
            "Дарья Ким",
            "דורה לוי",
            "田中 花子",
            &"very long name ".repeat(20),
            &"W".repeat(300),
            "\u{202e}abc\u{0301}",
        ] {
            let mut certificate = example();
            certificate.holder_name = name.to_owned();
            certificate.course_title = name.to_owned();
            let pdf = pdf(&certificate, ADDRESS).unwrap();
            assert!(pdf.starts_with(b"%PDF-"), "{name}");
            let text = String::from_utf8_lossy(&pdf);
            assert_eq!(
                text.matches("/Type /Page\n")
                    .count()
                    .max(text.matches("/Type/Page/").count()),
                1,
                "{name}"
            );
            // A part of the font, not all of it.
            assert!(pdf.len() < 100_000, "{name}: {}", pdf.len());
        }
    }

    #[test]
    fn it_links_to_its_verification() {
        let pdf = pdf(&example(), ADDRESS).unwrap();
        assert!(String::from_utf8_lossy(&pdf).contains(ADDRESS));
    }
}
