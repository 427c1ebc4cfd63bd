//! The terminal while a screen is drawn on it.

use std::io::{self, Write as _};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::{
        cursor::Show,
        execute,
        style::force_color_output,
        terminal::{LeaveAlternateScreen, disable_raw_mode},
    },
};

use crate::{error::Error, interrupt::Interrupt};

/// The terminal in raw mode, on its alternate screen.
///
/// # On drop
/// It is as it was before. So it is when the program panics, or ends at a second signal.
pub(super) struct Terminal(DefaultTerminal);

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// When there is none, or it refuses.
    pub(super) fn take(interrupt: &Interrupt, has_colours: bool) -> Result<Self, Error> {
        // Otherwise crossterm decides, and knows nothing of the arguments.
        force_color_output(has_colours);
        interrupt.before_forced_exit(restore);
        match ratatui::try_init() {
            Ok(terminal) => Ok(Terminal(terminal)),
            Err(source) => {
                restore();
                Err(Error::System { operation: "draw on this terminal", source })
            }
        }
    }

    /// Draws the screen.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Error> {
        self.0.draw(draw).map(drop).map_err(Error::output)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A terminal that has gone needs none of it.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}
