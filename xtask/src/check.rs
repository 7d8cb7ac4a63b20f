//! `cargo xtask check`: everything that is looked at without running the product.

use std::process::Command;

use crate::elsewhere;
use crate::shell::{self, Failure, Result};

/// A check that has failed does not keep the others from running.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let install = args.iter().any(|a| a == "--install");
    let here = args.iter().any(|a| a == "--this-system");
    let prove = args.iter().any(|a| a == "--prove");
    let known = ["--install", "--this-system", "--prove"];
    if let Some(unknown) = args.iter().find(|a| !known.contains(&a.as_str())) {
        return Err(Failure::new(format!("`check` does not know {unknown}; see cargo xtask --help")));
    }
    let mut wrong = Vec::new();
    let mut note = |name: &str, done: Result<()>| {
        if let Err(failure) = done {
            println!("  {failure}");
            wrong.push(name.to_owned());
        }
    };

    note("formatting (mend it with cargo fmt --all)", cargo(&["fmt", "--all", "--check"]));
    let all = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    note("clippy", cargo(&all));
    let mut docs = shell::cargo();
    docs.args(["doc", "--workspace", "--no-deps", "--all-features", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    note("documentation", shell::run(&mut docs));
    note("licences and bans", deny(install));
    note("generated files", generated());
    note("one facade", elsewhere::one_facade());
    if !here {
        for target in elsewhere::targets() {
            note(target, elsewhere::lint(target, install));
        }
    }
    if prove {
        note("mistakes planted for other systems", elsewhere::prove(install));
    }

    if wrong.is_empty() {
        println!("\neverything is in order");
        return Ok(());
    }
    Err(Failure::new(format!("not in order: {}", wrong.join(", "))))
}

fn cargo(args: &[&str]) -> Result<()> {
    shell::run(shell::cargo().args(args))
}

fn deny(install: bool) -> Result<()> {
    let there = shell::has("cargo-deny")
        || std::env::var_os("HOME")
            .is_some_and(|home| std::path::Path::new(&home).join(".cargo/bin/cargo-deny").is_file());
    if !there {
        if !install {
            return Err(Failure::new(
                "cargo-deny is missing: install it with `cargo install --locked cargo-deny`, \
                 or run `cargo xtask check --install`",
            ));
        }
        cargo(&["install", "--locked", "cargo-deny"])?;
    }
    cargo(&["deny", "--all-features", "check", "licenses", "bans", "sources"])
}

/// Files that are made by tools and checked in: made again, they must not differ.
fn generated() -> Result<()> {
    let files: Vec<String> =
        ["client-lib/capi/include/claviger.h", "docs/openapi.json", "protocol/tests/golden"]
            .into_iter()
            .filter(|file| shell::root().join(file).exists())
            .map(str::to_owned)
            .collect();
    if files.is_empty() {
        return Ok(());
    }
    // The tests of the packages that own them make them again and compare; a difference from the last commit is
    // shown here, so that an accepted change is a decision.
    let mut diff = Command::new("git");
    diff.current_dir(shell::root()).args(["diff", "--exit-code", "--stat", "HEAD", "--"]).args(&files);
    shell::run(&mut diff)
}
