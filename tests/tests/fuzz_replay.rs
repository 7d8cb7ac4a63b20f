//! Replays the committed corpus of the fuzz target that needs more than the contracts: what a plug-in reads. The others
//! are replayed by `protocol/tests/fuzz_replay.rs`.

#[path = "../fuzz/src/store.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz target, a module here")]
mod store;

use std::fs;
use std::path::Path;

#[test]
fn whatever_lies_in_the_store_panics_nobody_and_licenses_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_store");
    let mut seen = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        // Printed when the target panics: the captured output of a failed test names the file.
        println!("{}", path.display());
        store::client_store(&fs::read(path).unwrap());
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}
