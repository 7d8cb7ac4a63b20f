//! Compiles the window's description, its translations inside.

use slint_build::{CompilerConfiguration, DefaultTranslationContext};

fn main() -> Result<(), slint_build::CompileError> {
    let config = CompilerConfiguration::new()
        // The window has components of its own; what little of the library's is left draws the same everywhere.
        .with_style("fluent".into())
        .with_default_translation_context(DefaultTranslationContext::None)
        .with_bundled_translations("lang");
    slint_build::compile_with_config("ui/window.slint", config)
}
