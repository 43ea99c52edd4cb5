//! The portable form of a course, as `lms.import_course` takes it and `lms.export_course` gives it.
//!
//! What a document does not say has its default; lists without an order of their own are in the order of keys. A course
//! has one canonical document, byte for byte.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// What `format` says.
pub const FORMAT: &str = "lyceum-course-1";

/// A course.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    pub format: String,
    pub slug: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default = "english")]
    pub language: String,
    #[serde(default = "beginner")]
    pub difficulty: String,
    /// None: as it is, and restricted for a new course.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_minutes: Option<u32>,
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub required_score: Decimal,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_sequential: bool,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub allow_retake: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_keywords: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_label: Option<String>,
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub metadata: Object,
    /// What training records print; empty: as it is.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub training_record: Object,
    /// Slugs; None: as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
}

/// A skill of the tenant that the course's lessons are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    pub key: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    pub key: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lessons: Vec<Lesson>,
}

/// A lesson.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    pub key: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(rename = "type", default = "text", skip_serializing_if = "is_text")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u32>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub requires_completion: bool,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub is_published: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_preview: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<LessonSkill>,
    /// Keys of lessons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<String>,
    #[serde(default = "manual", skip_serializing_if = "is_manual")]
    pub completion_rule: String,
    #[serde(
        default = "Decimal::ninety",
        skip_serializing_if = "Decimal::is_ninety"
    )]
    pub required_watched_percentage: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_after_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_on: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
}

/// What a lesson has to do with a skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LessonSkill {
    pub key: String,
    #[serde(default = "teaches", skip_serializing_if = "is_teaches")]
    pub part: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mastery_threshold: Option<Decimal>,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_optional: bool,
    pub content: Object,
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub metadata: Object,
}

impl Course {
    /// A course with nothing in it.
    #[must_use]
    pub fn new(slug: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            slug: slug.into(),
            title: title.into(),
            description: String::new(),
            language: english(),
            difficulty: beginner(),
            visibility: None,
            estimated_minutes: None,
            required_score: Decimal(0.0),
            is_sequential: false,
            allow_retake: true,
            max_attempts: None,
            thumbnail_url: None,
            meta_description: None,
            meta_keywords: None,
            version_label: None,
            metadata: Object::default(),
            training_record: Object::default(),
            tags: None,
            skills: Vec::new(),
            modules: Vec::new(),
        }
    }

    /// Brings lists without an order of their own into that of keys.
    pub fn put_in_order(&mut self) {
        if let Some(tags) = &mut self.tags {
            tags.sort();
            tags.dedup();
        }
        self.skills.sort_by(|a, b| a.key.cmp(&b.key));
        for lesson in self
            .modules
            .iter_mut()
            .flat_map(|module| &mut module.lessons)
        {
            lesson.prerequisites.sort();
            lesson.prerequisites.dedup();
            lesson.skills.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }

    /// The canonical document, which ends with a line break.
    ///
    /// # Errors
    /// Never for a course that was read or checked.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The lessons, in order.
    pub fn lessons(&self) -> impl Iterator<Item = &Lesson> {
        self.modules.iter().flat_map(|module| &module.lessons)
    }

    /// All that the database would refuse, as path and sentence. A path is like `modules[0].lessons[1].title`.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, &'static str, String)> {
        let mut check = Check::default();
        check.course(self);
        check.found
    }

    /// A circle of lessons that would wait for each other, if there is one.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<&str>> {
        let needed: BTreeMap<&str, Vec<&str>> = self
            .lessons()
            .map(|lesson| {
                (
                    lesson.key.as_str(),
                    lesson.prerequisites.iter().map(String::as_str).collect(),
                )
            })
            .collect();
        find_circle(&needed)
    }
}

/// A circle in a graph, as the nodes on it; the first that is met in the order of keys.
pub(super) fn find_circle<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done = HashSet::new();
    for &start in graph.keys() {
        // Depth first, by hand: a chain may be long.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path = HashSet::from([start]);
        while let Some((node, next)) = path.last_mut() {
            let following = graph.get(node).and_then(|nodes| nodes.get(*next)).copied();
            *next += 1;
            match following {
                Some(following) if on_path.contains(following) => {
                    let begin = path.iter().position(|(node, _)| *node == following)?;
                    return Some(path[begin..].iter().map(|(node, _)| *node).collect());
                }
                Some(following) if done.contains(following) => {}
                Some(following) => {
                    on_path.insert(following);
                    path.push((following, 0));
                }
                None => {
                    on_path.remove(*node);
                    done.insert(*node);
                    path.pop();
                }
            }
        }
    }
    None
}

// What the database takes =============================================================================================

const LESSON_TYPES: [&str; 8] = [
    "text",
    "video",
    "audio",
    "document",
    "quiz",
    "assignment",
    "interactive",
    "code_exercise",
];
const BLOCK_TYPES: [&str; 13] = [
    "rich_text",
    "markdown",
    "image",
    "video",
    "audio",
    "file",
    "link",
    "youtube",
    "vimeo",
    "quiz",
    "assignment",
    "interactive",
    "code_exercise",
];
/// Most lessons of a course, and most characters of its document: what one request can carry.
const MOST_LESSONS: usize = 5_000;
const LONGEST_DOCUMENT: usize = 9 * 1024 * 1024;

#[derive(Default)]
struct Check {
    found: Vec<(String, &'static str, String)>,
}

impl Check {
    fn add(&mut self, path: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.found.push((path.into(), code, message.into()));
    }

    fn course(&mut self, course: &Course) {
        if course.format != FORMAT {
            self.add(
                "format",
                "unknown_format",
                format!("the format is {FORMAT}"),
            );
        }
        self.slug("slug", &course.slug, 100);
        self.title("title", &course.title);
        self.length("description", &course.description, 20_000);
        if !is_language(&course.language) {
            self.add(
                "language",
                "invalid_value",
                "a language is written like en, de-CH or zh-Hant",
            );
        }
        self.one_of(
            "difficulty",
            &course.difficulty,
            &["beginner", "intermediate", "advanced", "expert"],
        );
        if let Some(visibility) = &course.visibility {
            self.one_of(
                "visibility",
                visibility,
                &["public", "restricted", "private"],
            );
        }
        self.range(
            "estimated_minutes",
            course.estimated_minutes,
            1,
            999_999_999,
        );
        self.range("max_attempts", course.max_attempts, 1, 999_999_999);
        self.decimal("required_score", course.required_score, 0.0, 100.0);
        if let Some(url) = &course.thumbnail_url {
            self.web_address("thumbnail_url", url);
        }
        for (field, text, most) in [
            ("meta_description", &course.meta_description, 500),
            ("meta_keywords", &course.meta_keywords, 500),
            ("version_label", &course.version_label, 50),
        ] {
            self.length(field, text.as_deref().unwrap_or_default(), most);
        }
        self.object("metadata", &course.metadata, 50_000);
        self.object("training_record", &course.training_record, 10_000);
        for (place, tag) in course.tags.iter().flatten().enumerate() {
            self.slug(format!("tags[{place}]"), tag, 100);
        }
        let mut keys = HashSet::new();
        for (place, skill) in course.skills.iter().enumerate() {
            let path = format!("skills[{place}]");
            self.slug(format!("{path}.key"), &skill.key, 200);
            self.unique(format!("{path}.key"), &skill.key, &mut keys);
            self.title(format!("{path}.name"), &skill.name);
            self.length(format!("{path}.description"), &skill.description, 5_000);
        }
        let lessons: HashSet<&str> = course.lessons().map(|lesson| lesson.key.as_str()).collect();
        let (mut modules, mut seen) = (HashSet::new(), HashSet::new());
        for (place, module) in course.modules.iter().enumerate() {
            let path = format!("modules[{place}]");
            self.slug(format!("{path}.key"), &module.key, 100);
            self.unique(format!("{path}.key"), &module.key, &mut modules);
            self.title(format!("{path}.title"), &module.title);
            self.length(format!("{path}.description"), &module.description, 20_000);
            for (place, lesson) in module.lessons.iter().enumerate() {
                let path = format!("{path}.lessons[{place}]");
                self.unique(format!("{path}.key"), &lesson.key, &mut seen);
                self.lesson(&path, lesson, &lessons);
            }
        }
        if seen.len() > MOST_LESSONS {
            self.add(
                "modules",
                "too_many_lessons",
                format!("a course has at most {MOST_LESSONS} lessons"),
            );
        }
        if let Some(circle) = course.circle() {
            self.add(
                "modules",
                "prerequisite_circle",
                format!("lessons would wait for each other: {}", circle.join(", ")),
            );
        }
        match serde_json::to_value(course) {
            Ok(value) => {
                if has_nul(&value) {
                    self.add("", "unstorable_text", "a text holds the character U+0000");
                }
                if value.to_string().len() > LONGEST_DOCUMENT {
                    self.add("", "too_large", "the course is larger than 9 MiB");
                }
            }
            Err(error) => self.add("", "invalid_value", error.to_string()),
        }
    }

    fn lesson(&mut self, path: &str, lesson: &Lesson, lessons: &HashSet<&str>) {
        let at = |field: &str| format!("{path}.{field}");
        self.slug(at("key"), &lesson.key, 100);
        self.title(at("title"), &lesson.title);
        self.length(at("description"), &lesson.description, 20_000);
        self.one_of(at("type"), &lesson.kind, &LESSON_TYPES);
        self.range(at("duration"), lesson.duration, 0, 999_999_999);
        if lesson.objectives.len() > 50 {
            self.add(
                at("objectives"),
                "too_many",
                "a lesson has at most 50 objectives",
            );
        }
        self.one_of(
            at("completion_rule"),
            &lesson.completion_rule,
            &[
                "manual",
                "all_blocks",
                "watched",
                "assessment",
                "attendance",
                "sign_off",
            ],
        );
        self.decimal(
            at("required_watched_percentage"),
            lesson.required_watched_percentage,
            f64::MIN_POSITIVE,
            100.0,
        );
        self.range(at("release_after_days"), lesson.release_after_days, 0, 3650);
        if let Some(day) = &lesson.release_on {
            let is_day =
                day.len() == 10 && chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok();
            if !is_day {
                self.add(
                    at("release_on"),
                    "invalid_value",
                    "a day is written like 2026-03-31",
                );
            }
            if lesson.release_after_days.is_some() {
                self.add(
                    at("release_on"),
                    "invalid_value",
                    "a lesson is released after days or on a day, not both",
                );
            }
        }
        for key in &lesson.prerequisites {
            if !lessons.contains(key.as_str()) {
                self.add(
                    at("prerequisites"),
                    "unknown_prerequisite",
                    format!("there is no lesson {key}"),
                );
            }
        }
        let mut skills = HashSet::new();
        for skill in &lesson.skills {
            self.slug(at("skills"), &skill.key, 200);
            self.unique(at("skills"), &skill.key, &mut skills);
            self.one_of(at("skills"), &skill.part, &["teaches", "practices"]);
            if let Some(threshold) = skill.mastery_threshold {
                self.decimal(at("skills"), threshold, f64::MIN_POSITIVE, 1.0);
            }
        }
        for (place, block) in lesson.blocks.iter().enumerate() {
            let path = format!("{path}.blocks[{place}]");
            self.one_of(format!("{path}.type"), &block.kind, &BLOCK_TYPES);
            if let Some(title) = &block.title {
                self.title(format!("{path}.title"), title);
            }
            self.object(&format!("{path}.content"), &block.content, 500_000);
            self.object(&format!("{path}.metadata"), &block.metadata, 20_000);
        }
    }

    fn slug(&mut self, path: impl Into<String>, text: &str, most: usize) {
        if !is_slug(text, most) {
            self.add(
                path,
                "invalid_key",
                format!(
                    "{text:?} is not made of lower-case letters, digits and single hyphens, at most {most} of them"
                ),
            );
        }
    }

    fn unique<'a>(&mut self, path: String, key: &'a str, seen: &mut HashSet<&'a str>) {
        if !seen.insert(key) {
            self.add(path, "duplicate_key", format!("{key} is there already"));
        }
    }

    fn title(&mut self, path: impl Into<String>, text: &str) {
        if !is_title(text) {
            self.add(
                path,
                "invalid_title",
                "a title has 1 to 300 characters and no line breaks",
            );
        }
    }

    fn length(&mut self, path: impl Into<String>, text: &str, most: usize) {
        if text.chars().count() > most {
            self.add(path, "too_long", format!("more than {most} characters"));
        }
    }

    fn one_of(&mut self, path: impl Into<String>, text: &str, all: &[&str]) {
        if !all.contains(&text) {
            self.add(
                path,
                "invalid_value",
                format!("{text:?} is none of {}", all.join(", ")),
            );
        }
    }

    fn range(&mut self, path: impl Into<String>, number: Option<u32>, least: u32, most: u32) {
        if number.is_some_and(|number| number < least || number > most) {
            self.add(
                path,
                "invalid_value",
                format!("not within {least} to {most}"),
            );
        }
    }

    fn decimal(&mut self, path: impl Into<String>, number: Decimal, least: f64, most: f64) {
        let digits = number.0.to_string();
        let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
        if !(number.0 >= least && number.0 <= most) || places > 10 {
            self.add(
                path,
                "invalid_value",
                format!("a number up to {most} with at most 10 decimals is due"),
            );
        }
    }

    fn web_address(&mut self, path: impl Into<String>, url: &str) {
        let is_fine = ["http://", "https://", "/"]
            .iter()
            .any(|start| url.strip_prefix(start).is_some())
            && !url.contains(|c: char| c.is_whitespace() || "<>\"".contains(c))
            && url.len() <= 2000;
        if !is_fine {
            self.add(
                path,
                "invalid_value",
                "an address begins with http://, https:// or /",
            );
        }
    }

    fn object(&mut self, path: &str, object: &Object, most: usize) {
        if object.0.values().any(has_large_number) {
            self.add(
                path,
                "inexact_number",
                "a number is larger than programs keep exactly; write it as text",
            );
        }
        if serde_json::to_string(object).is_ok_and(|text| text.chars().count() > most) {
            self.add(path, "too_long", format!("more than {most} characters"));
        }
    }
}

pub(super) fn is_slug(text: &str, most: usize) -> bool {
    text.len() <= most
        && text.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn is_title(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace())
        && text.chars().count() <= 300
        && !text.chars().any(|c| c < ' ')
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_language = parts.next().is_some_and(|part| {
        matches!(part.len(), 2 | 3) && part.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    let mut rest: Vec<&str> = parts.collect();
    let is_script = |part: &str| {
        part.len() == 4
            && part.bytes().enumerate().all(|(place, byte)| match place {
                0 => byte.is_ascii_uppercase(),
                _ => byte.is_ascii_lowercase(),
            })
    };
    if rest.first().is_some_and(|part| is_script(part)) {
        rest.remove(0);
    }
    let is_region = match rest.as_slice() {
        [] => true,
        [part] => {
            (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_uppercase()))
                || (part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit()))
        }
        _ => false,
    };
    is_language && is_region
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Beyond 2^53 whole numbers are rounded by whoever reads them.
fn has_large_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_f64()
            .is_none_or(|number| number.abs() > 9_007_199_254_740_992.0),
        Value::Array(list) => list.iter().any(has_large_number),
        Value::Object(map) => map.values().any(has_large_number),
        _ => false,
    }
}

/// Letters and digits of a text, joined by hyphens; empty when it has no Latin ones.
pub(super) fn slug_of(text: &str, most: usize) -> String {
    let mut slug = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(most);
    slug.trim_end_matches('-').to_owned()
}

/// A key or file name as a title: `string-methods` becomes `String methods`.
pub(super) fn title_of(key: &str) -> String {
    let text = key.replace(['-', '_'], " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).take(300).collect()
    })
}

// Values ==============================================================================================================

fn english() -> String {
    "en".to_owned()
}
fn beginner() -> String {
    "beginner".to_owned()
}
pub(super) fn text() -> String {
    "text".to_owned()
}
pub(super) fn manual() -> String {
    "manual".to_owned()
}
pub(super) fn teaches() -> String {
    "teaches".to_owned()
}
const fn yes() -> bool {
    true
}
fn is_text(text: &str) -> bool {
    text == "text"
}
fn is_manual(text: &str) -> bool {
    text == "manual"
}
fn is_teaches(text: &str) -> bool {
    text == "teaches"
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_true(flag: &bool) -> bool {
    *flag
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A number with few digits; whole ones are written without a point.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Deserialize)]
#[serde(transparent)]
pub struct Decimal(pub f64);

impl Decimal {
    pub(super) const fn ninety() -> Self {
        Self(90.0)
    }
    pub(super) fn is_ninety(&self) -> bool {
        *self == Self::ninety()
    }
    pub(super) fn is_zero(&self) -> bool {
        self.0 == 0.0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the sign of a negative zero.
        write!(out, "{}", self.0 + 0.0)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            let whole = self.0 as i64;
            return serializer.serialize_i64(whole);
        }
        serializer.serialize_f64(self.0)
    }
}

/// A JSON object. Keys are in order; one that repeats is an error, and not the last one's victory.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An object with one text in it.
    pub(super) fn of(key: &str, text: impl Into<String>) -> Self {
        Self(Map::from_iter([(
            key.to_owned(),
            Value::String(text.into()),
        )]))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match StrictValue.deserialize(deserializer)? {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(de::Error::custom("an object is expected")),
        }
    }
}

struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        // The database knows no negative zero.
        Number::from_f64(number + 0.0)
            .map(Value::Number)
            .ok_or_else(|| E::custom("the number is too large"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(StrictValue)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(StrictValue)?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format!("duplicate field `{key}`")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Reads a JSON document. Its errors name line and column.
///
/// # Errors
/// When it is no JSON, or has another shape.
pub fn from_json(text: &str) -> serde_json::Result<Course> {
    let mut course: Course = serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
    course.put_in_order();
    Ok(course)
}

/// Gives keys that are there already a number.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<String, usize>, BTreeSet<String>);

impl Keys {
    /// `key`, or `key-2` and so on.
    pub fn take(&mut self, key: &str) -> String {
        loop {
            let count = self.0.entry(key.to_owned()).or_default();
            *count += 1;
            let taken = match *count {
                1 => key.to_owned(),
                count => format!("{key}-{count}"),
            };
            if self.1.insert(taken.clone()) {
                return taken;
            }
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.1.contains(key)
    }
}
