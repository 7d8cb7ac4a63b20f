//! Replays the committed corpus of the fuzz target that reads the portal's forms. The others are replayed by
//! `protocol/tests/fuzz_replay.rs` and `tests/tests/fuzz_replay.rs`.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[path = "../../tests/fuzz/src/form.rs"]
mod form;

#[test]
fn whatever_a_form_holds_panics_nobody() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/portal_form");
    let mut seen = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        // Printed when the target panics: the captured output of a failed test names the file.
        println!("{}", path.display());
        form::portal_form(&std::fs::read(path).unwrap());
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}
