//! Items and tests of our own making.

use super::super::bank::Question;
use super::item;
use super::package::Package;
use super::{Content, read, resolve, xml};

/// An item with a body, the declaration of its answer, and how it is processed.
fn item_of(identifier: &str, declaration: &str, body: &str, processing: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<qti-assessment-item xmlns="http://www.imsglobal.org/xsd/imsqtiasi_v3p0" identifier="{identifier}" title="T" time-dependent="false">
<qti-response-declaration identifier="RESPONSE" {declaration}</qti-response-declaration>
<qti-outcome-declaration identifier="SCORE" cardinality="single" base-type="float"/>
<qti-item-body>{body}</qti-item-body>
{processing}
</qti-assessment-item>"#
    )
}

const MATCH: &str = r#"<qti-response-processing template="https://purl.imsglobal.org/spec/qti/v3p0/rptemplates/match_correct.xml"/>"#;
const MAP: &str = r#"<qti-response-processing template="https://purl.imsglobal.org/spec/qti/v3p0/rptemplates/map_response"/>"#;
const CHOICES: &str = r#"<p>Which gas?</p><qti-choice-interaction response-identifier="RESPONSE" shuffle="true" max-choices="0">
  <qti-prompt>Blue  bottles hold:</qti-prompt>
  <qti-simple-choice identifier="A">Oxygen</qti-simple-choice>
  <qti-simple-choice identifier="B">Argon</qti-simple-choice>
  <qti-simple-choice identifier="C">Helium</qti-simple-choice>
</qti-choice-interaction>"#;

fn question(xml: &str) -> (Question, bool, Vec<&'static str>) {
    let document = xml::parse(xml).unwrap();
    let (item, remarks) = item::read(&document).unwrap();
    let codes = remarks
        .iter()
        .map(|(_, remark)| remark.reason.code)
        .collect();
    (item.question, item.shuffles, codes)
}

fn refusal(xml: &str) -> &'static str {
    let document = xml::parse(xml).unwrap();
    item::read(&document).unwrap_err().1.reason.code
}

fn answer(question: &Question) -> String {
    question.answer.as_ref().unwrap().to_string()
}

#[test]
fn choices_are_single_or_multiple() {
    let (single, shuffles, remarks) = question(&item_of(
        "gas-1",
        r#"cardinality="single" base-type="identifier"><qti-correct-response><qti-value>A</qti-value></qti-correct-response>"#,
        CHOICES,
        MATCH,
    ));
    assert_eq!((single.kind, shuffles, remarks.len()), ("single", true, 0));
    assert_eq!(single.prompt, "Which gas?\n\nBlue bottles hold:");
    assert_eq!(answer(&single), r#"{"correct":"A"}"#);
    assert_eq!(
        serde_json::to_string(&single.content).unwrap(),
        r#"{"options":[{"id":"A","text":"Oxygen"},{"id":"B","text":"Argon"},{"id":"C","text":"Helium"}]}"#
    );

    let both = r#"<qti-correct-response><qti-value>A</qti-value><qti-value>C</qti-value></qti-correct-response>"#;
    let multiple = format!(r#"cardinality="multiple" base-type="identifier">{both}"#);
    let (question_, _, _) = question(&item_of("gas-2", &multiple, CHOICES, MATCH));
    assert_eq!((question_.kind, question_.scoring), ("multiple", None));
    assert_eq!(answer(&question_), r#"{"correct":["A","C"]}"#);

    for (bounds, wrong, scoring, remarks) in [
        (r#" lower-bound="0""#, "-1.5", "partial", vec![]),
        ("", "-1.5", "partial_negative", vec![]),
        ("", "0", "partial", vec!["scoring_differs"]),
    ] {
        let mapped = format!(
            r#"{multiple}<qti-mapping default-value="{wrong}"{bounds}>
               <qti-map-entry map-key="A" mapped-value="1.5"/><qti-map-entry map-key="C" mapped-value="1.5"/></qti-mapping>"#
        );
        let (question, _, found) = question(&item_of("gas-3", &mapped, CHOICES, MAP));
        assert_eq!((question.scoring, question.points.0), (Some(scoring), 3.0));
        assert_eq!(found, remarks);
    }
}

#[test]
fn texts_and_numbers_are_typed() {
    let body = r#"<p>The colour is <qti-text-entry-interaction response-identifier="RESPONSE"/>, always.</p>"#;
    let (text, _, _) = question(&item_of(
        "_colour 1",
        r#"cardinality="single" base-type="string"><qti-mapping default-value="0">
           <qti-map-entry map-key="blue" mapped-value="2" case-sensitive="false"/>
           <qti-map-entry map-key="azure" mapped-value="1" case-sensitive="false"/></qti-mapping>"#,
        body,
        MAP,
    ));
    assert_eq!(text.question_key, "colour-1");
    assert_eq!(text.prompt, "The colour is ____, always.");
    assert_eq!((text.kind, text.points.0), ("short_answer", 2.0));
    assert_eq!(
        text.answer,
        Some(serde_json::json!({
            "accepted": [{ "text": "blue" }, { "text": "azure", "fraction": "0.500000" }],
            "case_sensitive": false, "keep_diacritics": true, "keep_punctuation": true,
        }))
    );

    let float = r#"cardinality="single" base-type="float"><qti-correct-response><qti-value>2.50</qti-value></qti-correct-response>"#;
    let (number, _, _) = question(&item_of("n", float, body, MATCH));
    assert_eq!(
        (number.kind, answer(&number).as_str()),
        ("numeric", r#"{"value":"2.50"}"#)
    );
    for (mode, tolerance, expected) in [
        (
            "absolute",
            "0.05 0.05",
            r#"{"tolerance":"0.05","tolerance_kind":null}"#,
        ),
        (
            "relative",
            "2.5",
            r#"{"tolerance":"0.025","tolerance_kind":"relative"}"#,
        ),
    ] {
        let processing = format!(
            r#"<qti-response-processing><qti-response-condition><qti-response-if>
               <qti-equal tolerance-mode="{mode}" tolerance="{tolerance}"><qti-variable identifier="RESPONSE"/><qti-correct identifier="RESPONSE"/></qti-equal>
               <qti-set-outcome-value identifier="SCORE"><qti-base-value base-type="float">1</qti-base-value></qti-set-outcome-value>
               </qti-response-if></qti-response-condition></qti-response-processing>"#
        );
        let (number, _, remarks) = question(&item_of("n", float, body, &processing));
        let key = number.answer.unwrap();
        let found = serde_json::json!({ "tolerance": key["tolerance"], "tolerance_kind": key["tolerance_kind"] });
        assert_eq!((found.to_string().as_str(), remarks.len()), (expected, 0));
    }
    let mapped = r#"cardinality="single" base-type="integer"><qti-mapping default-value="0"><qti-map-entry map-key="7" mapped-value="3"/></qti-mapping>"#;
    let (number, _, _) = question(&item_of("n", mapped, body, MAP));
    assert_eq!(
        (answer(&number).as_str(), number.points.0),
        (r#"{"value":"7"}"#, 3.0)
    );
}

#[test]
fn matching_ordering_essays_and_uploads() {
    let set = |ids: &[&str]| {
        let choices: String = ids
            .iter()
            .map(|id| format!(r#"<qti-simple-associable-choice identifier="{id}" match-max="1">{id} text</qti-simple-associable-choice>"#))
            .collect();
        format!("<qti-simple-match-set>{choices}</qti-simple-match-set>")
    };
    let body = format!(
        r#"<qti-match-interaction response-identifier="RESPONSE"><qti-prompt>Match</qti-prompt>{}{}</qti-match-interaction>"#,
        set(&["p", "q"]),
        set(&["x", "y", "z"])
    );
    let pairs = |pairs: &[&str]| {
        let values: String = pairs
            .iter()
            .map(|pair| format!("<qti-value>{pair}</qti-value>"))
            .collect();
        format!(
            r#"cardinality="multiple" base-type="directedPair"><qti-correct-response>{values}</qti-correct-response>"#
        )
    };
    let (matching, _, _) = question(&item_of("m", &pairs(&["p y", "q x"]), &body, MATCH));
    assert_eq!(answer(&matching), r#"{"pairs":{"p":"y","q":"x"}}"#);
    assert_eq!(
        refusal(&item_of("m", &pairs(&["p y"]), &body, MATCH)),
        "not_one_to_one"
    );
    assert_eq!(
        refusal(&item_of("m", &pairs(&["p y", "p x", "q z"]), &body, MATCH)),
        "not_one_to_one"
    );

    let body = r#"<qti-order-interaction response-identifier="RESPONSE"><qti-prompt>Order</qti-prompt>
        <qti-simple-choice identifier="a">First</qti-simple-choice><qti-simple-choice identifier="b">Second</qti-simple-choice></qti-order-interaction>"#;
    let (ordering, _, _) = question(&item_of(
        "o",
        r#"cardinality="ordered" base-type="identifier"><qti-correct-response><qti-value>b</qti-value><qti-value>a</qti-value></qti-correct-response>"#,
        body,
        MATCH,
    ));
    assert_eq!(
        (ordering.kind, answer(&ordering).as_str()),
        ("ordering", r#"{"order":["b","a"]}"#)
    );

    let essay = r#"<p>Why?</p><qti-rubric-block view="scorer"><qti-content-body><p>Look for heat.</p></qti-content-body></qti-rubric-block>
        <qti-extended-text-interaction response-identifier="RESPONSE"/>"#;
    let (essay, _, _) = question(&item_of(
        "e",
        r#"cardinality="single" base-type="string">"#,
        essay,
        "",
    ));
    assert_eq!((essay.kind, essay.prompt.as_str()), ("essay", "Why?"));
    assert_eq!(answer(&essay), r#"{"model_answer":"Look for heat."}"#);

    let upload = r#"<p>Hand in a photo.</p><qti-upload-interaction response-identifier="RESPONSE" type="image/png"/>"#;
    let (upload, _, remarks) = question(&item_of(
        "u",
        r#"cardinality="single" base-type="file">"#,
        upload,
        "",
    ));
    assert_eq!(
        (upload.kind, remarks),
        ("file_upload", vec!["upload_type_left_out"])
    );
}

#[test]
fn what_has_no_place_is_refused_with_its_reason() {
    let single = r#"cardinality="single" base-type="identifier"><qti-correct-response><qti-value>A</qti-value></qti-correct-response>"#;
    for (body, reason) in [
        ("<p>Nothing.</p>".to_owned(), "no_interaction"),
        (CHOICES.repeat(2), "several_interactions"),
        (
            r#"<p>Where?</p><qti-hotspot-interaction response-identifier="RESPONSE"/>"#.to_owned(),
            "unknown_interaction",
        ),
        (
            format!(r#"<img src="a.png" alt="A"/>{CHOICES}"#),
            "not_only_text",
        ),
        (
            CHOICES.replace("Oxygen", r#"<img src="o.png"/>"#),
            "not_only_text",
        ),
        (
            CHOICES.replace(r#"identifier="A""#, r#"identifier="D""#),
            "no_usable_answer",
        ),
    ] {
        assert_eq!(
            refusal(&item_of("x", single, &body, MATCH)),
            reason,
            "{body}"
        );
    }
    let adaptive = item_of("x", single, CHOICES, MATCH).replace(
        r#"time-dependent="false""#,
        r#"time-dependent="false" adaptive="true""#,
    );
    assert_eq!(refusal(&adaptive), "adaptive_item");
    assert_eq!(
        refusal(&item_of(
            "x",
            r#"cardinality="single" base-type="identifier">"#,
            CHOICES,
            MATCH
        )),
        "no_usable_answer"
    );
}

#[test]
fn dtds_entities_and_depths_are_refused() {
    let bomb = r#"<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]><a>&z;</a>"#;
    assert!(xml::parse(bomb).is_err());
    let outside = r#"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#;
    assert!(xml::parse(outside).is_err());
    assert!(xml::parse("<a>&unknown;</a>").is_err());
    // Thousands deep, with something in an attribute that looks like an end.
    let deep = r#"<a b="/&gt;">"#.repeat(40_000) + &"</a>".repeat(40_000);
    assert_eq!(
        xml::parse(&deep).unwrap_err(),
        "its elements are nested too deeply"
    );
    assert!(xml::parse(&format!("<a>{}</a>", "<b/>".repeat(200_000))).is_err());
}

fn package(files: &[(&str, &str)]) -> Package {
    let mut package = Package::default();
    for (name, text) in files {
        package.files.insert((*name).to_owned(), (*text).to_owned());
    }
    package
}

fn codes(content: &Content) -> Vec<&str> {
    content
        .remarks
        .iter()
        .map(|located| located.remark.reason.code)
        .collect()
}

#[test]
fn a_test_becomes_an_assessment_with_pools() {
    let single = r#"cardinality="single" base-type="identifier"><qti-correct-response><qti-value>A</qti-value></qti-correct-response>"#;
    let item = |name: &str| item_of(name, single, CHOICES, MATCH);
    let test = r#"<qti-assessment-test xmlns="http://www.imsglobal.org/xsd/imsqtiasi_v3p0" identifier="Final_1" title="Final">
      <qti-time-limits max-time="5430"/>
      <qti-test-part identifier="p" navigation-mode="linear" submission-mode="simultaneous">
        <qti-assessment-section identifier="s1" title="Gases" visible="true"><qti-selection select="1"/><qti-ordering shuffle="true"/>
          <qti-assessment-item-ref identifier="r1" href="../items/a.xml"><qti-weight identifier="W" value="2.5"/></qti-assessment-item-ref>
          <qti-assessment-item-ref identifier="r2" href="../items/b.xml"/>
          <qti-assessment-item-ref identifier="r3" href="../items/a.xml"/>
          <qti-assessment-item-ref identifier="r4" href="../../../etc/passwd"/>
        </qti-assessment-section>
        <qti-assessment-section identifier="s2" title="None" visible="true"/>
      </qti-test-part></qti-assessment-test>"#;
    let content = read(
        "x",
        &package(&[
            ("tests/t.xml", test),
            ("items/a.xml", &item("a")),
            ("items/b.xml", &item("b")),
            ("items/c.xml", &item("c")),
            ("items/d.xml", &item("a")),
            ("old.xml", "<assessmentItem/>"),
            ("odd.xml", "<odd"),
            ("imsmanifest.xml", "<manifest/>"),
        ]),
    )
    .unwrap();
    let [assessment] = &content.bank.assessments[..] else {
        panic!("one assessment is due");
    };
    assert_eq!(
        (
            assessment.key.as_str(),
            assessment.title.as_str(),
            assessment.time_limit_minutes
        ),
        ("final-1", "Final", Some(91))
    );
    assert!(assessment.shuffle_questions && assessment.shuffle_options);
    assert_eq!(assessment.sections.len(), 1);
    assert_eq!(assessment.sections[0].draw_count, Some(1));
    let questions: Vec<_> = assessment
        .questions
        .iter()
        .map(|question| (question.question_key.as_str(), question.points.0))
        .collect();
    assert_eq!(questions, [("a", 2.5), ("b", 1.0)]);
    let mut found = codes(&content);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "asked_twice",
            "in_no_test",
            "item_missing",
            "not_xml",
            "older_version",
            "repeated_item"
        ]
    );
    assert_eq!(
        content.not_imported,
        [("manifests, with their metadata".to_owned(), 1)]
    );
}

#[test]
fn items_without_a_test_are_one_assessment() {
    let single = r#"cardinality="single" base-type="identifier"><qti-correct-response><qti-value>A</qti-value></qti-correct-response>"#;
    let content = read(
        "Gas safety",
        &package(&[("a.xml", &item_of("a", single, CHOICES, MATCH))]),
    )
    .unwrap();
    assert_eq!(content.bank.assessments[0].key, "gas-safety");
    assert_eq!(content.bank.assessments[0].title, "Gas safety");
    assert!(read("x", &package(&[])).is_err());
}

#[test]
fn references_stay_in_the_package() {
    assert_eq!(resolve("tests/t.xml", "../items/a.xml"), "items/a.xml");
    assert_eq!(resolve("t.xml", "./a.xml"), "a.xml");
    assert_eq!(resolve("t.xml", "/../../a.xml"), "a.xml");
}

proptest::proptest! {
    /// Whatever a stranger writes is a question or a reason, and never the end of the program.
    #[test]
    fn damaged_items_are_refused_and_nothing_worse(
        place in 0_usize..2_000,
        length in 0_usize..60,
        put in "[\\PC<>&/\"=_.0-9-]{0,12}",
        base in proptest::sample::select(vec!["identifier", "float", "string", "directedPair", "ü"]),
        body in proptest::sample::select(vec![
            CHOICES,
            r#"<p>ü<br/><pre>
 x</pre> <qti-text-entry-interaction response-identifier="RESPONSE"/></p>"#,
            r#"<qti-order-interaction response-identifier="RESPONSE"><qti-simple-choice identifier="A">é</qti-simple-choice></qti-order-interaction>"#,
        ]),
    ) {
        let declaration = format!(
            r#"cardinality="multiple" base-type="{base}"><qti-correct-response><qti-value>A</qti-value></qti-correct-response>
               <qti-mapping default-value="-1e308"><qti-map-entry map-key="A" mapped-value="1e308"/></qti-mapping>"#
        );
        let mut text: Vec<char> = item_of("x", &declaration, body, MAP).chars().collect();
        let begin = place.min(text.len());
        let end = (begin + length).min(text.len());
        text.splice(begin..end, put.chars());
        let text: String = text.into_iter().collect();
        if let Ok(document) = xml::parse(&text)
            && let Ok((item, _)) = item::read(&document)
        {
            proptest::prop_assert!(!item.question.prompt.is_empty());
            proptest::prop_assert!(item.question.points.0 > 0.0 && item.question.points.0 < 1e6);
        }
        let _ = super::super::answers::read(&text, super::super::answers::About::default());
        let _ = super::super::answers::read(&put, super::super::answers::About::default());
    }
}
