//! `claviger-server license import`: a shop's existing serial numbers, all of them or none.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};

use super::terms::TermsArgs;
use crate::cli::common::Shop;
use crate::cli::{Failure, FailureKind, Output, counted};
use crate::licensing::{Import, ImportRow, RowError, find_product};

/// Import serial numbers from a CSV file with the columns serial, unlock_code (optional) and order_id (optional).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; its first line names the columns.
    file: PathBuf,
    #[command(flatten)]
    terms: TermsArgs,
    /// Check everything and import nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Wrong lines that are told one by one.
const TOLD: usize = 20;
/// Most bytes of a file: a million rows of the longest serial numbers and codes.
const MAX_FILE: u64 = 128 * 1024 * 1024;

pub(super) async fn run(shop: &Shop, args: &Args, output: Output) -> Result<(), Failure> {
    let product = find_product(shop.store.as_ref(), &args.terms.product).await?;
    let terms = args.terms.order(None, 1).terms(product)?;
    let bytes = open(&args.file, MAX_FILE)?;
    let (rows, mut errors) = read(&args.file, &bytes)?;
    let count = rows.len() + errors.len();
    if count == 0 {
        return Err(Failure::new(FailureKind::BadInput, format!("{} has no rows", args.file.display())));
    }
    let import = match Import::check(shop.store.as_ref(), &shop.profile, &terms, &rows).await? {
        Ok(import) if errors.is_empty() => import,
        Ok(_) => return Err(refused(&errors, count, output)),
        Err(more) => {
            errors.extend(more);
            errors.sort_by_key(|e| e.line);
            return Err(refused(&errors, count, output));
        }
    };
    if import.guessable > 0 {
        output.warn(format!(
            "warning: {} no unlock code or one under 12 characters: whoever guesses it can use a seat",
            if import.guessable == 1 {
                "1 license has".to_owned()
            } else {
                format!("{} licenses have", import.guessable)
            }
        ));
    }
    if args.dry_run {
        output.say(format!("{} can be imported.", counted(import.len(), "license")));
        output.result(&serde_json::json!({ "importable": import.len() }));
        return Ok(());
    }
    let count = import.store(shop.store.as_ref(), SystemClock.now()).await?;
    output.say(format!("Imported {}.", counted(count, "license")));
    output.result(&serde_json::json!({ "imported": count }));
    Ok(())
}

fn refused(errors: &[RowError], rows: usize, output: Output) -> Failure {
    for error in errors.iter().take(TOLD) {
        output.warn(format!("line {}: {}", error.line, error.error));
    }
    if errors.len() > TOLD {
        output.warn(format!("… and {} more", errors.len() - TOLD));
    }
    let are = if errors.len() == 1 { "is" } else { "are" };
    let message = format!("{} of {} {are} wrong; nothing was imported", errors.len(), counted(rows, "row"));
    Failure::new(FailureKind::BadInput, message).hint("mend the lines named above and import the file again")
}

/// Reads a whole file of at most `most` bytes.
fn open(file: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let name = file.display();
    let unreadable = |e: std::io::Error| {
        let (kind, hint) = match e.kind() {
            std::io::ErrorKind::NotFound => {
                (FailureKind::NotFound, "name the CSV file with the serial numbers")
            }
            std::io::ErrorKind::IsADirectory => (FailureKind::BadInput, "name a CSV file, not a folder"),
            _ => (FailureKind::Environment, "make it readable for this account, or name another file"),
        };
        Failure::new(kind, format!("could not read {name}: {e}")).hint(hint)
    };
    let mut bytes = Vec::new();
    let mut reader = std::fs::File::open(file).map_err(unreadable)?.take(most + 1);
    reader.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        let failure = Failure::new(FailureKind::BadInput, format!("{name} has more than {most} bytes"));
        return Err(failure
            .hint("split it into several files, each with the first line, and import one after another"));
    }
    Ok(bytes)
}

/// The rows of a file, and those that are none, each with its line.
type Rows = (Vec<(u64, ImportRow)>, Vec<RowError>);

fn read(file: &Path, bytes: &[u8]) -> Result<Rows, Failure> {
    let bad = |why: &str| Failure::new(FailureKind::BadInput, format!("{}: {why}", file.display()));
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(bad("it is in UTF-16").hint("save it as “CSV UTF-8”"));
    }
    // Spreadsheets like to put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(quote) = open_quote(bytes) {
        let line = Lines { bytes, at: 0, line: 1 }.of(quote as u64);
        return Err(bad(&format!("line {line}: a quote opens there and is never closed"))
            .hint("everything after it would be one row: close the quote, or take it out, and import the file again"));
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let headers = reader.headers().map_err(|e| bad(&e.to_string()))?.clone();
    let columns = Columns::find(&headers).map_err(|(why, hint)| bad(&why).hint(hint))?;
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.into_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, |p| lines.of(p.byte()));
                let error = match error.kind() {
                    csv::ErrorKind::Utf8 { .. } => "it is not in UTF-8".to_owned(),
                    _ => error.to_string(),
                };
                wrong.push(RowError { line, error });
                continue;
            }
        };
        let line = record.position().map_or(0, |p| lines.of(p.byte()));
        if record.len() != headers.len() {
            let error = format!(
                "it has {}, and the first line names {}",
                counted(record.len(), "column"),
                headers.len()
            );
            wrong.push(RowError { line, error });
            continue;
        }
        if record.iter().any(|field| field.contains(['\n', '\r'])) {
            let error =
                "it goes on over several lines inside quotes: is a quote missing or too many?".to_owned();
            wrong.push(RowError { line, error });
            continue;
        }
        let field = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::to_owned);
        rows.push((
            line,
            ImportRow {
                serial: field(Some(columns.serial)).unwrap_or_default(),
                unlock_code: field(columns.code),
                order_id: field(columns.order),
            },
        ));
    }
    Ok((rows, wrong))
}

/// Where a quote opens that the file never closes, as the reader of records sees quotes: only at the beginning of a
/// field, and doubled ones inside stand for themselves.
fn open_quote(bytes: &[u8]) -> Option<usize> {
    enum At {
        Start,
        Bare,
        Quoted(usize),
        /// After a quote inside a quoted field: its end, or the first of two.
        Closing(usize),
    }
    let mut state = At::Start;
    for (at, byte) in bytes.iter().enumerate() {
        state = match (state, byte) {
            (At::Start, b'"') => At::Quoted(at),
            (At::Quoted(opened), b'"') => At::Closing(opened),
            (At::Quoted(opened), _) | (At::Closing(opened), b'"') => At::Quoted(opened),
            (_, b',' | b'\n' | b'\r') => At::Start,
            _ => At::Bare,
        };
    }
    match state {
        At::Quoted(opened) => Some(opened),
        _ => None,
    }
}

/// Where which column is.
struct Columns {
    serial: usize,
    code: Option<usize>,
    order: Option<usize>,
}

impl Columns {
    /// Finds them by name, in whatever case. `Err`: what is wrong, and what to do.
    fn find(headers: &csv::StringRecord) -> Result<Self, (String, &'static str)> {
        const NAMES: &str =
            "the first line must name the columns: serial, and if you have them unlock_code and order_id";
        let names: Vec<String> = headers.iter().map(str::to_lowercase).collect();
        if let [one] = &names[..]
            && let Some(separator) = [';', '\t'].into_iter().find(|s| one.contains(*s))
        {
            let word = if separator == ';' { "semicolons" } else { "tabs" };
            let hint = "save the file with commas between the columns";
            return Err((format!("its columns are separated by {word}"), hint));
        }
        let known = ["serial", "unlock_code", "order_id"];
        if let Some(strange) = names.iter().find(|n| !known.contains(&n.as_str())) {
            return Err((format!("the column “{strange}” is not known"), NAMES));
        }
        let twice = |(at, name): &(usize, &String)| names.iter().skip(at + 1).any(|other| other == *name);
        if let Some((_, name)) = names.iter().enumerate().find(twice) {
            return Err((
                format!("line 1 names the column “{name}” twice"),
                "take one of the two columns out",
            ));
        }
        let column = |name: &str| names.iter().position(|n| n == name);
        let serial = column("serial").ok_or_else(|| ("there is no column “serial”".to_owned(), NAMES))?;
        Ok(Self { serial, code: column("unlock_code"), order: column("order_id") })
    }
}

/// Counts lines as an editor does, whatever ends them; the reader of records does not see those that are empty.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at `byte`, or after the line ends there. Records come in order.
    fn of(&mut self, byte: u64) -> u64 {
        let start = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(this) = self.bytes.get(self.at) {
            let ends = match this {
                b'\n' => true,
                b'\r' => self.bytes.get(self.at + 1) != Some(&b'\n'),
                _ if self.at >= start => break,
                _ => false,
            };
            self.line += u64::from(ends);
            self.at += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<u64>, Vec<u64>) {
        let (rows, wrong) = read(Path::new("x.csv"), text.as_bytes()).unwrap();
        (rows.iter().map(|r| r.0).collect(), wrong.iter().map(|w| w.line).collect())
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let text = "Serial,ORDER_ID\na,1\nb\n\n\"c\nc\",2\nd,3,4\ne,5\n";
        let told = (vec![2, 8], vec![3, 5, 7]);
        assert_eq!(lines(text), told);
        assert_eq!(lines(&text.replace('\n', "\r\n")), told);
        assert_eq!(lines(&format!("\u{feff}{text}")), told);
    }

    #[test]
    fn a_quote_that_is_not_closed_swallows_no_rows() {
        for (text, line) in [
            ("serial\n\"SHOP-7001\nSHOP-7002\nSHOP-7003\n", "line 2"),
            ("serial,order_id\r\nSHOP-7001,1\r\nSHOP-7002,\"2", "line 3"),
            ("\"serial\nSHOP-7001\n", "line 1"),
            ("serial\nSHOP-7001\n\"\"\"SHOP-7002\n", "line 3"),
        ] {
            let failure = read(Path::new("x.csv"), text.as_bytes()).unwrap_err().to_string();
            assert!(failure.contains(line) && failure.contains("quote"), "{failure}");
        }
        // Closed, but several lines in one: refused as a row.
        assert_eq!(lines("serial\n\"SHOP-7001\nSHOP-7002\"\nSHOP-7003\n"), (vec![4], vec![2]));
        assert_eq!(
            lines("\"serial\",order_id\n\"SHOP-7001\",\"say \"\"a\"\"\"\nSHOP-7\"002,\n"),
            (vec![2, 3], vec![])
        );
    }

    #[test]
    fn a_column_that_stands_twice_is_refused() {
        let failure = read(Path::new("x.csv"), b"serial,Serial\nSHOP-7001,SHOP-7002\n").unwrap_err();
        assert!(failure.to_string().contains("line 1") && failure.to_string().contains("twice"), "{failure}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_not_read_without_bound() {
        let failure = open(Path::new("/dev/zero"), 1_000).unwrap_err();
        assert!(failure.to_string().contains("more than 1000 bytes"), "{failure}");
        assert!(open(Path::new("/"), 1_000).is_err());
    }

    #[test]
    fn what_is_not_utf_8_is_told_with_its_line() {
        let (rows, wrong) = read(Path::new("x.csv"), b"serial\r\na\r\nb\xff\r\nc\r\n").unwrap();
        assert_eq!((rows.len(), wrong[0].line), (2, 3));
        assert!(wrong[0].error.contains("UTF-8"));
    }

    #[test]
    fn other_separators_and_encodings_get_a_hint() {
        for (bytes, word) in [
            (&b"serial;unlock_code\na;b\n"[..], "semicolons"),
            (b"\xff\xfes\0", "UTF-16"),
            (b"name\n", "name"),
        ] {
            let failure = read(Path::new("x.csv"), bytes).unwrap_err();
            assert!(failure.to_string().contains(word), "{failure}");
        }
    }
}
