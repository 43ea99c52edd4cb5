//! The content of OATutor: `coursePlans.json` with courses, lessons and their learning objectives, `skillModel.json` with the
//! skills of each step of a problem, and `problems.json.gz` with the problems of one course, of which each lesson gets a pool
//! of questions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answers::{self, About, Answer};
use super::bank::{self, Assessment, Bank, Question, Section};
use super::document::{
    Course, Decimal, Keys, Lesson, LessonSkill, Module, Object, Skill, manual, slug_of, teaches,
    text, title_of,
};
use super::source::{Curriculum, Lines, Located, reason};
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

static BANK_OF_NO_COURSE: Reason = reason(
    Skipped,
    "problems_without_course",
    "problem of a course that is not in coursePlans.json",
);
static NO_LESSON_OF_PROBLEM: Reason = reason(
    Skipped,
    "problem_without_lesson",
    "step whose skills, and its problem's, no lesson of the course has as an objective",
);
static TWO_LESSONS: Reason = reason(
    Flagged,
    "skills_of_two_lessons",
    "step whose skills belong to more than one lesson; its question is asked in the first",
);
static SKILL_LEFT_OUT: Reason = reason(
    Skipped,
    "skill_left_out",
    "skill of a step that no lesson of the course has as an objective",
);
static PICTURE: Reason = reason(
    Skipped,
    "picture_missing",
    "step that shows a picture, which is not among the files",
);
static NO_STEP_TEXT: Reason = reason(Skipped, "empty_step", "step without a text");
static REPEATED_STEP: Reason = reason(
    Skipped,
    "repeated_step",
    "step whose id another step has already",
);
static WITHOUT_CHOICE: Reason = reason(
    Skipped,
    "answer_is_no_choice",
    "step whose answer is not exactly one of its choices, or that has fewer than two",
);
static REPEATED_CHOICE: Reason = reason(
    Repaired,
    "repeated_choice",
    "choice that is there twice; the first stands",
);
static UNKNOWN_KIND: Reason = reason(
    Skipped,
    "unknown_step",
    "step that is neither multiple choice nor typed",
);
static ALONE: Reason = reason(
    Flagged,
    "steps_asked_alone",
    "problem of several steps; each is a question of its own, and may be asked without the others",
);

/// How many questions of a lesson's pool one attempt asks.
const DRAWN: usize = 10;
const HOW_TO_TYPE: &str = "Type numbers without units, fractions as 3/4, powers as x^2, and products without a sign, as 4x. \
     Numbers count by their value.";

#[derive(Deserialize)]
struct Problems {
    course: ProblemsCourse,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct ProblemsCourse {
    #[serde(rename = "courseName")]
    name: String,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    license: Value,
    #[serde(default)]
    oer: Value,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    id: String,
    #[serde(rename = "stepTitle", default)]
    title: String,
    #[serde(rename = "stepBody", default)]
    body: String,
    #[serde(rename = "problemType", default)]
    kind: String,
    #[serde(rename = "answerType", default)]
    answer_kind: String,
    #[serde(rename = "stepAnswer", default)]
    answers: Vec<String>,
    #[serde(default)]
    choices: Option<Vec<String>>,
    #[serde(default)]
    skills: Vec<String>,
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
    let mut others = model.len() as u64;
    if let Some(text) = files.problems {
        let problems: Problems = serde_json::from_str(text)
            .with_context(|| format!("{PROBLEMS} does not hold problems"))?;
        let lines = Lines::new(PROBLEMS, text);
        for step in problems.problems.iter().flat_map(|problem| &problem.steps) {
            if model.contains_key(&step.id) {
                others = others.saturating_sub(1);
            } else {
                curriculum
                    .remarks
                    .push(lines.remark(&step.id, 0, &STEP_UNKNOWN, &step.id));
            }
        }
        let course = plans
            .iter()
            .find(|plan| plan.name == problems.course.name)
            .and_then(|plan| {
                let title = plan.name.trim();
                curriculum
                    .courses
                    .iter()
                    .find(|course| course.title == title)
            });
        if let Some(course) = course {
            let mut builder = BankBuilder::new(course, lines);
            for problem in &problems.problems {
                builder.problem(problem);
            }
            let (bank, remarks) = builder.finish();
            curriculum.banks.push((course.slug.clone(), bank));
            curriculum.remarks.extend(remarks);
        } else {
            for problem in &problems.problems {
                let detail = format!("{}: {}", problems.course.name, problem.id);
                curriculum
                    .remarks
                    .push(lines.remark(&problem.id, 0, &BANK_OF_NO_COURSE, detail));
            }
        }
    }
    if others > 0 {
        not_imported.insert(
            format!("skills of steps whose problems are not in {PROBLEMS}"),
            others,
        );
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

/// Makes questions of the steps of a course's problems, and a pool of those of each lesson.
struct BankBuilder<'a> {
    course: &'a Course,
    lines: Lines<'a>,
    /// Places of the lessons that have a skill as an objective, by the skill's key.
    lessons: BTreeMap<&'a str, BTreeSet<usize>>,
    questions: BTreeMap<usize, Vec<Question>>,
    sources: BTreeMap<usize, Vec<Value>>,
    steps: BTreeSet<String>,
    remarks: Vec<Located>,
}

impl<'a> BankBuilder<'a> {
    fn new(course: &'a Course, lines: Lines<'a>) -> Self {
        let mut lessons: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (place, lesson) in course.lessons().enumerate() {
            for skill in &lesson.skills {
                lessons.entry(&skill.key).or_default().insert(place);
            }
        }
        Self {
            course,
            lines,
            lessons,
            questions: BTreeMap::new(),
            sources: BTreeMap::new(),
            steps: BTreeSet::new(),
            remarks: Vec::new(),
        }
    }

    fn note(&mut self, step: &str, reason: &'static Reason, detail: impl Into<String>) {
        self.remarks
            .push(self.lines.remark(step, 0, reason, detail));
    }

    fn places(&self, steps: &[&Step]) -> BTreeSet<usize> {
        steps
            .iter()
            .flat_map(|step| &step.skills)
            .filter_map(|skill| self.lessons.get(slug_of(skill, 200).as_str()))
            .flatten()
            .copied()
            .collect()
    }

    fn problem(&mut self, problem: &Problem) {
        if problem.steps.len() > 1 {
            let detail = format!("{}: {} steps", problem.id, problem.steps.len());
            self.note(&problem.id, &ALONE, detail);
        }
        let all: Vec<_> = problem.steps.iter().collect();
        for step in &problem.steps {
            if !self.steps.insert(step.id.clone()) {
                self.note(&step.id, &REPEATED_STEP, &step.id);
                continue;
            }
            let mut places = self.places(&[step]);
            if places.is_empty() {
                places = self.places(&all);
            }
            let Some(&place) = places.first() else {
                self.note(&step.id, &NO_LESSON_OF_PROBLEM, &step.id);
                continue;
            };
            let Some(mut question) = self.question(problem, step) else {
                continue;
            };
            if places.len() > 1 {
                self.note(&step.id, &TWO_LESSONS, &step.id);
            }
            for skill in &step.skills {
                let key = slug_of(skill, 200);
                if self.lessons.contains_key(key.as_str()) {
                    question.skills.push(key);
                } else {
                    let detail = format!("{}: {skill}", step.id);
                    self.note(&step.id, &SKILL_LEFT_OUT, detail);
                }
            }
            question.skills.sort();
            question.skills.dedup();
            self.questions.entry(place).or_default().push(question);
            let source = source_of(problem);
            let sources = self.sources.entry(place).or_default();
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }

    fn question(&mut self, problem: &Problem, step: &Step) -> Option<Question> {
        let prompt = prompt_of(problem, step);
        if prompt.contains("##") {
            self.note(&step.id, &PICTURE, &step.id);
            return None;
        }
        if prompt.is_empty() {
            self.note(&step.id, &NO_STEP_TEXT, &step.id);
            return None;
        }
        match step.kind.as_str() {
            "MultipleChoice" => self.choice(step, prompt),
            "TextBox" => self.typed(step, prompt),
            kind => {
                self.note(&step.id, &UNKNOWN_KIND, format!("{}: {kind}", step.id));
                None
            }
        }
    }

    fn choice(&mut self, step: &Step, prompt: String) -> Option<Question> {
        let mut choices: Vec<&str> = Vec::new();
        for choice in step.choices.iter().flatten() {
            let choice = choice.trim();
            if choices.contains(&choice) {
                self.note(&step.id, &REPEATED_CHOICE, format!("{}: {choice}", step.id));
            } else {
                choices.push(choice);
            }
        }
        let right: Vec<_> = step
            .answers
            .iter()
            .map(|answer| choices.iter().position(|choice| *choice == answer.trim()))
            .collect();
        let [Some(right)] = right[..] else {
            self.note(&step.id, &WITHOUT_CHOICE, &step.id);
            return None;
        };
        if choices.len() < 2 || choices.contains(&"") {
            self.note(&step.id, &WITHOUT_CHOICE, &step.id);
            return None;
        }
        let ids: Vec<String> = (1..=choices.len())
            .map(|number| number.to_string())
            .collect();
        let options = bank::entries(ids.iter().map(String::as_str).zip(choices.iter().copied()));
        Some(Question::new(
            &step.id,
            "single",
            prompt,
            json!({ "options": options }),
            Some(json!({ "correct": ids[right] })),
        ))
    }

    fn typed(&mut self, step: &Step, prompt: String) -> Option<Question> {
        let lower = prompt.to_lowercase();
        let about = About {
            is_text: step.answer_kind == "string",
            in_order: lower.contains("order"),
        };
        let asks_for_a_form = ["simplif", "ratio of", "fraction", "reduce"]
            .iter()
            .any(|word| lower.contains(word));
        let [answer] = &step.answers[..] else {
            self.note(
                &step.id,
                &answers::MALFORMED,
                format!("{}: {:?}", step.id, step.answers),
            );
            return None;
        };
        let detail = format!("{}: {answer}", step.id);
        let (kind, key) = match answers::read(answer, about) {
            Answer::Number(value) => {
                if value.contains('/') && asks_for_a_form {
                    self.note(&step.id, &answers::FORM, detail);
                }
                ("numeric", json!({ "value": value }))
            }
            Answer::Text(texts, reason) => {
                if let Some(reason) = reason {
                    self.note(&step.id, reason, detail);
                }
                ("short_answer", bank::accepted(&texts))
            }
            Answer::Not(reason) => {
                self.note(&step.id, reason, detail);
                return None;
            }
        };
        Some(Question::new(&step.id, kind, prompt, json!({}), Some(key)))
    }

    fn finish(mut self) -> (Bank, Vec<Located>) {
        let mut bank = Bank::new();
        for (place, lesson) in self.course.lessons().enumerate() {
            let Some(mut questions) = self.questions.remove(&place) else {
                continue;
            };
            for question in &mut questions {
                question.section = Some("problems".to_owned());
            }
            bank.assessments.push(Assessment {
                key: format!("{}-practice", lesson.key),
                lesson: Some(lesson.key.clone()),
                kind: "quiz",
                title: format!("Practice: {}", lesson.title)
                    .chars()
                    .take(300)
                    .collect(),
                instructions: HOW_TO_TYPE.to_owned(),
                answers_shown: Some("after_submit"),
                sources: self.sources.remove(&place).unwrap_or_default(),
                sections: vec![Section {
                    key: "problems".to_owned(),
                    title: "Problems".to_owned(),
                    draw_count: Some(questions.len().min(DRAWN)),
                }],
                questions,
                ..Assessment::default()
            });
        }
        (bank, self.remarks)
    }
}

/// The problem and its step as one text.
fn prompt_of(problem: &Problem, step: &Step) -> String {
    // Some line breaks were escaped twice; LaTeX has no \\n by itself, but \\neq and the like.
    let mut parts: Vec<String> = [&problem.body, &step.title, &step.body]
        .iter()
        .map(|part| part.trim().replace("\\n##", "\n##"))
        .filter(|part| !part.is_empty())
        .collect();
    if problem.body.trim().is_empty() && !problem.title.trim().is_empty() {
        parts.insert(0, problem.title.trim().to_owned());
    }
    parts.join("\n\n")
}

/// Whose work a problem is.
fn source_of(problem: &Problem) -> Value {
    let mut source = Map::from_iter([("name".to_owned(), json!("OATutor"))]);
    for (key, value) in [("oer", &problem.oer), ("licence", &problem.license)] {
        if let Some(text) = value
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            source.insert(key.to_owned(), json!(text));
        }
    }
    Value::Object(source)
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

    const PROBLEMS_OF_ONE: &str = r#"{"course": {"courseName": "Algebra: One"}, "problems": [
  {"id": "x1", "title": "Sums", "body": "", "oer": "https://a.b/", "license": "CC BY 4.0", "steps": [
    {"id": "x1a", "stepTitle": "$$2+3$$", "problemType": "TextBox", "answerType": "arithmetic", "stepAnswer": ["$$5$$"], "skills": ["add_up"]},
    {"id": "x1b", "stepTitle": "Which?", "problemType": "MultipleChoice", "stepAnswer": ["a"], "choices": ["b", "a", "b"], "skills": ["fly"]},
    {"id": "x1c", "stepTitle": "Distribute", "problemType": "TextBox", "answerType": "arithmetic", "stepAnswer": ["$$4x+12$$"], "skills": ["add_up"]}
  ]},
  {"id": "x2", "title": "", "body": "Simplify.", "steps": [
    {"id": "x9", "stepTitle": "$$\\frac{2}{4}$$", "problemType": "TextBox", "answerType": "arithmetic", "stepAnswer": ["$$\\frac{1}{2}$$"], "skills": ["add_up"]},
    {"id": "x9", "stepTitle": "again", "problemType": "TextBox", "stepAnswer": ["1"], "skills": ["add_up"]}
  ]},
  {"id": "x3", "steps": [{"id": "x3a", "stepTitle": "Look: ##a.gif##", "problemType": "TextBox", "stepAnswer": ["1"], "skills": ["add_up"]}]},
  {"id": "x4", "steps": [{"id": "x4a", "stepTitle": "Fly", "problemType": "TextBox", "stepAnswer": ["1"], "skills": ["fly"]}]},
  {"id": "x5", "steps": [
    {"id": "x5a", "stepTitle": "Which?", "problemType": "MultipleChoice", "stepAnswer": ["c"], "choices": ["a", "b"], "skills": ["add_up"]},
    {"id": "x5b", "stepTitle": "", "problemType": "TextBox", "stepAnswer": ["1"], "skills": ["add_up"]},
    {"id": "x5c", "stepTitle": "Draw", "problemType": "Drawing", "stepAnswer": ["1"], "skills": ["add_up"]}
  ]}
]}"#;

    #[test]
    fn says_what_it_does_not_take_as_it_stands() {
        let curriculum = read(&Files {
            plans: SMALL,
            model: r#"{"x1a": ["add_up", ""], "x1b": ["fly"], "y1a": ["add_up"]}"#,
            problems: Some(PROBLEMS_OF_ONE),
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
                ("answer_is_a_sum", 5),
                ("answer_is_no_choice", 14),
                ("empty_step", 15),
                ("form_not_checked", 8),
                ("nameless_lesson", 5),
                ("nameless_skill", 3),
                ("no_licence", 2),
                ("no_source", 7),
                ("picture_missing", 11),
                ("problem_without_lesson", 12),
                ("repeated_choice", 4),
                ("repeated_course", 0),
                ("repeated_lesson_id", 8),
                ("repeated_lesson_id_in_course", 4),
                ("repeated_step", 8),
                ("skill_left_out", 4),
                ("skill_spelt_twice", 4),
                ("skill_without_lesson", 1),
                ("skills_of_two_lessons", 3),
                ("skills_of_two_lessons", 4),
                ("skills_of_two_lessons", 8),
                ("step_without_skills", 5),
                ("step_without_skills", 8),
                ("step_without_skills", 8),
                ("step_without_skills", 11),
                ("step_without_skills", 12),
                ("step_without_skills", 14),
                ("step_without_skills", 15),
                ("step_without_skills", 16),
                ("steps_asked_alone", 2),
                ("steps_asked_alone", 7),
                ("steps_asked_alone", 13),
                ("unknown_language", 7),
                ("unknown_step", 16),
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
                (
                    "skills of steps whose problems are not in problems.json.gz",
                    1
                )
            ]
        );
        let [(slug, bank)] = &curriculum.banks[..] else {
            panic!("one bank is due");
        };
        let [practice] = &bank.assessments[..] else {
            panic!("one assessment is due");
        };
        assert_eq!(
            (slug.as_str(), practice.key.as_str()),
            ("algebra-one", "0ab-c-practice")
        );
        assert_eq!(practice.sections[0].draw_count, Some(3));
        assert_eq!(
            serde_json::to_value(&practice.questions).unwrap(),
            json!([
                { "question_key": "x1a", "section": "problems", "type": "numeric", "prompt": "Sums\n\n$$2+3$$",
                  "skills": ["add-up"], "answer": { "value": "5" } },
                { "question_key": "x1b", "section": "problems", "type": "single", "prompt": "Sums\n\nWhich?",
                  "content": { "options": [{ "id": "1", "text": "b" }, { "id": "2", "text": "a" }] },
                  "answer": { "correct": "2" } },
                { "question_key": "x9", "section": "problems", "type": "numeric",
                  "prompt": "Simplify.\n\n$$\\frac{2}{4}$$", "skills": ["add-up"], "answer": { "value": "1/2" } },
            ])
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
