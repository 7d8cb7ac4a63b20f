//! Offline files, codes and QR texts as they come back from mail programs, scanners, people and strangers.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use claviger_protocol::documents::{ActivationCertificate, Answer, KeyStatus, Keyset, LicenseKind, Request};
use claviger_protocol::ids::{ActivationId, ProductId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::{
    AnswerFor, BlockKind, CodeError, Contents, Damage, DamagedBlock, FileKind, MAX_FILE_LEN, OfflineError,
    Refusal, RequestFrom, TypedCode, code, packed, read,
};
use common::documents::*;
use common::offline::*;
use common::*;
use data_encoding::BASE32_NOPAD;
use proptest::prelude::*;

fn file(kind: FileKind) -> String {
    let name = format!("example.{}", kind.extension());
    files().into_iter().find(|(n, _)| *n == name).unwrap().1
}

fn only(contents: &Contents, kind: BlockKind) -> &str {
    assert_eq!((contents.blocks.len(), contents.damaged.len()), (1, 0), "{contents:?}");
    assert_eq!(contents.blocks[0].kind, kind);
    &contents.blocks[0].text
}

/// Everything that mail programs are known to do to a text.
#[test]
fn files_survive_mail_programs() {
    let text = file(FileKind::Request);
    let lines = |change: &dyn Fn(&str) -> String| text.lines().map(|l| change(l) + "\n").collect::<String>();
    let rewrapped = {
        // A program that breaks lines after 40 characters, markers apart.
        lines(&|line| match line {
            line if line.contains("CLAVIGER") || line.starts_with("Checksum") => line.to_owned(),
            line => {
                line.as_bytes().chunks(40).map(|c| String::from_utf8_lossy(c)).collect::<Vec<_>>().join("\n")
            }
        })
    };
    let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
        mark.iter().copied().chain(text.encode_utf16().flat_map(bytes)).collect::<Vec<u8>>()
    };
    let wrapped = |columns: usize| {
        lines(&|l| l.as_bytes().chunks(columns).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n"))
    };
    let joined = |between: &str| text.lines().filter(|l| !l.is_empty()).collect::<Vec<_>>().join(between);
    // As mail programs write it for the way: 76 columns, soft line breaks, escapes.
    let quoted_printable = |text: &str| {
        let text = text.replace('=', "=3D").replace('_', "=5F").replace("\n-", "\n=2D");
        let lines = text.lines().map(|l| {
            let chunks = l.as_bytes().chunks(75).map(String::from_utf8_lossy);
            chunks.collect::<Vec<_>>().join("=\r\n") + "\r\n"
        });
        lines.collect::<String>()
    };
    let html = |each: &dyn Fn(&str) -> String| {
        format!(
            "<html><head><style>p > b {{}}</style></head><body>Hi Ada &amp; all,{}</body></html>",
            lines(each)
        )
    };
    let variants: Vec<(&str, Vec<u8>)> = vec![
        ("as it is", text.clone().into_bytes()),
        ("CRLF", text.replace('\n', "\r\n").into_bytes()),
        ("CR", text.replace('\n', "\r").into_bytes()),
        ("byte order mark", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("UTF-16, little end first", utf16(&[0xff, 0xfe], u16::to_le_bytes)),
        ("UTF-16, big end first", utf16(&[0xfe, 0xff], u16::to_be_bytes)),
        ("quoted", lines(&|l| format!("> {l}")).into_bytes()),
        ("quoted three times", lines(&|l| format!("> >>  {l}")).into_bytes()),
        ("indented, with spaces at the ends", lines(&|l| format!("    {l}  \t")).into_bytes()),
        ("wrapped shorter", rewrapped.into_bytes()),
        ("in one line each word", text.replace("\neyJ", "\n\n\neyJ").into_bytes()),
        ("empty lines between", text.replace('\n', "\n\n").into_bytes()),
        ("with hyphens replaced", text.replace("-----", "\u{2014}\u{2014}-").into_bytes()),
        ("without the sentences", text[text.find("-----BEGIN").unwrap()..].into()),
        ("in the middle of a letter", format!("Dear all,\n\nhere it is:\n{text}\n-- \nAda\n").into_bytes()),
        ("UTF-16 without its mark", utf16(&[], u16::to_le_bytes)),
        ("UTF-16 without its mark, big end first", utf16(&[], u16::to_be_bytes)),
        ("wrapped at 60", wrapped(60).into_bytes()),
        ("wrapped at 72 and quoted", wrapped(72).replace('\n', "\n> > ").into_bytes()),
        ("joined with spaces, as a form field does", joined(" ").into_bytes()),
        ("joined with nothing", joined("").into_bytes()),
        ("quoted-printable", quoted_printable(&text).into_bytes()),
        ("quoted-printable in one paragraph", quoted_printable(&joined(" ")).into_bytes()),
        ("HTML with breaks", html(&|l| format!("{l}<br>")).into_bytes()),
        (
            "HTML in one line",
            html(&|l| format!("<p class=\"x\">{l}&nbsp;</p>")).replace('\n', "").into_bytes(),
        ),
        ("HTML quoted", html(&|l| format!("<div>&gt;&nbsp;<span>{l}</span></div>")).into_bytes()),
        (
            "HTML whose checksum became a telephone link",
            html(&|l| match l.strip_prefix("Checksum: ") {
                Some(sum) => format!("Checksum: <a href=\"tel:1\">{sum}</a><br>"),
                None => format!("{l}<br>"),
            })
            .into_bytes(),
        ),
        ("with the checksum on a line of its own", text.replace("Checksum: ", "Checksum:\n").into_bytes()),
        (
            "with what nobody sees",
            lines(&|l| {
                if l.starts_with("eyJ") {
                    format!("{}\u{200b}{}\u{ad}\u{a0}", &l[..9], &l[9..])
                } else {
                    l.to_owned()
                }
            })
            .into_bytes(),
        ),
        ("behind a line of equals signs", text.replace("-----BEGIN", "=====\n-----BEGIN").into_bytes()),
        ("with an old code page around it", [b"Gr\xfc\xdfe\n", text.as_bytes(), b"\xe4\xf6\n"].concat()),
    ];
    for (what, bytes) in variants {
        let contents = read(&bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(only(&contents, BlockKind::Request), request(), "{what}");
        assert!(!contents.cut_off);
    }
}

#[test]
fn zip_archives_are_opened() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zip");
    let open = |name: &str| read(&std::fs::read(folder.join(name)).unwrap());
    // Made with Info-ZIP and with Python's zipfile from golden/offline, a picture beside them.
    for name in ["stored.zip", "deflated.zip"] {
        let contents = open(name).unwrap();
        let kinds: Vec<BlockKind> = contents.blocks.iter().map(|b| b.kind).collect();
        assert_eq!(kinds, [BlockKind::Request, BlockKind::Response], "{name}");
        assert_eq!(contents.blocks[0].text, request());
        assert_eq!(contents.blocks[0].from.as_deref(), Some("lab/example.clvreq"));
    }
    assert_eq!(open("encrypted.zip"), Err(OfflineError::ZipEncrypted));
    assert_eq!(open("bzip2.zip"), Err(OfflineError::ZipMethod));
    assert_eq!(open("empty.zip"), Err(OfflineError::Nothing));
    let good = std::fs::read(folder.join("deflated.zip")).unwrap();
    assert!(matches!(read(&good[..good.len() / 2]), Err(OfflineError::ZipDamaged(_))));
    // A table that promises more than is there, and a bomb: the promised size is bounded, and so is what comes.
    let rows: Vec<usize> = (0..good.len()).filter(|at| good[*at..].starts_with(b"PK\x01\x02")).collect();
    // The first row is the folder's.
    let row = rows[1];
    let promises = [(24, u32::MAX, 1), (20, u32::MAX, 0), (42, u32::MAX, 1), (42, 7, 1), (24, 10, 1)];
    for (offset, value, others) in promises {
        let mut bad = good.clone();
        bad[row + offset..row + offset + 4].copy_from_slice(&value.to_le_bytes());
        match read(&bad) {
            Ok(contents) => {
                let named = |d: &DamagedBlock| matches!(d.damage.code(), "zip_damaged" | "file_too_large");
                assert_eq!(contents.blocks.len(), others, "{offset}");
                assert!(contents.damaged.iter().any(named), "{offset}");
            }
            Err(error) => assert_eq!((error.code(), others), ("zip_damaged", 0), "{offset}"),
        }
    }
}

/// A zip archive as APPNOTE 6.3 has it, stored: names and contents, and what to do to each row of its table.
fn zipped(files: &[(&str, &[u8])], change: &dyn Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let (mut out, mut table) = (Vec::new(), Vec::new());
    for (at, (name, content)) in files.iter().enumerate() {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let crc = claviger_protocol::offline::crc32(content).to_le_bytes();
        let mut row = b"PK\x01\x02\x14\0".to_vec();
        let common =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], &crc[..], &length, &length, &name_length, &[0, 0]].concat();
        row.extend_from_slice(&common);
        row.extend_from_slice(&[0; 10]);
        row.extend_from_slice(&u32::try_from(out.len()).unwrap().to_le_bytes());
        row.extend_from_slice(name.as_bytes());
        change(at, &mut row);
        table.extend_from_slice(&row);
        out.extend_from_slice(&[b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
    }
    let (begin, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(table.len()).unwrap());
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    out.extend_from_slice(&table);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(
        &[&count[..], &count, &length.to_le_bytes(), &begin.to_le_bytes(), &[0, 0]].concat(),
    );
    out
}

/// One file of an archive that cannot be unpacked is named; the others are found.
#[test]
fn what_is_wrong_with_one_file_of_an_archive_does_not_stop_the_rest() {
    let (one, two) = (file(FileKind::Request), file(FileKind::Response));
    let files = [("a.clvreq", one.as_bytes()), ("b.clvres", two.as_bytes())];
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 6] = [
        ("zip_encrypted", |row| row[8] |= 1),
        ("zip_method", |row| row[10] = 12),
        ("zip_damaged", |row| row[16] ^= 1),
        ("zip_damaged", |row| row[24] ^= 1),
        ("zip_damaged", |row| row[42] ^= 7),
        ("zip_damaged", |row| row[10] = 8),
    ];
    for (code, change) in changes {
        let change = |at: usize, row: &mut Vec<u8>| {
            if at == 0 {
                change(row);
            }
        };
        let contents = read(&zipped(&files, &change)).unwrap();
        assert_eq!(
            contents.blocks.iter().map(|b| b.kind).collect::<Vec<_>>(),
            [BlockKind::Response],
            "{code}"
        );
        let [bad] = contents.damaged.as_slice() else { panic!("{contents:?}") };
        assert_eq!((bad.from.as_deref(), bad.damage.code()), (Some("a.clvreq"), code));
    }
    let mut cut = zipped(&files, &|_, _| {});
    let row = cut.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    cut[row] = b'X';
    let contents = read(&cut).unwrap();
    assert_eq!((contents.blocks.len(), contents.damaged[0].damage.code()), (1, "zip_damaged"));
}

#[test]
fn archives_in_archives_are_opened_and_bombs_are_not() {
    let mut archive = file(FileKind::Request).into_bytes();
    for depth in 0..5 {
        archive = zipped(&[(&format!("{depth}.zip"), &archive), ("holiday.jpg", b"\xff\xd8\0")], &|_, _| {});
        match read(&archive) {
            Ok(contents) => {
                assert_eq!(only(&contents, BlockKind::Request), request());
                assert!(depth < 3, "{depth}");
            }
            Err(error) => assert_eq!((error, depth >= 3), (OfflineError::ZipNested, true)),
        }
    }
    // Thousands of files that lie at the same place: each would be unpacked anew.
    let content = vec![b'x'; 4 << 20];
    let names: Vec<String> = (0..9_000).map(|n| n.to_string()).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    files[0].1 = &content;
    let first = zipped(&files[..1], &|_, _| {});
    let row = first.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let bomb = zipped(&files, &|_, r| r[16..46].copy_from_slice(&first[row + 16..row + 46]));
    assert_eq!(read(&bomb), Err(OfflineError::ZipDamaged("its files are longer than itself")));
    // A real bomb: a thousandth of what it unpacks to.
    let packed = miniz_oxide::deflate::compress_to_vec(&vec![b' '; MAX_FILE_LEN + 1], 6);
    let bomb = zipped(&[("spaces", &packed)], &|_, row| {
        row[10] = 8;
        row[24..28].copy_from_slice(&u32::try_from(MAX_FILE_LEN + 1).unwrap().to_le_bytes());
    });
    assert_eq!(read(&bomb), Err(OfflineError::TooLarge));
    let liar = zipped(&[("spaces", &packed)], &|_, row| row[10] = 8);
    assert!(matches!(read(&liar), Err(OfflineError::ZipDamaged(_))));
}

/// A message that was saved as it is: the file is attached, and its text says the same twice more.
#[test]
fn a_saved_message_is_read() {
    let (text, answer) = (file(FileKind::Request), file(FileKind::Response));
    let base64 = |bytes: &[u8]| {
        let text = data_encoding::BASE64.encode(bytes);
        text.as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l) + "\r\n").collect::<String>()
    };
    let archive = zipped(&[("lab/answer.clvres", answer.as_bytes())], &|_, _| {});
    let html = text.lines().map(|l| format!("<div>{l}</div>")).collect::<String>();
    let message = format!(
        "From: Ada <ada@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\nContent-Type: text/html\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b\r\nContent-Type: application/octet-stream;\r\n\
         \tname=\"studio.clvreq\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--b\r\n\
         Content-Disposition: attachment; filename=\"answers.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
         --b--\r\n",
        text.replace('\n', "\r\n"),
        base64(html.as_bytes()),
        base64(text.as_bytes()),
        base64(&archive),
    );
    let contents = read(message.as_bytes()).unwrap();
    assert_eq!((contents.blocks.len(), contents.damaged.len()), (2, 0), "{contents:?}");
    assert_eq!((&contents.blocks[0].text, &contents.blocks[1].text), (&request(), &response()));
    assert_eq!(contents.blocks[1].from.as_deref(), Some("answers.zip/lab/answer.clvres"));
}

/// The sentence about the computer goes along with its block, without being believed.
#[test]
fn a_block_knows_the_computer_that_the_sentences_name() {
    let one = write_file(FileKind::Response, &[("Computer", "Studio – left\u{202e}")], &response());
    let two = write_file(FileKind::Response, &[], &response());
    let contents = read(format!("{one}{two}").as_bytes()).unwrap();
    let names: Vec<_> = contents.blocks.iter().map(|b| b.computer.as_deref()).collect();
    assert_eq!(names, [Some("Studio – left"), None]);
}

#[test]
fn damage_is_named() {
    let text = file(FileKind::Request);
    let damage = |text: &str| {
        let contents = read(text.as_bytes()).unwrap();
        assert_eq!((contents.blocks.len(), contents.damaged.len()), (0, 1), "{text}");
        contents.damaged[0].damage.clone()
    };
    let line = text.lines().find(|l| l.starts_with("eyJ")).unwrap();
    let without_end = &text[..text.find("-----END").unwrap()];
    assert_eq!(damage(without_end), Damage::CutOff);
    assert_eq!(damage(&text[..text.find("Checksum").unwrap() - 200]), Damage::CutOff);
    assert_eq!(damage(&text.replacen(&format!("{line}\n"), "", 1)), Damage::Checksum);
    assert_eq!(damage(&text.replace("eyJ", "eyK")), Damage::Checksum);
    let sum = text.lines().find(|l| l.starts_with("Checksum")).unwrap();
    assert_eq!(damage(&text.replace(sum, "")), Damage::NoChecksum);
    assert_eq!(damage(&text.replace("eyJ", "e=J")), Damage::Character('='));
    assert_eq!(damage(&text.replace("REQUEST V1", "REQUEST V7")), Damage::Version(7));
    assert_eq!(damage(&text.replace("REQUEST", "HOROSCOPE")), Damage::Kind("HOROSCOPE".to_owned()));
    let empty = "-----BEGIN CLAVIGER REQUEST V1-----\n-----END CLAVIGER REQUEST V1-----\n";
    assert_eq!(damage(empty), Damage::Empty);
    let long = write_file(FileKind::Response, &[], &"A".repeat(300 * 1024));
    assert_eq!(damage(&long), Damage::TooLong);
    let mixed = text.replace("-----END CLAVIGER REQUEST", "-----END CLAVIGER RECEIPT");
    assert_eq!(damage(&mixed), Damage::CutOff);
}

#[test]
fn files_without_content_are_told_apart() {
    assert_eq!(read(b""), Err(OfflineError::Nothing));
    assert_eq!(read("Dear Ada, the file is attached.".as_bytes()), Err(OfflineError::Nothing));
    assert_eq!(read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Err(OfflineError::NotText));
    assert_eq!(read(&vec![b' '; MAX_FILE_LEN + 1]), Err(OfflineError::TooLarge));
    let many = "-----BEGIN CLAVIGER REQUEST V1-----\n".repeat(20_002);
    assert_eq!(read(many.as_bytes()), Err(OfflineError::TooMany));
}

#[test]
fn a_damaged_block_does_not_stop_the_rest() {
    let (good, bad) = (file(FileKind::Request), file(FileKind::Receipt).replace("eyJ", "eyK"));
    let contents = read(format!("{good}{bad}{good}").as_bytes()).unwrap();
    assert_eq!(contents.blocks.iter().map(|b| b.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(
        contents.damaged.iter().map(|d| (d.number, &d.damage)).collect::<Vec<_>>(),
        [(2, &Damage::Checksum)]
    );
    // A block that lost its end is cut off by the next one's beginning.
    let open = good.replace("-----END CLAVIGER REQUEST V1-----", "");
    let contents = read(format!("{open}{good}").as_bytes()).unwrap();
    assert_eq!((contents.blocks.len(), contents.damaged[0].damage.clone()), (1, Damage::CutOff));
}

#[test]
fn batches_and_bundles_say_whether_they_are_whole() {
    let batch = file(FileKind::Batch);
    let contents = read(batch.as_bytes()).unwrap();
    assert!(!contents.cut_off);
    let kinds: Vec<BlockKind> = contents.blocks.iter().map(|b| b.kind).collect();
    assert_eq!(kinds, [BlockKind::Request, BlockKind::Receipt]);
    assert_eq!(contents.of(BlockKind::Receipt).next().unwrap().text, receipt_request());
    let cut = &batch[..batch.rfind("-----END CLAVIGER BATCH").unwrap()];
    assert!(read(cut.as_bytes()).unwrap().cut_off);
    let bundle = read(file(FileKind::Bundle).as_bytes()).unwrap();
    let found = Refusal::from_text(&bundle.of(BlockKind::Refusal).next().unwrap().text);
    assert_eq!(found, Some(refusal()));
    assert_eq!(Refusal::from_text("eyJ4IjoxfQ"), None);
}

/// What a vendor or a user called something must not end a header or begin a block.
#[test]
fn names_cannot_break_out_of_the_sentences() {
    let evil = "x\n-----BEGIN CLAVIGER REQUEST V1-----\r\u{202e}";
    let text = write_file(FileKind::Request, &[("Computer", evil), ("", evil)], &request());
    assert_eq!(only(&read(text.as_bytes()).unwrap(), BlockKind::Request), request());
    assert!(!text.contains('\u{202e}'));
}

#[test]
fn documents_say_whom_they_concern() {
    let from = RequestFrom::read(&request()).unwrap();
    assert_eq!((from.vendor, from.machine_id, from.serial), (vendor(), machine(), Some(serial())));
    assert_eq!(from.device_name, Some(machine_facts().device_name));
    assert_eq!(from.device, *device().id());
    let mut edited = request();
    edited.replace_range(300..301, if &edited[300..301] == "A" { "B" } else { "A" });
    assert!(RequestFrom::read(&edited).is_err());
    let whose = AnswerFor::read(&response()).unwrap();
    assert_eq!((whose.vendor, whose.machine_id, whose.serial), (vendor(), Some(machine()), Some(serial())));
    assert_eq!(whose.req, Sha256::of(request().as_bytes()));
    assert_eq!(whose.activation, Some(certificate().jti));
    assert!(AnswerFor::read(&request()).is_err());
}

/// An answer from a file stays good when its key was retired after it; answers over the wire do not.
#[test]
fn answers_from_files_outlive_a_rotation() {
    let mut later = keyset();
    later.number += 1;
    later.keys[0].status = KeyStatus::Retired;
    later.keys[0].since = NOW.plus(86_400);
    let hash = Sha256::of(request().as_bytes());
    assert!(Answer::verify(&response(), &later, &hash, device().id()).is_err());
    let answer = Answer::verify_from_file(&response(), &later).unwrap();
    assert_eq!(answer.req, hash);
    later.keys[0].since = NOW.plus(-86_400);
    assert_eq!(Answer::verify_from_file(&response(), &later).unwrap_err().code(), "retired_key");
    later.keys[0].status = KeyStatus::Compromised;
    assert_eq!(Answer::verify_from_file(&response(), &later).unwrap_err().code(), "compromised_key");
}

#[test]
fn a_typed_code_becomes_an_ordinary_certificate() {
    let code = common::offline::code();
    let groups = code.groups();
    assert_eq!((groups.len(), groups.iter().all(|g| g.len() == 5)), (32, true));
    let typed = code.to_string().to_lowercase().replace(' ', "-").replace('0', "o");
    let read = TypedCode::parse(&typed).unwrap();
    assert_eq!(read, code);
    assert_eq!(TypedCode::parse(&groups.concat()).unwrap(), code);
    let text = read.certificate(&request(), &[], &keyset()).unwrap();
    let found = ActivationCertificate::verify(&text, &keyset()).unwrap();
    let full = certificate();
    assert!(found.opens(&product("synth")));
    assert!(!found.opens(&product("reverb")) && !found.opens(&product("bundle")));
    assert_eq!((found.jti, found.machine, &found.serial), (full.jti, full.machine, &full.serial));
    assert_eq!((found.rev, found.kind, found.updates_until), (full.rev - 1, full.kind, full.updates_until));
    assert_eq!(found.cnf, full.cnf);
    assert!(found.iat <= full.iat && full.iat.0 - found.iat.0 < 3600);
    // A trial ends with the last second of its day.
    let trial = ActivationCertificate { jti: full.jti, ..trial() };
    let code = TypedCode::issue(&trial, &product("synth"), &request(), &issuing()).unwrap();
    let text = code.certificate(&request(), &[], &keyset()).unwrap();
    let found = ActivationCertificate::verify(&text, &keyset()).unwrap();
    assert_eq!(found.kind, LicenseKind::Trial);
    assert_eq!(found.exp.unwrap().date(), trial.exp.unwrap().date());
    assert!(found.exp >= trial.exp && found.exp.unwrap().plus(1).date() != found.exp.unwrap().date());
}

#[test]
fn a_typed_code_belongs_to_one_request_and_one_vendor() {
    let code = common::offline::code();
    let other = |change: &dyn Fn(&mut Request)| {
        let mut request = Request { receipts: vec![], ..activate_request() };
        change(&mut request);
        signed_request(&request)
    };
    let later = other(&|r| r.iat = NOW.plus(60));
    assert_eq!(code.certificate(&later, &[certificate().jti], &keyset()), Err(CodeError::OtherRequest));
    let stranger = Keyset { keys: vec![], ..keyset() };
    assert_eq!(code.certificate(&request(), &[], &stranger), Err(CodeError::OtherRequest));
    let mut retired = keyset();
    retired.keys[0].status = KeyStatus::Compromised;
    assert_eq!(code.certificate(&request(), &[], &retired), Err(CodeError::OtherRequest));
    let forged = TypedCode::issue(&certificate(), &product("synth"), &request(), &stranger_key()).unwrap();
    assert_eq!(forged.certificate(&request(), &[], &keyset()), Err(CodeError::OtherRequest));
    // The machine held this activation before, under an id that no request of today gives.
    let held = ActivationCertificate { jti: ActivationId([7; 16]), ..certificate() };
    let code = TypedCode::issue(&held, &product("synth"), &request(), &issuing()).unwrap();
    assert_eq!(code.certificate(&request(), &[], &keyset()), Err(CodeError::OtherRequest));
    assert!(code.certificate(&request(), &[ActivationId([7; 16])], &keyset()).is_ok());
    // What does not fit is not issued.
    let refused = |full: ActivationCertificate, product: &ProductId| {
        TypedCode::issue(&full, product, &request(), &issuing()).unwrap_err().code()
    };
    assert_eq!(refused(certificate(), &product("organ")), "code_unsuitable");
    assert_eq!(
        refused(ActivationCertificate { rev: 70_000, ..certificate() }, &product("synth")),
        "code_unsuitable"
    );
    let elsewhere =
        ActivationCertificate { machine: claviger_protocol::ids::MachineId([1; 16]), ..certificate() };
    assert_eq!(refused(elsewhere, &product("synth")), "code_other_request");
}

fn stranger_key() -> claviger_protocol::keys::SigningKey {
    common::stranger()
}

/// Every wrong character, every two exchanged characters of a group, and every two exchanged groups name their groups.
#[test]
fn a_mistyped_group_is_named() {
    let groups = common::offline::code().groups();
    let wrong = |groups: &[String]| match TypedCode::parse(&groups.join(" ")) {
        Err(CodeError::Check { groups }) => groups,
        other => panic!("{other:?}"),
    };
    let alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    for (index, group) in groups.iter().enumerate() {
        for at in 0..5 {
            for c in alphabet.chars().filter(|c| !group[at..].starts_with(*c)) {
                let mut typed = groups.clone();
                typed[index].replace_range(at..=at, &c.to_string());
                assert_eq!(wrong(&typed), [index + 1], "{typed:?}");
            }
            for other in at + 1..5 {
                let mut typed: Vec<char> = group.chars().collect();
                typed.swap(at, other);
                let typed: String = typed.into_iter().collect();
                if typed != *group {
                    let mut all = groups.clone();
                    all[index] = typed;
                    assert_eq!(wrong(&all), [index + 1]);
                }
            }
        }
        for other in index + 1..32 {
            let mut typed = groups.clone();
            typed.swap(index, other);
            if typed != groups {
                let exchanged = CodeError::Exchanged { first: index + 1, second: other + 1 };
                assert_eq!(TypedCode::parse(&typed.join(" ")), Err(exchanged));
            }
        }
    }
    for (index, group) in code::split_groups(&groups.join(" ")).iter().enumerate() {
        assert_eq!(code::check_group(index + 1, group), Ok(()));
        assert!(code::check_group((index + 1) % 32 + 1, group).is_err());
    }
    assert_eq!(code::split_groups(&groups.concat()), groups);
    let parse = |text: String| TypedCode::parse(&text).unwrap_err();
    let mut short = groups.clone();
    short[6].pop();
    assert_eq!(parse(short.join(" ")), CodeError::GroupLength { group: 7, found: 4 });
    assert_eq!(parse(short.concat()), CodeError::Length { found: 159 });
    // Left out, and said twice: the place is found by what follows.
    let mut without = groups.clone();
    let _left_out = without.remove(9);
    let twice = [&groups[..10], &groups[9..]].concat();
    for (text, found, word) in [
        (without.join(" "), 31, "look at group 10 and the one before it"),
        (groups[1..].join(" "), 31, "from the first group on"),
        (groups[..31].join(" "), 31, "the last ones are missing"),
        (twice.join("-"), 33, "look at group 11 and"),
        ([&groups[..], &groups[..1]].concat().join(" "), 33, "the last ones are too many"),
    ] {
        let error = parse(text);
        assert!(matches!(error, CodeError::GroupCount { found: f, .. } if f == found), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut odd = groups.clone();
    odd[2].replace_range(1..2, "U");
    assert_eq!(parse(odd.join("-")), CodeError::Symbol { group: 3, symbol: 'U' });
    assert_eq!(parse(" - ".to_owned()), CodeError::Empty);
    assert_eq!(parse(short.join(" ")).to_string(), "group 7 has 4 characters where 5 are needed");
    assert!(parse("SOL-4XQ7K-2M9TB-0RHJ5".to_owned()).to_string().contains("18 characters where 160"));
}

#[test]
fn qr_texts_come_back() {
    let (address, parts) = qr();
    assert!(address.starts_with("https://licenses.soluna.example/offline#CLVREQ1."), "{address}");
    // Version 20 of a QR code at level L holds 858 bytes; the part behind the fragment's mark counts 5.5 bits a character.
    assert!(address.len() < 800, "{}", address.len());
    assert_eq!(packed::request_of_fragment(&address).unwrap(), request());
    assert_eq!(packed::request_of_fragment(&address.to_lowercase()).unwrap(), request());
    assert_eq!(only(&read(address.as_bytes()).unwrap(), BlockKind::Request), request());
    assert!(parts.len() <= 5 && parts.iter().all(|p| p.len() < 760), "{parts:?}");
    let mut scanned = parts.clone();
    scanned.reverse();
    scanned.push(parts[0].clone());
    assert_eq!(only(&read(scanned.join("\r\n").as_bytes()).unwrap(), BlockKind::Response), response());
    let damage = |text: String| read(text.as_bytes()).unwrap().damaged[0].damage.clone();
    assert_eq!(damage(parts[1..].join("\n")), Damage::PartMissing { part: 1, parts: parts.len() });
    let mut wrong = parts.clone();
    let last = wrong[0].pop().unwrap();
    wrong[0].push(if last == 'A' { 'B' } else { 'A' });
    assert_eq!(damage(wrong.join(" ")), Damage::Packed);
    // A request with a receipt, and one that another program spelled differently, are packed too.
    for text in [signed_request(&activate_request()), foreign_spelling()] {
        let fragment = packed::request_fragment(&text).unwrap();
        assert_eq!(packed::request_of_fragment(&fragment).unwrap(), text);
    }
    assert!(packed::request_fragment(&"A".repeat(70_000)).is_err());
}

fn foreign_spelling() -> String {
    let header = header_of::<Request>(&device()).replace(r#"{"alg""#, r#"{ "x":1,"alg""#);
    sign_raw(header.as_bytes(), payload_of(&activate_request()).as_bytes(), &device())
}

/// Frozen texts are read for ever, whatever the compressor of the day would make of them.
#[test]
fn frozen_qr_texts_are_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qr");
    let frozen = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    if std::env::var_os("CLAVIGER_WRITE_GOLDEN").is_some_and(|v| v == "1")
        && !folder.join("request.txt").exists()
    {
        std::fs::write(folder.join("request.txt"), qr().0 + "\n").unwrap();
        std::fs::write(folder.join("response.txt"), qr().1.join("\n") + "\n").unwrap();
    }
    assert_eq!(only(&read(frozen("request.txt").as_bytes()).unwrap(), BlockKind::Request), request());
    assert_eq!(only(&read(frozen("response.txt").as_bytes()).unwrap(), BlockKind::Response), response());
}

/// A deflate stream that unpacks to far more than any document has is stopped.
#[test]
fn packed_bombs_are_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b'A'; 50_000_000], 9);
    let packed = [&[0u8][..], &bomb].concat();
    let text = format!("CLVREQ1.{}", BASE32_NOPAD.encode(&packed));
    assert!(packed::request_of_fragment(&text).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes);
        let _ = read(&[b"PK\x03\x04", &bytes[..]].concat());
        let _ = TypedCode::parse(&String::from_utf8_lossy(&bytes));
        let _ = packed::request_of_fragment(&format!("CLVREQ1.{}", BASE32_NOPAD.encode(&bytes)));
    }

    #[test]
    fn whatever_is_written_is_read(text in "[A-Za-z0-9_.-]{1,3000}") {
        let file = write_file(FileKind::Request, &[], &text);
        let contents = read(file.as_bytes()).unwrap();
        prop_assert_eq!(&contents.blocks[0].text, &text);
    }
}
