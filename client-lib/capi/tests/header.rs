//! The header that is checked in is the one that the code makes. `CLAVIGER_WRITE_HEADER=1` writes it.

use std::path::Path;

#[test]
fn header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    // It follows the modules by itself.
    let builder = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/lib.rs"));
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    // "# Safety" repeats for Rust readers what the sentences before it say to C ones.
    let mut header = String::new();
    let mut skipping = false;
    for line in made.lines() {
        if line.starts_with("// # Safety") {
            skipping = true;
        } else if !line.starts_with("//") {
            skipping = false;
        }
        if !skipping {
            header.push_str(line.trim_end());
            header.push('\n');
        }
    }
    let header = header
        .replace("//\nuint", "uint")
        .replace("//\nvoid", "void")
        .replace("//\nint", "int")
        .replace("//\nbool", "bool");
    let path = folder.join("include/claviger.h");
    if std::env::var_os("CLAVIGER_WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == header,
        "claviger.h is out of date: CLAVIGER_WRITE_HEADER=1 cargo test -p claviger-capi --test header"
    );
    // Each function is declared once, behind a comment of its own.
    let lines: Vec<&str> = header.lines().collect();
    let mut names = std::collections::BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, _)) = line.split_once('(') else { continue };
        let name = before.rsplit([' ', '*']).next().unwrap_or_default();
        if name.starts_with("clv_") && !line.starts_with("//") {
            assert!(names.insert(name), "{name} is declared twice");
            assert!(lines[at - 1].starts_with("//"), "{name} has no comment");
        }
    }
    assert!(names.contains("clv_license_status"));
}
