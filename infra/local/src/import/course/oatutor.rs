//! The content of OATutor: `coursePlans.json` with courses, lessons and their learning objectives, `skillModel.json` with the
//! skills of each step of a problem, and `problems.json.gz` with the problems of one course.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::{
    Course, Decimal, Keys, Lesson, LessonSkill, Module, Object, Skill, manual, slug_of, teaches,
    text, title_of,
};
use super::source::{Curriculum, Lines, reason};
use crate::import::Action::{Flagged, Repaired, Skipped};
use crate::import::Reason;

pub(super) const PLANS: &str = "coursePlans.json";
pub(super) const MODEL: &str = "skillModel.json";
pub(super) const PROBLEMS: &str = "problems.json.gz";

static NO_SKILL: Reason = reason(
    Skipped,
    "nameless_skill",
    "learning objective without a name",
);
static NO_LESSON: Reason = reason(Skipped, "nameless_lesson", "lesson without id or name");
static NO_COURSE: Reason = reason(
    Skipped,
    "nameless_course",
    "course whose name has no letters or digits",
);
static NO_LICENCE: Reason = reason(
    Repaired,
    "no_licence",
    "licence of the course is an empty cell (0.0); left out",
);
static NO_SOURCE: Reason = reason(
    Repaired,
    "no_source",
    "source of the course is an empty cell (0.0); left out",
);
static LANGUAGE: Reason = reason(
    Repaired,
    "wrong_language",
    "language of the course is a country's code; the country's language is taken",
);
static UNKNOWN_LANGUAGE: Reason = reason(
    Repaired,
    "unknown_language",
    "language of the course is no language tag; English is taken",
);
static SPELT_TWICE: Reason = reason(
    Repaired,
    "skill_spelt_twice",
    "skill differs from another one in signs only; they are one",
);
static THRESHOLD: Reason = reason(
    Repaired,
    "absurd_threshold",
    "mastery threshold is not above 0 and at most 1; left out",
);
static SAME_SLUG: Reason = reason(
    Repaired,
    "repeated_course",
    "course of the same name is there already; it gets a number",
);
static REPEATED_ID: Reason = reason(
    Flagged,
    "repeated_lesson_id",
    "lesson has the id of a lesson of another course; both are imported",
);
static REPEATED_IN_COURSE: Reason = reason(
    Repaired,
    "repeated_lesson_id_in_course",
    "lesson has the id of a lesson of the same course; it gets a number",
);
static UNTAUGHT: Reason = reason(
    Flagged,
    "skill_without_lesson",
    "skill of problem steps that no lesson has as an objective",
);
static STEP_UNKNOWN: Reason = reason(
    Flagged,
    "step_without_skills",
    "step of a problem that the skill model does not know",
);

#[derive(Deserialize)]
struct Plan {
    #[serde(rename = "courseName")]
    name: String,
    #[serde(default)]
    language: Value,
    #[serde(rename = "courseOER", default)]
    source: Value,
    #[serde(rename = "courseLicense", default)]
    licence: Value,
    lessons: Vec<PlanLesson>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct PlanLesson {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    topics: String,
    #[serde(rename = "learningObjectives", default)]
    objectives: BTreeMap<String, f64>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Bank {
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    id: String,
    #[serde(rename = "problemType", default)]
    kind: String,
}

/// The files' texts; there may be no problems.
pub(super) struct Files<'a> {
    pub plans: &'a str,
    pub model: &'a str,
    pub problems: Option<&'a str>,
}

/// Reads all courses.
pub(super) fn read(files: &Files<'_>) -> Result<Curriculum> {
    let plans: Vec<Plan> = serde_json::from_str(files.plans)
        .with_context(|| format!("{PLANS} is no list of OATutor's courses"))?;
    let model: BTreeMap<String, Vec<String>> = serde_json::from_str(files.model)
        .with_context(|| format!("{MODEL} does not list the skills of steps"))?;
    let lines = Lines::new(PLANS, files.plans);
    let mut curriculum = Curriculum::default();
    let mut reader = Reader {
        lines,
        slugs: Keys::default(),
        ids: HashMap::new(),
        spellings: BTreeMap::new(),
        not_imported: BTreeMap::new(),
        remarks: Vec::new(),
    };
    for plan in &plans {
        curriculum.courses.extend(reader.course(plan));
    }
    let Reader {
        spellings,
        mut not_imported,
        remarks,
        ..
    } = reader;
    curriculum.remarks = remarks;

    let lines = Lines::new(MODEL, files.model);
    let used: BTreeSet<&String> = model.values().flatten().collect();
    for skill in used {
        let key = slug_of(skill, 200);
        if !key.is_empty() && !spellings.contains_key(&key) {
            curriculum
                .remarks
                .push(lines.remark(skill, 0, &UNTAUGHT, skill));
        }
    }
    not_imported.insert(
        "steps of problems with skills".to_owned(),
        model.len() as u64,
    );
    if let Some(problems) = files.problems {
        let bank: Bank = serde_json::from_str(problems)
            .with_context(|| format!("{PROBLEMS} does not hold problems"))?;
        not_imported.insert("problems".to_owned(), bank.problems.len() as u64);
        let lines = Lines::new(PROBLEMS, "");
        for step in bank.problems.iter().flat_map(|problem| &problem.steps) {
            *not_imported
                .entry(format!("steps of these problems: {}", step.kind))
                .or_default() += 1;
            if !model.contains_key(&step.id) {
                curriculum
                    .remarks
                    .push(lines.remark(&step.id, 0, &STEP_UNKNOWN, &step.id));
            }
        }
    }
    curriculum.not_imported = not_imported.into_iter().collect();
    Ok(curriculum)
}

struct Reader<'a> {
    lines: Lines<'a>,
    slugs: Keys,
    /// How often each lesson id was met.
    ids: HashMap<String, usize>,
    /// The first spelling of each skill.
    spellings: BTreeMap<String, String>,
    not_imported: BTreeMap<String, u64>,
    remarks: Vec<super::source::Located>,
}

impl Reader<'_> {
    fn note(
        &mut self,
        value: &str,
        nth: usize,
        reason: &'static Reason,
        detail: impl Into<String>,
    ) {
        self.remarks
            .push(self.lines.remark(value, nth, reason, detail));
    }

    fn course(&mut self, plan: &Plan) -> Option<Course> {
        let wanted = slug_of(&plan.name, 90);
        if wanted.is_empty() {
            self.note(&plan.name, 0, &NO_COURSE, &plan.name);
            return None;
        }
        let slug = self.slugs.take(&wanted);
        if slug != wanted {
            self.note(&plan.name, 1, &SAME_SLUG, &plan.name);
        }
        let mut course = Course::new(slug, plan.name.trim());
        course.language = self.language(plan);
        let mut metadata = Map::new();
        metadata.insert("source".to_owned(), json!("oatutor"));
        for (key, value, reason) in [
            ("licence", &plan.licence, &NO_LICENCE),
            ("oer", &plan.source, &NO_SOURCE),
        ] {
            match value.as_str().map(str::trim) {
                Some(text) if !text.is_empty() && text.parse::<f64>().is_err() => {
                    metadata.insert(key.to_owned(), json!(text));
                }
                _ => self.note(&plan.name, 0, reason, format!("{}: {value}", plan.name)),
            }
        }
        course.metadata = Object(metadata);
        for key in plan.rest.keys() {
            *self
                .not_imported
                .entry(format!("course.{key}"))
                .or_default() += 1;
        }

        let mut skills: BTreeMap<String, String> = BTreeMap::new();
        let mut keys = Keys::default();
        let mut lessons = Vec::new();
        for lesson in &plan.lessons {
            lessons.extend(self.lesson(plan, lesson, &mut keys, &mut skills));
        }
        course.skills = skills
            .into_iter()
            .map(|(key, spelling)| Skill {
                key,
                name: title_of(&spelling),
                description: String::new(),
            })
            .collect();
        course.modules = vec![Module {
            key: "lessons".to_owned(),
            title: "Lessons".to_owned(),
            description: String::new(),
            lessons,
        }];
        course.put_in_order();
        Some(course)
    }

    fn language(&mut self, plan: &Plan) -> String {
        let given = plan.language.as_str().unwrap_or_default();
        // Sweden's code; Northern Sami has it as a language, in which nobody wrote these courses.
        if given == "se" {
            self.note(
                &plan.name,
                0,
                &LANGUAGE,
                format!("{}: se, taken as sv", plan.name),
            );
            return "sv".to_owned();
        }
        let mut probe = Course::new("a", "a");
        given.clone_into(&mut probe.language);
        if probe.faults().is_empty() {
            return probe.language;
        }
        self.note(
            &plan.name,
            0,
            &UNKNOWN_LANGUAGE,
            format!("{}: {}", plan.name, plan.language),
        );
        "en".to_owned()
    }

    fn lesson(
        &mut self,
        plan: &Plan,
        lesson: &PlanLesson,
        keys: &mut Keys,
        skills: &mut BTreeMap<String, String>,
    ) -> Option<Lesson> {
        let wanted = slug_of(&lesson.id, 90);
        let name = lesson.name.trim();
        if wanted.is_empty() || name.is_empty() {
            let detail = format!("{}: {:?} {name:?}", plan.name, lesson.id);
            let value = if lesson.id.is_empty() {
                &lesson.name
            } else {
                &lesson.id
            };
            self.note(value, 0, &NO_LESSON, detail);
            return None;
        }
        let nth = self.ids.get(&lesson.id).copied().unwrap_or_default();
        self.ids.insert(lesson.id.clone(), nth + 1);
        let key = keys.take(&wanted);
        if key != wanted {
            let detail = format!("{}: {name}", plan.name);
            self.note(&lesson.id, nth, &REPEATED_IN_COURSE, detail);
        } else if nth > 0 {
            let detail = format!("{}: {name}", plan.name);
            self.note(&lesson.id, nth, &REPEATED_ID, detail);
        }
        for field in lesson.rest.keys() {
            *self
                .not_imported
                .entry(format!("lesson.{field}"))
                .or_default() += 1;
        }

        let mut wanted_skills: BTreeMap<String, Option<Decimal>> = BTreeMap::new();
        for (skill, &threshold) in &lesson.objectives {
            let detail = format!("{}: {name}: {skill}", plan.name);
            let key = slug_of(skill, 200);
            if key.is_empty() {
                self.note(&lesson.id, nth, &NO_SKILL, detail);
                continue;
            }
            let first = self
                .spellings
                .entry(key.clone())
                .or_insert_with(|| skill.clone())
                .clone();
            if first != *skill {
                self.note(
                    &lesson.id,
                    nth,
                    &SPELT_TWICE,
                    format!("{detail}, elsewhere {first}"),
                );
            }
            let is_fine = threshold > 0.0 && threshold <= 1.0;
            if !is_fine {
                self.note(
                    &lesson.id,
                    nth,
                    &THRESHOLD,
                    format!("{detail}: {threshold}"),
                );
            }
            skills.insert(key.clone(), first);
            wanted_skills
                .entry(key)
                .or_insert(is_fine.then_some(Decimal(threshold)));
        }
        let topics = lesson.topics.trim().trim_start_matches("- ");
        let title = if topics.is_empty() {
            name.to_owned()
        } else {
            format!("{name}: {topics}")
        };
        Some(Lesson {
            key,
            title: title.chars().take(300).collect(),
            description: String::new(),
            kind: text(),
            duration: None,
            requires_completion: true,
            is_published: true,
            is_preview: false,
            objectives: wanted_skills
                .keys()
                .take(50)
                .filter_map(|key| Some(title_of(self.spellings.get(key)?)))
                .collect(),
            skills: wanted_skills
                .into_iter()
                .map(|(key, mastery_threshold)| LessonSkill {
                    key,
                    part: teaches(),
                    mastery_threshold,
                })
                .collect(),
            prerequisites: Vec::new(),
            completion_rule: manual(),
            required_watched_percentage: Decimal::ninety(),
            release_after_days: None,
            release_on: None,
            blocks: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"[
  {"courseName": "Algebra: One", "language": "se", "courseOER": "https://a.b/ <A>", "courseLicense": 0.0, "lessons": [
    {"id": "0aB-c", "name": "Lesson 1", "topics": "- Sums", "allowRecycle": true, "learningObjectives": {"add_up": 0.85, "": 0.9}},
    {"id": "0aB-c", "name": "Lesson 2", "topics": "", "learningObjectives": {"add:_up": 1.5}},
    {"id": "", "name": "Lesson 3", "topics": "", "learningObjectives": {}}
  ]},
  {"courseName": "Algebra One", "language": "Klingon", "courseOER": "0.0", "courseLicense": "CC BY 4.0", "lessons": [
    {"id": "0aB-c", "name": "Lesson 1", "topics": "", "learningObjectives": {"add_up": 0.95}}
  ]}
]"#;

    #[test]
    fn says_what_it_does_not_take_as_it_stands() {
        let curriculum = read(&Files {
            plans: SMALL,
            model: r#"{"x1a": ["add_up", ""], "x1b": ["fly"]}"#,
            problems: Some(r#"{"problems": [{"id": "x1", "steps": [{"id": "x1a", "problemType": "TextBox"}, {"id": "x9", "problemType": "TextBox"}]}]}"#),
        })
        .unwrap();
        let mut found: Vec<_> = curriculum
            .remarks
            .iter()
            .map(|located| (located.remark.reason.code, located.line))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("absurd_threshold", 4),
                ("nameless_lesson", 5),
                ("nameless_skill", 3),
                ("no_licence", 2),
                ("no_source", 7),
                ("repeated_course", 0),
                ("repeated_lesson_id", 8),
                ("repeated_lesson_id_in_course", 4),
                ("skill_spelt_twice", 4),
                ("skill_without_lesson", 1),
                ("step_without_skills", 0),
                ("unknown_language", 7),
                ("wrong_language", 2),
            ]
        );
        let not_imported: Vec<_> = curriculum
            .not_imported
            .iter()
            .map(|(what, count)| (what.as_str(), *count))
            .collect();
        assert_eq!(
            not_imported,
            [
                ("lesson.allowRecycle", 1),
                ("problems", 1),
                ("steps of problems with skills", 2),
                ("steps of these problems: TextBox", 2)
            ]
        );
        let [first, second] = &curriculum.courses[..] else {
            panic!("two courses are due");
        };
        assert_eq!(first.faults(), []);
        assert_eq!(second.faults(), []);
        assert_eq!(
            (first.slug.as_str(), second.slug.as_str()),
            ("algebra-one", "algebra-one-2")
        );
        assert_eq!(first.language, "sv");
        let lesson = first.lessons().next().unwrap();
        assert_eq!(
            (lesson.key.as_str(), lesson.title.as_str()),
            ("0ab-c", "Lesson 1: Sums")
        );
        assert_eq!(lesson.objectives, ["Add up"]);
        assert_eq!(lesson.skills[0].mastery_threshold, Some(Decimal(0.85)));
        assert_eq!(first.metadata.0.get("licence"), None);
        assert_eq!(second.metadata.0.get("licence"), Some(&json!("CC BY 4.0")));
    }
}
