//! QR codes. Pure.

use lyceum_core::Error;
use qrcodegen::{QrCode, QrCodeEcc};

/// The light margin that readers need, in modules.
pub(crate) const MARGIN: usize = 4;

/// The modules of a code, row by row, without its margin.
pub(crate) struct Qr {
    pub size: usize,
    pub dark: Vec<(usize, usize)>,
}

impl Qr {
    /// # Errors
    /// [`Error::Internal`] when the text is longer than any code can hold.
    pub fn of(text: &str) -> Result<Self, Error> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(Error::internal)?;
        let dark = (0..code.size())
            .flat_map(|y| (0..code.size()).map(move |x| (x, y)))
            .filter(|(x, y)| code.get_module(*x, *y))
            .filter_map(|(x, y)| Some((usize::try_from(x).ok()?, usize::try_from(y).ok()?)))
            .collect();
        Ok(Self {
            size: usize::try_from(code.size()).map_err(Error::internal)?,
            dark,
        })
    }

    /// As SVG, which needs no script and no further request.
    pub fn svg(&self) -> String {
        let side = self.size + 2 * MARGIN;
        let path: String = self
            .dark
            .iter()
            .map(|(x, y)| format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN))
            .collect();
        format!(
            "<svg viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"QR code of this page's address\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/><path d=\"{path}\"/></svg>"
        )
    }
}
