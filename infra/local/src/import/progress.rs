//! Progress bars.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar for `total` things on the terminal; none when quiet or when there is no terminal.
pub(super) fn bar(quiet: bool, label: &str, total: u64, template: &str) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(label.to_owned());
    bar
}

/// A sign that something is under way whose end is not known; none when quiet or when there is no terminal.
pub(super) fn spinner(quiet: bool, label: &str) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner()
        .with_finish(ProgressFinish::AndClear)
        .with_message(label.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// For bytes of files.
pub(super) const BYTES: &str = "{prefix:8} [{bar:30}] {bytes:>10} / {total_bytes}";
/// For things one can count.
pub(super) const COUNT: &str = "{prefix:8} [{bar:30}] {human_pos:>10} / {human_len} ({eta} left)";
