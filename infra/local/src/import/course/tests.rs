//! The portable format: what is written is read again, byte for byte, and hostile files are refused by file and line.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::document::{
    Block, Course, Decimal, Lesson, LessonSkill, Module, Object, Skill, from_json,
};
use super::folder::{File, read, write};

fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// Faults as `file:line code`.
fn faults(files: &[File]) -> Vec<String> {
    read("course", files)
        .unwrap_err()
        .iter()
        .map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.code))
        .collect()
}

// Round trip ==========================================================================================================

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("---\n".to_owned()),
        Just("```lyceum-block json\n".to_owned()),
        Just("```\n".to_owned()),
        Just("<!-- lyceum-block {} -->\n".to_owned()),
        Just("# Title\n".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{2028}\u{85}".to_owned()),
        Just("  \t".to_owned()),
        Just("key: [value] # no".to_owned()),
        Just("--> \\ \" ' & * ! | > % @".to_owned()),
        "[ -~äß中😀]{0,12}".prop_map(|text| text),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn titles() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][ -~äß中😀]{0,20}",
        Just("No".to_owned()),
        Just("2024".to_owned()),
        Just("null".to_owned()),
        Just(" padded ".to_owned()),
        Just("\u{7f}\u{85}\u{2028}x".to_owned()),
        Just("- : # {".to_owned()),
        Just("don't".to_owned()),
        Just("'quoted'".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_000_000_i64..1_000_000).prop_map(Value::from),
        (-1.0e6..1.0e6_f64).prop_map(Value::from),
        Just(json!(0.1)),
        Just(json!(1e-7)),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((texts(), inner), 0..4)
                .prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}

fn objects() -> impl Strategy<Value = Object> {
    proptest::collection::vec((texts(), values()), 0..3)
        .prop_map(|entries| Object(Map::from_iter(entries)))
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,4}(-[a-z0-9]{1,3}){0,2}",
        "[0-9]{1,3}-[a-z]{1,4}"
    ]
}

fn blocks() -> impl Strategy<Value = Block> {
    (
        prop_oneof![Just("markdown"), Just("markdown"), Just("video")],
        proptest::option::of(titles()),
        any::<bool>(),
        texts(),
        objects(),
        prop_oneof![Just(Object::default()), objects()],
    )
        .prop_map(|(kind, title, is_optional, text, object, metadata)| Block {
            kind: kind.to_owned(),
            title,
            is_optional,
            content: if kind == "markdown" {
                Object::of("markdown", text)
            } else {
                object
            },
            metadata,
        })
}

fn lessons() -> impl Strategy<Value = Lesson> {
    (
        (keys(), titles(), texts(), proptest::option::of(0_u32..500)),
        (any::<bool>(), any::<bool>(), any::<bool>()),
        proptest::collection::vec(texts(), 0..3),
        proptest::collection::vec(
            (keys(), any::<bool>(), proptest::option::of(0.01..1.0_f64)),
            0..3,
        ),
        (
            prop_oneof![
                Just("manual"),
                Just("all_blocks"),
                Just("watched"),
                Just("attendance"),
                Just("sign_off")
            ],
            prop_oneof![Just(90.0), Just(75.5), Just(100.0)],
            prop_oneof![
                Just((None, None)),
                (0_u32..3650).prop_map(|days| (Some(days), None)),
                Just((None, Some("2026-02-28".to_owned())))
            ],
        ),
        proptest::collection::vec(blocks(), 0..4),
    )
        .prop_map(
            |((key, title, description, duration), flags, objectives, skills, rule, blocks)| {
                let (release_after_days, release_on) = rule.2;
                let mut skills: Vec<_> = skills
                    .into_iter()
                    .map(|(key, teaches, threshold)| LessonSkill {
                        key,
                        part: if teaches { "teaches" } else { "practices" }.to_owned(),
                        mastery_threshold: threshold
                            .map(|threshold| Decimal((threshold * 100.0).round() / 100.0)),
                    })
                    .collect();
                skills.sort_by(|a, b| a.key.cmp(&b.key));
                skills.dedup_by(|a, b| a.key == b.key);
                Lesson {
                    key,
                    title,
                    description,
                    kind: if flags.0 { "text" } else { "video" }.to_owned(),
                    duration,
                    requires_completion: flags.0,
                    is_published: flags.1,
                    is_preview: flags.2,
                    objectives,
                    skills,
                    prerequisites: Vec::new(),
                    completion_rule: rule.0.to_owned(),
                    required_watched_percentage: Decimal(rule.1),
                    release_after_days,
                    release_on,
                    blocks,
                }
            },
        )
}

prop_compose! {
    fn courses()(
        (slug, title, description) in (keys(), titles(), texts()),
        (metadata, training_record) in (objects(), objects()),
        tags in proptest::option::of(proptest::collection::vec(keys(), 0..3)),
        texts in proptest::option::of(texts()),
        (flag, number, score) in (any::<bool>(), proptest::option::of(1_u32..1000), prop_oneof![Just(0.0), Just(70.0), Just(66.67)]),
        skills in proptest::collection::vec((keys(), titles(), texts()), 0..3),
        modules in proptest::collection::vec((keys(), titles(), texts(), proptest::collection::vec(lessons(), 0..3)), 0..3),
        chain in any::<bool>(),
    ) -> Course {
        let mut course = Course::new(slug, title);
        course.description = description;
        course.metadata = metadata;
        course.training_record = training_record;
        course.tags = tags;
        course.is_sequential = flag;
        course.allow_retake = !flag;
        course.max_attempts = number;
        course.estimated_minutes = number;
        course.required_score = Decimal(score);
        course.visibility = flag.then(|| "private".to_owned());
        course.meta_keywords = texts;
        course.skills = skills.into_iter().map(|(key, name, description)| Skill { key, name, description }).collect();
        course.skills.sort_by(|a, b| a.key.cmp(&b.key));
        course.skills.dedup_by(|a, b| a.key == b.key);
        // Keys are unique; each lesson may wait for the one before.
        let mut last: Option<String> = None;
        let mut place = 0;
        for (key, title, description, mut lessons) in modules {
            for lesson in &mut lessons {
                place += 1;
                lesson.key = format!("{}-{place}", lesson.key);
                if chain {
                    lesson.prerequisites.extend(last.clone());
                }
                last = Some(lesson.key.clone());
            }
            course.modules.push(Module { key: format!("{key}-{}", course.modules.len()), title, description, lessons });
        }
        course.put_in_order();
        course
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_course_is_the_same_after_it_was_a_folder(course in courses()) {
        prop_assume!(course.faults().is_empty());
        let files = write(&course).unwrap();
        let again = read("elsewhere", &files).map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{files:#?}")))?;
        prop_assert_eq!(&again.course, &course);
        prop_assert_eq!(write(&again.course).unwrap(), files);
    }

    #[test]
    fn a_course_is_the_same_after_it_was_a_document(course in courses()) {
        let document = course.to_json().unwrap();
        let again = from_json(&document).unwrap();
        prop_assert_eq!(&again, &course);
        prop_assert_eq!(again.to_json().unwrap(), document);
    }

    #[test]
    fn no_text_makes_the_reader_fall_over(front in texts(), body in texts(), paths in proptest::collection::vec("[a-z0-9 ./-]{1,12}\\.md", 0..4)) {
        let text = format!("---\n{front}\n---\n{body}");
        let mut files = vec![file("course.md", &text), file("01-a/module.md", &body), file("01-a/01-b.md", &text)];
        files.extend(paths.iter().map(|path| file(path, &body)));
        let _ = read("x", &files);
        let _ = from_json(&text);
        let _ = super::exercism::read(&text, None);
    }
}

#[test]
fn a_canonical_folder_comes_out_as_it_went_in() {
    let files = [
        file(
            "course.md",
            "---\nformat: lyceum-course-1\nslug: welding\ntitle: \"Welding: the basics\"\nlanguage: en\ndifficulty: beginner\nvisibility: restricted\nrequired_score: 70\nis_sequential: true\nmetadata: {\"source\": \"plant\"}\ntags:\n  - metal\nskills:\n  - key: arc\n    name: Arc\n---\n\nWhat every welder knows.\n\n# Not a title\n",
        ),
        file("01-gas/module.md", "---\ntitle: Gas\n---\n"),
        file(
            "01-gas/01-bottles.md",
            "---\ntitle: Bottles\nduration: 20\nobjectives:\n  - Tell bottles apart\nskills:\n  - key: arc\n    part: practices\n    mastery_threshold: 0.85\n---\n\nBlue is **oxygen**.\n\n<!-- lyceum-block {\"title\":\"More\",\"is_optional\":true} -->\n\nRed is not.\n\n```lyceum-block json\n{\n  \"type\": \"video\",\n  \"content\": {\n    \"url\": \"https://a.b/c.mp4\"\n  }\n}\n```\n\nAfter the film.\n",
        ),
        file(
            "01-gas/02-valves.md",
            "---\ntitle: Valves\nprerequisites:\n  - bottles\ncompletion_rule: all_blocks\nrelease_on: \"2026-03-01\"\n---\n",
        ),
    ];
    let read = read("anything", &files).unwrap();
    assert_eq!(write(&read.course).unwrap(), files);
    let kinds: Vec<_> = read.course.modules[0].lessons[0]
        .blocks
        .iter()
        .map(|block| (block.kind.as_str(), block.title.as_deref()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("markdown", None),
            ("markdown", Some("More")),
            ("video", None),
            ("markdown", None)
        ]
    );
}

// Plain curricula =====================================================================================================

#[test]
fn a_folder_of_plain_markdown_is_a_course() {
    let read = read(
        "my_course",
        &[
            file("README.md", "# About\n\nHello.\n"),
            file("10-later/intro.md", "No heading, but `# no`.\n"),
            file("2 First steps/10 b.md", "# The tenth\nx\n"),
            file("2 First steps/2 a.md", "\n## The second ##\n\ny\n"),
            file(
                "2 First steps/intro.md",
                "---\nis_preview: true\n---\n# Hello\n",
            ),
            file("2 First steps/deeper/Ёлка.md", "z\n"),
        ],
    )
    .unwrap();
    let course = &read.course;
    assert_eq!(
        (course.slug.as_str(), course.title.as_str()),
        ("my-course", "My course")
    );
    let modules: Vec<_> = course
        .modules
        .iter()
        .map(|module| {
            (
                module.key.as_str(),
                module.title.as_str(),
                module
                    .lessons
                    .iter()
                    .map(|lesson| format!("{}={}", lesson.key, lesson.title))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        })
        .collect();
    assert_eq!(
        modules,
        [
            ("my-course", "My course", "readme=About".to_owned()),
            (
                "first-steps",
                "First steps",
                "a=The second, b=The tenth, intro=Hello".to_owned()
            ),
            (
                "first-steps-deeper",
                "First steps / Deeper",
                "lesson=Ёлка".to_owned()
            ),
            ("later", "Later", "later-intro=Intro".to_owned()),
        ]
    );
    assert_eq!(course.modules[1].lessons[2].blocks, []);
    assert!(course.modules[1].lessons[2].is_preview);
}

// Hostile files =======================================================================================================

#[test]
fn faults_are_named_by_file_and_line_all_at_once() {
    let found = faults(&[
        file(
            "course.md",
            "---\nslug: Not a slug\nprice: 5\ntitle: [x]\nis_sequential: maybe\nmax_attempts: 1.5\n---\n",
        ),
        file(
            "01-a/01-x.md",
            "---\ntitle: X\n\nid: 7\n---\ntext\n<!-- lyceum-block {\"key\": 1} -->\nmore\n",
        ),
        file("01-a/02-y.md", "---\ntitle: Y\ntitle: Z\n---\n"),
        file("01-a/03-z.md", "---\ntitle: \"open\n---\n"),
        file("01-a/04-open.md", "---\ntitle: Open\n"),
        file(
            "01-a/05-block.md",
            "---\ntitle: B\n---\n\n```lyceum-block json\n{\n  \"type\": \"video\",\n  \"type\": \"audio\"\n}\n```\n```lyceum-block json\n{}\n",
        ),
        file(
            "01-a/06-fence.md",
            "---\ntitle: F\n---\n```lyceum-block yaml\na: 1\n```\n<!-- lyceum-block\n-->\n",
        ),
        file(
            "01-a/07-nested.md",
            "---\ntitle: N\n---\n```lyceum-block json\n{\"type\": \"video\", \"content\": {\"a\": {\"b\": 1, \"b\": 2}}}\n```\n",
        ),
        file("02-b/module.md", "---\nlessons: []\n---\n"),
    ]);
    assert_eq!(
        found,
        [
            "01-a/01-x.md:4 unknown_field",
            "01-a/01-x.md:7 invalid_block",
            "01-a/02-y.md:3 duplicate_field",
            "01-a/03-z.md:2 invalid_yaml",
            "01-a/04-open.md:1 front_matter_open",
            "01-a/05-block.md:8 invalid_block",
            "01-a/05-block.md:11 invalid_block",
            "01-a/06-fence.md:4 invalid_block",
            "01-a/06-fence.md:7 invalid_block",
            "01-a/07-nested.md:5 invalid_block",
            "02-b/module.md:2 unknown_field",
            "course.md:3 unknown_field",
            "course.md:4 wrong_kind",
            "course.md:5 wrong_kind",
            "course.md:6 wrong_kind",
        ]
    );
}

#[test]
fn keys_and_references_are_checked_across_files() {
    let found = faults(&[
        file("course.md", "---\nslug: \"../x\"\nlanguage: klingon\n---\n"),
        file(
            "01-a/01-x.md",
            "---\ntitle: X\nprerequisites: [y]\ntype: game\n---\n",
        ),
        file(
            "02-b/01-x.md",
            "---\ntitle: Again\nprerequisites: [nobody]\nrelease_on: 2026-02-30\n---\n",
        ),
        file(
            "02-b/02-y.md",
            "---\ntitle: Y\nprerequisites: [x]\nrequired_watched_percentage: 0\n---\n",
        ),
    ]);
    assert_eq!(
        found,
        [
            "01-a/01-x.md:0 invalid_value",
            "02-b/01-x.md:0 duplicate_key",
            "02-b/01-x.md:0 invalid_value",
            "02-b/01-x.md:0 unknown_prerequisite",
            "02-b/02-y.md:0 invalid_value",
            "course.md:0 invalid_key",
            "course.md:0 invalid_value",
        ]
    );
}

#[test]
fn yaml_does_not_unfold() {
    for (front, code) in [
        ("a: &a [x]\nb: *a\n", "alias"),
        ("title: !!python/object x\n", "tag"),
        ("title: x\n...\n", "no fault"),
        ("metadata: {\"a\": &b 1}\n", "alias"),
        ("? [a]\n: b\n", "invalid_yaml"),
        ("- a\n", "invalid_yaml"),
    ] {
        let text = format!("---\n{front}---\n");
        let found = match read("x", &[file("course.md", &text)]) {
            Ok(_) => "no fault".to_owned(),
            Err(faults) => faults[0].code.to_owned(),
        };
        assert_eq!(found, code, "{front}");
    }
    let deep = format!("---\nmetadata: {}\n---\n", "[".repeat(100_000));
    assert_eq!(
        faults(&[file("course.md", &deep)]),
        ["course.md:2 invalid_yaml"]
    );
    let nested = format!(
        "---\nmetadata: {}x{}\n---\n",
        "[".repeat(40),
        "]".repeat(40)
    );
    assert_eq!(
        faults(&[file("course.md", &nested)]),
        ["course.md:2 too_deep"]
    );
    let long = format!("---\ntitle: {}\n---\n", "x".repeat(300_000));
    assert_eq!(
        faults(&[file("course.md", &long)]),
        ["course.md:1 too_large"]
    );
}

#[test]
fn documents_with_repeated_or_unknown_fields_are_refused() {
    for (text, message) in [
        (
            r#"{"format": "lyceum-course-1", "slug": "x", "slug": "y", "title": "x"}"#,
            "duplicate field `slug`",
        ),
        (
            r#"{"format": "lyceum-course-1", "slug": "x", "title": "x", "status": "published"}"#,
            "unknown field `status`",
        ),
        (
            r#"{"format": "lyceum-course-1", "slug": "x", "title": "x", "metadata": {"a": 1, "a": 2}}"#,
            "duplicate field `a`",
        ),
        (
            r#"{"format": "lyceum-course-1", "slug": "x"}"#,
            "missing field `title`",
        ),
        ("[", "EOF"),
    ] {
        let error = from_json(text).unwrap_err().to_string();
        assert!(
            error.contains(message) && error.contains("line 1"),
            "{error}"
        );
    }
    let mut course = Course::new("x", "x");
    course.metadata = Object(Map::from_iter([(
        "big".to_owned(),
        json!(12_345_678_901_234_567_890_u64),
    )]));
    course.description = "a\0b".to_owned();
    let codes: Vec<_> = course
        .faults()
        .into_iter()
        .map(|(_, code, _)| code)
        .collect();
    assert_eq!(codes, ["inexact_number", "unstorable_text"]);
}

// On disk =============================================================================================================

#[test]
fn links_and_other_things_on_disk_are_refused() {
    let root = std::env::temp_dir().join(format!("lyceum-course-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(root.join("01-a/.git")).unwrap();
    std::fs::write(root.join("01-a/.git/x.md"), "hidden").unwrap();
    std::fs::write(
        root.join("01-a/crlf.md"),
        "\u{feff}# Title\r\ntext\rmore\r\n",
    )
    .unwrap();
    std::fs::write(root.join("01-a/latin.md"), b"fine\nna\xefve\n").unwrap();
    std::fs::write(root.join("01-a/large.md"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    std::fs::write(root.join("01-a/picture.png"), b"x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("01-a/passwd.md")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("02-etc")).unwrap();
    let mut found = super::disk::read(&root).unwrap();
    found.faults.sort();
    let faults: Vec<_> = found
        .faults
        .iter()
        .map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.code))
        .collect();
    assert_eq!(
        faults,
        [
            "01-a/large.md:0 too_large",
            "01-a/latin.md:2 not_text",
            "01-a/passwd.md:0 link",
            "02-etc:0 link"
        ]
    );
    assert_eq!(found.others, ["01-a/picture.png"]);
    assert_eq!(found.files, [file("01-a/crlf.md", "# Title\ntext\nmore\n")]);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_folder_is_written_as_a_whole_and_stays_below_its_name() {
    let root = std::env::temp_dir().join(format!("lyceum-course-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&root).unwrap();
    let out = root.join("out");
    for path in [
        "../evil.md",
        "a/../../evil.md",
        "/etc/evil.md",
        "a//b.md",
        ".hidden.md",
    ] {
        assert!(
            super::disk::write(&out, &[file("a.md", "x"), file(path, "x")]).is_err(),
            "{path}"
        );
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    super::disk::write(&out, &[file("a.md", "x"), file("01-b/02-c.md", "y")]).unwrap();
    assert_eq!(
        std::fs::read_to_string(out.join("01-b/02-c.md")).unwrap(),
        "y"
    );
    assert!(super::disk::write(&out, &[file("a.md", "z")]).is_err());
    std::fs::remove_dir_all(root).unwrap();
}
