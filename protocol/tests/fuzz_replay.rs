//! Replays the committed corpora of the fuzz targets with the stable compiler: what a fuzzer once found stays found.
//! The targets themselves stand in `tests/fuzz/src/lib.rs`, which this includes as it is.

#[path = "../../tests/fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz targets, a module here")]
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn committed_corpora_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    for (name, target) in fuzz::TARGETS {
        let mut seen = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap_or_else(|e| panic!("corpus of {name}: {e}")) {
            let path = entry.unwrap().path();
            // Printed when the target panics: the captured output of a failed test names the file.
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            seen += 1;
        }
        assert!(seen > 0, "the corpus of {name} is empty");
    }
}

#[test]
fn every_target_has_its_program_and_every_corpus_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    // Replayed by the packages that may know the client library and the server: tests/tests/fuzz_replay.rs and
    // server/tests/fuzz_replay.rs.
    let elsewhere = ["client_store", "portal_form"];
    let names = fuzz::TARGETS.iter().map(|(name, _)| *name).chain(elsewhere).map(str::to_owned);
    let names: BTreeSet<String> = names.collect();
    for folder in ["corpus", "fuzz_targets"] {
        let found = fs::read_dir(fuzz.join(folder)).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), names, "{folder}");
    }
}
