//! Usage statistics: the closed list of a report, compared with what people were told; and reports, plans, notices and
//! token requests made by someone who wants to be believed.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use claviger_protocol::clock::DAY;
use claviger_protocol::daw::Daw;
use claviger_protocol::documents::{DocumentError, KeyInHeader, sign};
use claviger_protocol::telemetry::voprf::TokenIssuer as _;
use claviger_protocol::telemetry::{
    BATCH, Notice, OPEN_DAYS, Plan, ProductVersion, REPORT_FIELDS, REPORT_LEN, TokenRequest, UsageReport,
    Uses, closes,
};
use common::documents::keyset;
use common::telemetry::*;
use common::{NOW, device, issuing, product, retired, root, signed, stranger, vendor};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refusal<T>(result: Result<T, DocumentError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "believed")
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// A body of the right length around this JSON.
fn body(json: &str) -> Vec<u8> {
    format!("{json:REPORT_LEN$}").into_bytes()
}

#[test]
fn a_report_is_the_closed_list_and_nothing_else() {
    let value = serde_json::to_value(usage_report()).unwrap();
    let listed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/usage_report.txt"));
    let listed: BTreeSet<String> = listed.unwrap().lines().map(str::to_owned).collect();
    let told = "a change of this list is a new purpose: it needs a new schema, a new notice and everyone\u{2019}s consent anew";
    assert_eq!(names(&value), listed, "{told}");
    assert_eq!(names(&value), REPORT_FIELDS.map(str::to_owned).into(), "{told}");
    // As PRIVACY.md lists them: seven fields, and six buckets.
    assert_eq!(Uses::ALL.map(Uses::as_str), ["1", "2-4", "5-9", "10-19", "20-49", "50+"]);
    let request = serde_json::to_value(token_request()).unwrap();
    assert_eq!(names(&request), ["aud", "elements", "iat", "slot", "v", "week"].map(str::to_owned).into());
}

#[test]
fn every_report_has_the_same_length_and_one_spelling() {
    let mut report = usage_report();
    let longest = format!("com.{}", "a".repeat(124));
    report.product_id = longest.parse().unwrap();
    report.product_version = "9".repeat(32).parse().unwrap();
    for daw in Daw::ALL {
        report.daw = *daw;
        for uses in Uses::ALL {
            report.uses = uses;
            let text = report.to_body();
            assert_eq!(text.len(), REPORT_LEN);
            assert_eq!(UsageReport::from_body(text.as_bytes()).unwrap(), report);
        }
    }
}

#[test]
fn reports_with_anything_more_or_less_are_refused() {
    let good = serde_json::to_string(&usage_report()).unwrap();
    let code = |bytes: &[u8]| UsageReport::from_body(bytes).map_or_else(|e| e.code(), |_| "believed");
    assert_eq!(code(&body(&good)), "believed");
    assert_eq!(code(good.as_bytes()), "wrong_length");
    assert_eq!(code(&[b' '; REPORT_LEN]), "bad_json");
    assert_eq!(code(&vec![b'x'; REPORT_LEN + 1]), "wrong_length");
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(code(&body(&with(r#""machine_id":"x""#))), "bad_json");
    assert_eq!(code(&body(&with(r#""week":"2026-W46""#))), "duplicate_name");
    assert_eq!(code(&body(&good.replace("{\"schema\":1", "{ \"schema\":1"))), "wrong_padding");
    assert_eq!(code(&body(&format!(" {good}"))), "wrong_padding");
    assert_eq!(code(&body(&format!("{good}\n"))), "wrong_padding");
    assert_eq!(code(&body(&format!("{good} 1"))), "bad_json");
    assert_eq!(code(&body(&good.replace("\"reaper\"", "\"re\\u0061per\""))), "wrong_padding");
    assert_eq!(code(&body(&good.replace("\"schema\":1", "\"schema\":2"))), "wrong_schema");
    for field in REPORT_FIELDS {
        let mut value = serde_json::to_value(usage_report()).unwrap();
        value.as_object_mut().unwrap().remove(field);
        assert_eq!(code(&body(&value.to_string())), "bad_json", "without {field}");
        for odd in
            [json!(null), json!("free text of a person"), json!({"a": 1}), json!([]), json!(-1), json!(2.5)]
        {
            let mut value = serde_json::to_value(usage_report()).unwrap();
            value[field] = odd.clone();
            assert_eq!(code(&body(&value.to_string())), "bad_json", "{field} = {odd}");
        }
    }
}

#[test]
fn buckets_hold_what_they_say() {
    let bucket = |n| Uses::of(n).map_or("none", Uses::as_str);
    let edges = [0, 1, 2, 4, 5, 9, 10, 19, 20, 49, 50, u64::MAX];
    let found = edges.map(bucket);
    assert_eq!(
        found,
        ["none", "1", "2-4", "2-4", "5-9", "5-9", "10-19", "10-19", "20-49", "20-49", "50+", "50+"]
    );
}

#[test]
fn versions_cannot_hold_sentences() {
    for good in ["1", "2.4.1", "1.0.0-beta.2+17", "other"] {
        assert!(good.parse::<ProductVersion>().is_ok(), "{good}");
    }
    for bad in ["", " ", "a b", "-1", ".1", "1/2", "ä", "1\n", &"1".repeat(33)] {
        assert!(bad.parse::<ProductVersion>().is_err(), "{bad:?}");
    }
}

#[test]
fn only_what_the_plan_lists_can_be_named() {
    let (plan, report) = (plan(), usage_report());
    assert!(report.is_eligible(&plan));
    let other = |change: fn(&mut UsageReport)| {
        let mut changed = report.clone();
        change(&mut changed);
        changed.is_eligible(&plan)
    };
    assert!(other(|r| r.product_version = ProductVersion::other()));
    assert!(other(|r| r.daw = Daw::Other));
    assert!(!other(|r| r.product_version = "2.3.9".parse().unwrap()));
    assert!(!other(|r| r.daw = Daw::Renoise));
    assert!(!other(|r| r.product_id = product("rare")));
    assert!(!other(|r| r.week = r.week.plus(-1)));
    assert!(!other(|r| r.week = r.week.plus(13)));
    assert_eq!(plan.version(&product("reverb"), &"2.4.1".parse().unwrap()), ProductVersion::other());
    assert_eq!(closes(week()), week().end().plus(OPEN_DAYS * DAY));
}

#[test]
fn plans_by_strangers_and_plans_made_too_late_are_refused() {
    let verify = |text: &str| refusal(Plan::verify(text, &keyset()));
    assert_eq!(verify(&signed(&plan(), &issuing())), "believed");
    assert_eq!(verify(&signed(&plan(), &stranger())), "unknown_kid");
    assert_eq!(verify(&signed(&plan(), &root())), "unknown_kid");
    assert_eq!(verify(&signed(&notice(), &issuing())), "wrong_typ");
    let changed = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        verify(&signed(&plan, &issuing()))
    };
    assert_eq!(changed(|p| p.iss = "com.other".parse().unwrap()), "wrong_vendor");
    assert_eq!(changed(|p| p.iat = p.weeks[0].week.start().plus(1)), "bad_claim");
    assert_eq!(changed(|p| p.weeks.clear()), "bad_claim");
    assert_eq!(changed(|p| p.weeks.retain(|w| w.week != week().plus(3))), "bad_claim");
    assert_eq!(changed(|p| p.weeks.swap(0, 1)), "bad_claim");
    assert_eq!(changed(|p| p.weeks.extend(p.weeks.clone())), "bad_claim");
    assert_eq!(changed(|p| p.titles.extend(p.titles.clone())), "bad_claim");
    assert_eq!(changed(|p| p.titles[0].versions = vec![ProductVersion::other(); 257]), "bad_claim");
    let late = Plan { iat: NOW, weeks: plan().weeks[2..].to_vec(), ..plan() };
    assert_eq!(verify(&signed(&late, &retired())), "retired_key");
}

#[test]
fn a_second_key_for_a_week_contradicts() {
    let known = plan();
    let mut next = plan();
    assert!(!next.contradicts(&known));
    next.titles.clear();
    assert!(!next.contradicts(&known), "only keys count: lists may be corrected");
    next.weeks[5].key = issuer(week().plus(40)).public();
    assert!(next.contradicts(&known) && known.contradicts(&next));
    let later = Plan { weeks: next.weeks[6..].to_vec(), ..next };
    assert!(!later.contradicts(&known));
}

#[test]
fn a_daw_of_a_later_catalogue_is_passed_over() {
    let mut value = serde_json::to_value(plan()).unwrap();
    value["daws"] = json!(["moon-studio", "reaper"]);
    value["moon"] = json!(1);
    assert_eq!(serde_json::from_value::<Plan>(value).unwrap().daws, [Daw::Reaper]);
}

#[test]
fn notices_name_everything_and_hide_nothing() {
    let verify = |text: &str| refusal(Notice::verify(text, &keyset()));
    assert_eq!(verify(&signed(&notice(), &issuing())), "believed");
    assert_eq!(verify(&signed(&notice(), &stranger())), "unknown_kid");
    let changes: [fn(&mut Notice); 16] = [
        |n| n.purpose = "advertising".to_owned(),
        |n| drop(n.fields.pop()),
        |n| n.fields.push("machine_id".to_owned()),
        |n| n.fields[0] = n.fields[1].clone(),
        |n| drop(n.texts.remove("en")),
        |n| n.controller.name = String::new(),
        |n| n.controller.address = " ".to_owned(),
        |n| n.controller.contact = "a\u{1b}[2Jb".to_owned(),
        |n| n.authority.url = String::new(),
        |n| n.policy.version = String::new(),
        |n| n.recipients = vec!["x".to_owned(); 33],
        |n| n.recipients = vec!["x\ny".to_owned()],
        |n| n.retention_days = 0,
        |n| n.texts.get_mut("en").unwrap().text = "x".repeat(16_385),
        |n| n.texts.get_mut("de").unwrap().text = "right\u{202e}left".to_owned(),
        |n| n.texts.get_mut("de").unwrap().title = "\u{7}".to_owned(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut notice = notice();
        change(&mut notice);
        assert_eq!(verify(&signed(&notice, &issuing())), "bad_claim", "change {at}");
    }
}

#[test]
fn a_changed_purpose_field_or_policy_asks_again_and_a_corrected_word_does_not() {
    let terms = notice().terms();
    let after = |change: fn(&mut Notice)| {
        let mut notice = notice();
        change(&mut notice);
        notice.terms() == terms
    };
    assert!(after(|n| n.version += 1));
    assert!(after(|n| n.texts.get_mut("en").unwrap().text.push('!')));
    assert!(after(|n| n.controller.contact = "new@soluna.example".to_owned()));
    assert!(!after(|n| n.purpose = "other".to_owned()));
    assert!(!after(|n| n.fields.push("more".to_owned())));
    assert!(!after(|n| n.policy.version = "2027-01-01".to_owned()));
    assert!(!after(|n| n.controller.name = "Buyer Inc.".to_owned()));
    assert!(!after(|n| n.recipients.push("Someone".to_owned())));
    assert!(!after(|n| n.retention_days += 1));
}

#[test]
fn the_nearest_language_is_shown() {
    let notice = notice();
    for (wanted, shown) in [
        ("de", "de"),
        ("de-CH", "de"),
        ("de_CH.UTF-8", "de"),
        ("DE", "de"),
        ("fr", "en"),
        ("", "en"),
        ("C", "en"),
    ] {
        assert_eq!(notice.text(wanted).0, shown, "{wanted}");
    }
}

#[test]
fn token_requests_are_a_closed_list_of_one_size() {
    let verify = |text: &str| refusal(TokenRequest::verify(text, &vendor()));
    assert_eq!(verify(&signed_token_request(&token_request())), "believed");
    assert_eq!(verify(&sign(&token_request(), &device(), KeyInHeader::Named)), "no_kid");
    let changed = |change: fn(&mut TokenRequest)| {
        let mut request = token_request();
        change(&mut request);
        verify(&signed_token_request(&request))
    };
    assert_eq!(changed(|r| r.v = 2), "bad_claim");
    assert_eq!(changed(|r| r.slot = 8), "bad_claim");
    assert_eq!(changed(|r| r.elements.truncate(BATCH - 1)), "bad_claim");
    assert_eq!(changed(|r| r.elements.push(r.elements[0])), "bad_claim");
    assert_eq!(changed(|r| r.elements.clear()), "bad_claim");
    assert_eq!(changed(|r| r.aud = "com.other".parse().unwrap()), "wrong_vendor");
    let mut text = signed_token_request(&token_request());
    text.pop();
    assert_ne!(verify(&text), "believed");
    assert_eq!(token_request().elements.len(), BATCH);
}

#[test]
fn tokens_are_not_printed() {
    assert!(!format!("{:?}", usage_report()).contains(&usage_report().token.to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_damaged_report_is_never_read_as_another(at in 0usize..REPORT_LEN, byte in any::<u8>()) {
        let good = usage_report().to_body().into_bytes();
        let mut bytes = good.clone();
        bytes[at] = byte;
        if let Ok(read) = UsageReport::from_body(&bytes) {
            // What is read is exactly what is written: no second spelling.
            prop_assert_eq!(read.to_body().into_bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), REPORT_LEN), text in "\\PC{0,80}") {
        prop_assert!(UsageReport::from_body(&bytes).is_err());
        let _ = (text.parse::<ProductVersion>(), text.parse::<Daw>(), Daw::of_program(&text));
        let _ = text.parse::<claviger_protocol::telemetry::Week>();
        let _ = notice().text(&text);
    }
}
